"""What every ranking metric reads off a curve: formulas over its operating points.

Legend: k operating points, strictest first; ``*b``: any number of curves over the same thresholds, or none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

_NODES = 8  # precision is averaged over so many true positives of a mixed point; of those with fewer, over each


class OperatingPoints(NamedTuple):
    """What is found at each distinct score of the anomalous items, taken as threshold, strictest first.

    Thresholds in between add false alarms and nothing else, so that these points fix every curve. At least one item of
    each kind stands behind them.

    Attributes:
        threshold: (k,) The score; an item is called anomalous when it scores this or more.
        true_positives: (*b, k) Anomalous items called anomalous.
        overlap: (*b, k) The same, weighted, as a fraction: the mean share found of each region.
        false_positives: (*b, k) Normal items called anomalous.
        false_positives_above: (*b, k) Of these, the ones above the items that are new at this point.
        normal: (*b) All normal items.
        mixed: (k,) Whether the items that are new at this point have different scores in an order that was not kept,
            rather than one score.
    """

    threshold: Float[Tensor, " k"]
    true_positives: Float64[Tensor, "*b k"]
    overlap: Float64[Tensor, "*b k"]
    false_positives: Float64[Tensor, "*b k"]
    false_positives_above: Float64[Tensor, "*b k"]
    normal: Float64[Tensor, "*b"]
    mixed: Bool[Tensor, " k"]


def roc_area(points: OperatingPoints) -> Float64[Tensor, "*b"]:
    """Area under the ROC curve."""
    beaten = points.normal[..., None] - (points.false_positives + points.false_positives_above) / 2
    return (_increments(points.true_positives) * beaten).sum(-1) / (
        points.normal * points.true_positives[..., -1]
    )


def precision_recall_area(points: OperatingPoints) -> Float64[Tensor, "*b"]:
    """Average precision: precision at each step of recall, weighted by the step."""
    precision = points.true_positives / (points.true_positives + points.false_positives).clamp(
        min=1
    )
    if points.mixed.any():
        precision = torch.where(points.mixed, _mean_precision(points), precision)
    return (_increments(points.true_positives) * precision).sum(-1) / points.true_positives[..., -1]


def f1_scores(points: OperatingPoints) -> Float64[Tensor, "*b k"]:
    """F1 score at each threshold."""
    return (
        2
        * points.true_positives
        / (points.true_positives + points.false_positives + points.true_positives[..., -1:])
    )


def f1_best(points: OperatingPoints) -> Float64[Tensor, "*b"]:
    """Highest F1 score that a threshold reaches."""
    return f1_scores(points).amax(-1)


def iou_best(points: OperatingPoints) -> Float64[Tensor, "*b"]:
    """Highest intersection over union, all items pooled, that a threshold reaches."""
    return (
        points.true_positives / (points.false_positives + points.true_positives[..., -1:])
    ).amax(-1)


def overlap_area(points: OperatingPoints, fpr_limit: float) -> Float64[Tensor, ""]:
    """Area under the per-region overlap curve up to a false-positive rate, divided by that rate. One curve."""
    ends = points.overlap.new_tensor((0.0, 1.0))
    rates = (
        torch.stack((points.false_positives_above, points.false_positives), dim=1).flatten()
        / points.normal
    )  # 2 ends each → 2k
    fpr = torch.cat((ends[:1], rates, ends[1:]))
    overlap = torch.cat((ends[:1], points.overlap)).repeat_interleave(2)
    return _area_up_to(fpr_limit, fpr, overlap) / fpr_limit


def fpr_at(points: OperatingPoints, tpr: float) -> Float64[Tensor, ""]:
    """False-positive rate at the strictest threshold that finds the share ``tpr`` of the anomalous items. One curve.

    Items of one score are called together. Within a mixed point normal and anomalous items are taken to alternate.
    """
    first = (points.true_positives / points.true_positives[-1] >= tpr).int().argmax()
    new = _increments(points.true_positives)[first]
    needed = tpr * points.true_positives[-1] - (points.true_positives[first] - new)
    above, share = (
        points.false_positives_above[first],
        torch.where(points.mixed[first], needed / new, 1.0),
    )
    return (above + share * (points.false_positives[first] - above)) / points.normal


def _mean_precision(points: OperatingPoints) -> Float64[Tensor, "*b k"]:
    """Precision at the items that are new at each point, averaged over a random order of them.

    Before the j-th of h new true positives lie j / (h + 1) of the new false positives, on average.
    """
    new = _increments(points.true_positives)
    before, tied = (
        points.true_positives - new,
        points.false_positives - points.false_positives_above,
    )
    nodes, total = new.clamp(min=1, max=_NODES), torch.zeros_like(new)
    for i in range(_NODES):
        hit = (i + 0.5) * new / nodes + 0.5  # 1, 2 … h where these are no more than the nodes
        false_positives = points.false_positives_above + tied * hit / (new + 1)
        total += torch.where(i < nodes, (before + hit) / (before + hit + false_positives), 0.0)
    return total / nodes


def _area_up_to(
    limit: float, x: Float64[Tensor, " m"], y: Float64[Tensor, " m"]
) -> Float64[Tensor, ""]:
    """Area below a piecewise linear curve from x = 0 to ``limit``; x does not fall."""
    width = x.diff()
    kept = x.clamp(max=limit).diff()
    share = torch.where(width > 0, kept / width, 0.0)
    return (kept * (y[:-1] + y.diff() * share / 2)).sum()


def _increments(rising: Float64[Tensor, "*b k"]) -> Float64[Tensor, "*b k"]:
    return rising.diff(prepend=torch.zeros_like(rising[..., :1]))
