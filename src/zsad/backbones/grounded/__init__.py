"""Detectors of captions, segmenters of boxes, and both as one backbone."""
