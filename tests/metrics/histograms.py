"""Histograms for tests: scores counted in one step."""

from __future__ import annotations

from torch import Tensor

from zsad.metrics.score_histogram import Histogram, count_scores, empty_histogram, merge_histograms


def add_scores(
    histogram: Histogram, anomalous: Tensor, normal: Tensor, weight: Tensor, bins: int
) -> Histogram:
    """Count more scores, with at most ``bins`` bins in the end."""
    counted = count_scores(anomalous, normal, weight, bins, histogram.shift)
    return merge_histograms([histogram, *counted], bins)


def histogram_of(anomalous: Tensor, normal: Tensor, weight: Tensor, bins: int) -> Histogram:
    """Count scores."""
    return add_scores(empty_histogram(), anomalous, normal, weight, bins)
