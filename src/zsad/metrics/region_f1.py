"""F1 over regions instead of pixels: the share of defects outlined, whatever their size.

Legend: b maps of h × w pixels, r regions of a prediction, g regions of the ground truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from zsad.metrics.connected_components import label_regions
from zsad.metrics.shapes import Maps, Mask, Masks

Rectangle = tuple[slice, slice]
RegionPairs = Float64[np.ndarray, "r g"]


@dataclass(frozen=True)
class _Regions:
    """The regions of one mask: 1, 2 … in ``labels``, and the rectangle around each."""

    labels: Int32[np.ndarray, "h w"]
    rectangles: list[Rectangle]


CountTruePositives = Callable[[_Regions, _Regions], int]  # of prediction and ground truth


def region_f1(maps: Maps, masks: Masks, iou: float = 0.6, steps: int = 200) -> float:
    """Highest F1 over regions as the SAA papers compute it; it can exceed 1.

    A predicted region is a true positive if its intersection over union with a defect reaches
    ``iou``. Both are taken within the smallest rectangle around the two, with everything else that
    is predicted or defective there. Each of several fragments of a defect is a true positive, so
    recall has no upper bound; ``region_f1_matched`` counts a defect once. NaN without any defect
    and for constant maps.

    Args:
        maps: Anomaly maps of one category.
        masks: Ground truth.
        iou: Overlap of a true positive.
        steps: Thresholds, in equal steps of the score from the highest downwards.

    Source: Segment Any Anomaly (2023), published evaluation code.
    """

    def count_overlapping(found: _Regions, truth: _Regions) -> int:
        best_overlap = _iou_in_crop(found, truth).max(1)
        return int((best_overlap >= iou).sum())

    return _highest_f1(maps, masks, steps, count_overlapping)


def region_f1_matched(maps: Maps, masks: Masks, iou: float = 0.6, steps: int = 200) -> float:
    """Highest F1 over regions that are matched one to one.

    Each predicted region is matched with one defect at most and the other way round. The
    intersection over union is that of the two regions alone, and as many pairs as possible are
    made. Never above 1, otherwise like ``region_f1``.
    """

    def count_matched(found: _Regions, truth: _Regions) -> int:
        return _count_pairs(_iou_of_regions(found, truth) >= iou)

    return _highest_f1(maps, masks, steps, count_matched)


def _highest_f1(
    maps: Maps, masks: Masks, steps: int, count_true_positives: CountTruePositives
) -> float:
    if not len(maps):
        return math.nan
    truths = [_label(mask) for mask in masks]
    defects = _count_regions(truths)
    low = float(maps.min())
    high = float(maps.max())
    if not defects or low == high:
        return math.nan
    best = 0.0
    for step in range(steps):
        threshold = high - step * (high - low) / steps
        called = maps.double() > threshold
        found = [_label(mask) for mask in called]
        true_positives = 0
        for regions, truth in zip(found, truths, strict=True):
            if regions.rectangles and truth.rectangles:
                true_positives += count_true_positives(regions, truth)
        predicted = _count_regions(found)
        f1 = 2 * true_positives / (defects + predicted)
        best = max(best, f1)
    return best


def _count_regions(images: list[_Regions]) -> int:
    return sum(len(regions.rectangles) for regions in images)


def _label(mask: Mask) -> _Regions:
    from scipy import ndimage

    labels = label_regions(mask).numpy()
    return _Regions(labels, ndimage.find_objects(labels))


def _iou_in_crop(found: _Regions, truth: _Regions) -> RegionPairs:
    """Intersection over union in the smallest rectangle around each pair of regions."""
    is_found = found.labels > 0
    is_defective = truth.labels > 0
    crops = _joint_corners(_corners(found.rectangles), _corners(truth.rectangles))
    intersection = _count_inside(crops, is_found & is_defective)
    union = _count_inside(crops, is_found | is_defective)
    return intersection / union


def _joint_corners(found: Int64[np.ndarray, "4 r"], truth: Int64[np.ndarray, "4 g"]) -> np.ndarray:
    """Return top, left, bottom, right of the smallest rectangle around each pair: (4, r, g)."""
    rows = found[:, :, None]
    columns = truth[:, None, :]
    lowest = np.minimum(rows[:2], columns[:2])
    highest = np.maximum(rows[2:], columns[2:])
    return np.concatenate((lowest, highest))


def _count_inside(corners: np.ndarray, mask: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """Count the pixels of a mask in each rectangle."""
    top, left, bottom, right = corners
    counts = _integral(mask)
    above = counts[top, right] - counts[top, left]
    down_to_bottom = counts[bottom, right] - counts[bottom, left]
    return down_to_bottom - above


def _iou_of_regions(found: _Regions, truth: _Regions) -> RegionPairs:
    """Intersection over union of each pair of regions alone."""
    rows = len(found.rectangles) + 1
    columns = len(truth.rectangles) + 1
    shape = (rows, columns)
    found_labels = found.labels.ravel()
    truth_labels = truth.labels.ravel()
    pairs = np.ravel_multi_index((found_labels, truth_labels), shape)
    counts = np.bincount(pairs, minlength=rows * columns)
    shared = counts.reshape(shape)
    found_area = shared.sum(1, keepdims=True)
    truth_area = shared.sum(0, keepdims=True)
    union = found_area + truth_area - shared
    iou = shared / np.maximum(union, 1)
    return iou[1:, 1:]  # the first row and column are the background


def _count_pairs(allowed: Bool[np.ndarray, "r g"]) -> int:
    """Count the pairs of a largest matching."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    partners = maximum_bipartite_matching(csr_array(allowed), perm_type="column")
    return int((partners >= 0).sum())


def _integral(mask: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """Sum of all pixels above and left of each corner."""
    rows = mask.cumsum(0, dtype=np.int64)
    one_before = (1, 0)
    return np.pad(rows.cumsum(1), (one_before, one_before))


def _corners(rectangles: list[Rectangle]) -> Int64[np.ndarray, "4 r"]:
    """Return top, left, bottom, right of each rectangle: (4, r)."""
    corners = []
    for rows, columns in rectangles:
        first = (rows.start, columns.start)
        end = (rows.stop, columns.stop)
        corners.append(first + end)
    return np.ascontiguousarray(np.array(corners).T)
