"""Zero-shot anomaly detection: defects found and outlined in images of unseen things."""

__version__ = "0.1.0"
