"""One paper, one file: what the backbone sees becomes an anomaly map and a score."""
