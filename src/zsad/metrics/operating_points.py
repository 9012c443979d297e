"""Formulas of the ranking metrics, over the operating points of a curve.

Legend: k operating points, strictest first; ``*b``: any number of curves over the same thresholds,
or none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from zsad.metrics.shapes import Curves, Points, Scalar

# The precision of a mixed point is averaged over so many of its true positives; where there are
# fewer, over each.
_NODES = 8


class OperatingPoints(NamedTuple):
    """Counts at each distinct score of the anomalous items as threshold, strictest first.

    Thresholds in between add false positives alone, so that these points fix every curve. At least
    one item of each kind stands behind them.

    Attributes:
        threshold: (k,) The score; an item is called anomalous when it scores this or more.
        true_positives: (*b, k) Anomalous items called anomalous.
        overlap: (*b, k) The same, weighted, as a fraction: the mean share found of each region.
        false_positives: (*b, k) Normal items called anomalous.
        false_positives_above: (*b, k) Of these, the items that score more than the anomalous items
            new at this point.
        normal: (*b) All normal items.
        mixed: (k,) Whether the items new at this point have different scores in an order that was
            not kept, rather than one score.
    """

    threshold: Float[Tensor, " k"]
    true_positives: Float64[Tensor, "*b k"]
    overlap: Float64[Tensor, "*b k"]
    false_positives: Float64[Tensor, "*b k"]
    false_positives_above: Float64[Tensor, "*b k"]
    normal: Float64[Tensor, "*b"]
    mixed: Bool[Tensor, " k"]


def roc_area(points: OperatingPoints) -> Curves:
    """Area under the ROC curve."""
    found = points.true_positives
    false_positives = (points.false_positives + points.false_positives_above) / 2
    beaten = points.normal[..., None] - false_positives
    area = _increments(found) * beaten
    pairs = points.normal * _last(found)
    return area.sum(-1) / pairs


def precision_recall_area(points: OperatingPoints) -> Curves:
    """Average precision: precision at each step of recall, weighted by the step."""
    found = points.true_positives
    called = found + points.false_positives
    precision = found / called.clamp(min=1)
    if points.mixed.any():
        precision = torch.where(points.mixed, _mean_precision(points), precision)
    weighted = _increments(found) * precision
    return weighted.sum(-1) / _last(found)


def f1_scores(points: OperatingPoints) -> Points:
    """F1 score at each threshold."""
    found = points.true_positives
    called = found + points.false_positives
    anomalous = found[..., -1:]
    return 2 * found / (called + anomalous)


def f1_best(points: OperatingPoints) -> Curves:
    """Highest F1 score that a threshold reaches."""
    return f1_scores(points).amax(-1)


def iou_best(points: OperatingPoints) -> Curves:
    """Highest intersection over union, all items pooled, that a threshold reaches."""
    found = points.true_positives
    anomalous = found[..., -1:]
    iou = found / (points.false_positives + anomalous)
    return iou.amax(-1)


def overlap_area(points: OperatingPoints, fpr_limit: float) -> Scalar:
    """Area under the per-region overlap curve up to a false-positive rate, divided by that rate.

    For one curve, without leading axes.
    """
    start = points.overlap.new_zeros(1)
    end = points.overlap.new_ones(1)
    ends = torch.stack((points.false_positives_above, points.false_positives), dim=1)
    rates = ends.flatten() / points.normal  # 2 ends each → 2k
    fpr = torch.cat((start, rates, end))
    overlap = torch.cat((start, points.overlap)).repeat_interleave(2)
    area = _area_up_to(fpr_limit, fpr, overlap)
    return area / fpr_limit


def fpr_at(points: OperatingPoints, tpr: float) -> Scalar:
    """False-positive rate at the strictest threshold that finds a share of the anomalous items.

    Items of one score are called together. Within a mixed point normal and anomalous items are
    taken to alternate. For one curve, without leading axes.
    """
    found = points.true_positives
    anomalous = found[-1]
    reaches = found / anomalous >= tpr
    first = reaches.int().argmax()
    new = _increments(found)[first]
    before = found[first] - new
    needed = tpr * anomalous - before
    share = torch.where(points.mixed[first], needed / new, 1.0)
    above = points.false_positives_above[first]
    tied = points.false_positives[first] - above
    return (above + share * tied) / points.normal


def _mean_precision(points: OperatingPoints) -> Points:
    """Precision at the items new at each point, averaged over a random order of them.

    Before the j-th of h new true positives lie j / (h + 1) of the new false positives, on average.
    """
    new = _increments(points.true_positives)
    before = points.true_positives - new
    above = points.false_positives_above
    tied = points.false_positives - above
    nodes = new.clamp(min=1, max=_NODES)
    total = torch.zeros_like(new)
    for i in range(_NODES):
        # j is 1, 2 … h where these are no more than the nodes.
        j = (i + 0.5) * new / nodes + 0.5
        found = before + j
        false_positives = above + tied * j / (new + 1)
        precision = found / (found + false_positives)
        total += torch.where(i < nodes, precision, 0.0)
    return total / nodes


def _area_up_to(limit: float, x: Float64[Tensor, " m"], y: Float64[Tensor, " m"]) -> Scalar:
    """Area below a piecewise linear curve from x = 0 to ``limit``; x does not fall."""
    width = x.diff()
    kept = x.clamp(max=limit).diff()
    share = torch.where(width > 0, kept / width, 0.0)
    rise = y.diff() * share
    area = kept * (y[:-1] + rise / 2)
    return area.sum()


def _last(rising: Points) -> Curves:
    """Return the last value of each curve: all anomalous items."""
    return rising[..., -1]


def _increments(rising: Points) -> Points:
    start = torch.zeros_like(rising[..., :1])
    return rising.diff(prepend=start)
