"""F1 over regions instead of pixels: how many defects are outlined, whatever their size.

Legend: b maps of h × w pixels, r regions of a prediction, g regions of the ground truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from zsad.metrics.connected_components import label_regions


@dataclass(frozen=True)
class _Regions:
    """The regions of one mask: 1, 2 … in ``labels``, and the rectangle around each."""

    labels: Int32[np.ndarray, "h w"]
    boxes: list[tuple[slice, slice]]


def region_f1(
    maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"], iou: float = 0.6, steps: int = 200
) -> float:
    """Highest F1 over regions as the SAA papers compute it; it can exceed 1.

    A predicted region is a hit if its intersection over union with a defect reaches ``iou``. Both are taken within the
    smallest rectangle around the two, with all that else is predicted or defective there. Each of several fragments of
    a defect is a hit, so recall has no upper bound; ``region_f1_matched`` counts a defect once. NaN without any defect
    and for constant maps.

    Args:
        maps: Anomaly maps of one category.
        masks: Ground truth.
        iou: Overlap that makes a hit.
        steps: Thresholds, in equal steps of the score from the highest downwards.

    Source: Segment Any Anomaly (2023), published evaluation code.
    """
    return _highest_f1(
        maps,
        masks,
        steps,
        lambda found, truth: int((_iou_in_crop(found, truth).max(1) >= iou).sum()),
    )


def region_f1_matched(
    maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"], iou: float = 0.6, steps: int = 200
) -> float:
    """Highest F1 over regions, each predicted region matched with one defect at most and the other way round.

    The intersection over union is that of the two regions alone, and as many pairs as possible are made. Never above 1,
    otherwise like ``region_f1``.
    """
    return _highest_f1(
        maps, masks, steps, lambda found, truth: _pairs(_iou_of_regions(found, truth) >= iou)
    )


def _highest_f1(
    maps: Float[Tensor, "b h w"],
    masks: Bool[Tensor, "b h w"],
    steps: int,
    count_true_positives: Callable[[_Regions, _Regions], int],
) -> float:
    truths = [_regions(mask) for mask in masks]
    defects = sum(len(truth.boxes) for truth in truths)
    low, high = (float(maps.min()), float(maps.max())) if len(maps) else (0.0, 0.0)
    if not defects or low == high:
        return math.nan
    best = 0.0
    for step in range(steps):
        called = maps.double() > high - step * (high - low) / steps
        found = [_regions(mask) for mask in called]
        true_positives = sum(
            count_true_positives(f, t)
            for f, t in zip(found, truths, strict=True)
            if f.boxes and t.boxes
        )
        best = max(best, 2 * true_positives / (defects + sum(len(f.boxes) for f in found)))
    return best


def _regions(mask: Bool[Tensor, "h w"]) -> _Regions:
    labels = label_regions(mask).numpy()
    return _Regions(labels, ndimage.find_objects(labels))


def _iou_in_crop(found: _Regions, truth: _Regions) -> Float64[np.ndarray, "r g"]:
    """Intersection over union of everything in the smallest rectangle around each pair of regions."""
    both = _integral((found.labels > 0) & (truth.labels > 0))
    either = _integral((found.labels > 0) | (truth.labels > 0))
    ours, theirs = _corners(found.boxes)[:, None], _corners(truth.boxes)[None]
    top, left = np.minimum(ours[..., :2], theirs[..., :2]).transpose(2, 0, 1)
    bottom, right = np.maximum(ours[..., 2:], theirs[..., 2:]).transpose(2, 0, 1)

    def inside(total: np.ndarray) -> np.ndarray:
        return total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]

    return inside(both) / inside(either)


def _iou_of_regions(found: _Regions, truth: _Regions) -> Float64[np.ndarray, "r g"]:
    """Intersection over union of each pair of regions alone."""
    shape = (len(found.boxes) + 1, len(truth.boxes) + 1)
    pairs = np.ravel_multi_index((found.labels.ravel(), truth.labels.ravel()), shape)
    shared = np.bincount(pairs, minlength=math.prod(shape)).reshape(shape)
    area_found, area_truth = shared.sum(1, keepdims=True), shared.sum(0, keepdims=True)
    return (shared / np.maximum(area_found + area_truth - shared, 1))[1:, 1:]


def _pairs(allowed: Bool[np.ndarray, "r g"]) -> int:
    return int((maximum_bipartite_matching(csr_array(allowed), perm_type="column") >= 0).sum())


def _integral(mask: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """Sum of all pixels above and left of each corner."""
    return np.pad(mask.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))


def _corners(boxes: list[tuple[slice, slice]]) -> np.ndarray:
    return np.array(
        [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in boxes]
    )
