"""zsad: find and outline defects in images of things never seen before (zero-shot anomaly detection)."""

__version__ = "0.1.0"
