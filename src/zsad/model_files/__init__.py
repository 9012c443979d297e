"""Stored parts of a model: learned tensors, published weights, thresholds."""
