"""Methods: anomaly maps and scores from the features of a backbone. One paper, one file."""
