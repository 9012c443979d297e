"""Detectors that take a phrase, and the segmenters that outline what they found."""
