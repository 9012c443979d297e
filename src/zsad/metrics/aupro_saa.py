"""The per-region overlap that SAA's evaluation prints.

Legend: b maps of h × w pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from zsad.metrics.connected_components import label_regions
from zsad.metrics.shapes import Maps, Mask, Masks

_TOUCHING = np.ones((3, 3))  # corners touch, too


def aupro_filled(maps: Maps, masks: Masks, fpr_limit: float = 0.3, steps: int = 200) -> float:
    """Area under the per-region overlap as SAA's code computes it; for comparison with its tables.

    Holes of a defect count as found, but not as part of its area, so an overlap can exceed 1.
    False-positive rates up to ``fpr_limit`` are stretched to [0, 1]. It depends on the values of
    the scores, not only on their order. NaN without any defect, and where fewer than two different
    rates are left.

    Args:
        maps: Anomaly maps of one category.
        masks: Ground truth.
        fpr_limit: Highest false-positive rate, over all normal pixels.
        steps: Thresholds, in equal steps of the score from the highest downwards.

    Source: Segment Any Anomaly (2023), published evaluation code.
    """
    scores = maps.double().numpy()
    is_defective = masks.numpy()
    if not is_defective.any() or is_defective.all():
        return math.nan
    highest = scores.max()
    score_width = highest - scores.min()
    thresholds = highest - np.arange(steps) * score_width / steps
    overlaps = []
    for image, mask in enumerate(masks):
        for filled, area in _filled_regions(mask):
            found = _count_above(scores[image][filled], thresholds)
            overlaps.append(found / area)
    is_normal = ~is_defective
    false_positives = _count_above(scores[is_normal], thresholds)
    rates = false_positives / is_normal.sum()
    kept = rates <= fpr_limit
    overlap = np.mean(overlaps, axis=0)[kept]
    rates = rates[kept]
    if len(np.unique(rates)) < 2:
        return math.nan
    lowest = rates.min()
    width = rates.max() - lowest
    stretched = (rates - lowest) / width
    return float(np.trapezoid(overlap, stretched))


def _filled_regions(mask: Mask) -> Iterator[tuple[np.ndarray, int]]:
    """Yield each region of a mask without its holes, and its area with them left out."""
    from scipy import ndimage

    labels = label_regions(mask).numpy()
    for number in range(1, labels.max() + 1):
        region = labels == number
        filled = ndimage.binary_fill_holes(region, _TOUCHING)
        yield np.asarray(filled), int(region.sum())


def _count_above(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Count the scores above each threshold."""
    ascending = np.sort(scores)
    return len(scores) - np.searchsorted(ascending, thresholds, side="right")
