"""The per-region overlap that SAA's evaluation prints.

Legend: b maps of h × w pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from zsad.metrics.connected_components import label_regions

_TOUCHING = np.ones((3, 3))  # corners touch, too


def aupro_filled(
    maps: Float[Tensor, "b h w"],
    masks: Bool[Tensor, "b h w"],
    fpr_limit: float = 0.3,
    steps: int = 200,
) -> float:
    """Area under the per-region overlap as SAA's code computes it; for comparison with its tables.

    Holes of a defect count as found, but not as part of its area, so an overlap can exceed 1. False-positive rates
    up to ``fpr_limit`` are stretched to [0, 1]. It depends on the values of the scores, not only on their order. NaN
    without any defect, and where fewer than two different rates are left.

    Args:
        maps: Anomaly maps of one category.
        masks: Ground truth.
        fpr_limit: Highest false-positive rate, over all normal pixels.
        steps: Thresholds, in equal steps of the score from the highest downwards.

    Source: Segment Any Anomaly (2023), published evaluation code.
    """
    scores, truth = maps.double().numpy(), masks.numpy()
    if not truth.any() or truth.all():
        return math.nan
    high = scores.max()
    thresholds = high - np.arange(steps) * (high - scores.min()) / steps
    overlaps = [
        _above(scores[image][filled], thresholds) / area
        for image, mask in enumerate(masks)
        for filled, area in _filled_regions(mask)
    ]
    rates = _above(scores[~truth], thresholds) / (~truth).sum()
    kept = rates <= fpr_limit
    rates, overlap = rates[kept], np.mean(overlaps, axis=0)[kept]
    if len(np.unique(rates)) < 2:
        return math.nan
    return float(np.trapezoid(overlap, (rates - rates.min()) / (rates.max() - rates.min())))


def _filled_regions(mask: Bool[Tensor, "h w"]) -> Iterator[tuple[np.ndarray, int]]:
    """Yield each region of a mask without its holes, and its area with them left out."""
    labels = label_regions(mask).numpy()
    for number in range(1, labels.max() + 1):
        region = labels == number
        yield np.asarray(ndimage.binary_fill_holes(region, _TOUCHING)), int(region.sum())


def _above(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Count the scores above each threshold."""
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="right")
