"""Curves as lines: heights over an even grid, so that lines of several categories can be averaged.

Legend: k operating points, g grid positions, m = 2k + 2 corners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float64
from torch import Tensor

from zsad.metrics.operating_points import OperatingPoints
from zsad.metrics.ranking import Ranking

FPR_LIMIT = 0.3  # of the per-region overlap curve, as the papers integrate it
_POSITIONS = 201

Line = tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """The curves of a category, or their means over categories; an undefined line is empty.

    The heights of a line stand at even distances from 0 to 1, those of ``pixel_overlap`` from 0 to
    ``FPR_LIMIT``.

    Attributes:
        image_roc: True-positive rate over false-positive rate, of images.
        image_precision: Precision over recall, of images.
        pixel_roc: As ``image_roc``, of pixels.
        pixel_precision: As ``image_precision``, of pixels.
        pixel_overlap: Mean share found of each region over the false-positive rate of pixels (PRO).
    """

    image_roc: Line = ()
    image_precision: Line = ()
    pixel_roc: Line = ()
    pixel_precision: Line = ()
    pixel_overlap: Line = ()


@dataclass(frozen=True)
class Diagram:
    """Curves over the same axes, for one plot.

    Attributes:
        title: Title of the plot.
        x_name: Name of the lower axis, from 0 to ``x_limit``.
        y_name: Name of the left axis, from 0 to 1.
        lines: Name in the legend → curve.
        x_limit: Right end of the lower axis.
    """

    title: str
    x_name: str
    y_name: str
    lines: dict[str, Line]
    x_limit: float = 1.0


def diagrams(curves: Curves) -> list[Diagram]:
    """Arrange curves into the usual plots; plots of undefined curves alone are left out."""
    found = []
    if curves.image_roc or curves.pixel_roc:
        lines = {"images": curves.image_roc, "pixels": curves.pixel_roc}
        found.append(Diagram("ROC", "false-positive rate", "true-positive rate", lines))
        lines = {"images": curves.image_precision, "pixels": curves.pixel_precision}
        found.append(Diagram("Precision and recall", "recall", "precision", lines))
    if curves.pixel_overlap:
        lines = {"regions": curves.pixel_overlap}
        x_name = "false-positive rate of pixels"
        found.append(Diagram("PRO", x_name, "mean region overlap", lines, FPR_LIMIT))
    return found


def curves_from_rankings(image: Ranking, pixel: Ranking) -> Curves:
    """Compute the curves behind the metrics of one category."""
    lines: dict[str, Line] = {}
    if image.is_defined:
        lines["image_roc"] = roc_line(image.points)
        lines["image_precision"] = precision_line(image.points)
    if pixel.is_defined:
        lines["pixel_roc"] = roc_line(pixel.points)
        lines["pixel_precision"] = precision_line(pixel.points)
        lines["pixel_overlap"] = overlap_line(pixel.points)
    return Curves(**lines)


def mean_curves(categories: Mapping[str, Curves]) -> Curves:
    """Average each line over the categories that define it, position by position."""
    means: dict[str, Line] = {}
    for field in fields(Curves):
        lines = []
        for curves in categories.values():
            line: Line = getattr(curves, field.name)
            if line:
                lines.append(line)
        means[field.name] = _mean(lines)
    return Curves(**means)


def roc_line(points: OperatingPoints) -> Line:
    """Return the true-positive rate over the false-positive rate."""
    found = points.true_positives
    return _heights(points, found / found[-1], 1.0)


def overlap_line(points: OperatingPoints) -> Line:
    """Return the mean share found of each region over the false-positive rate, to ``FPR_LIMIT``."""
    return _heights(points, points.overlap, FPR_LIMIT)


def precision_line(points: OperatingPoints) -> Line:
    """Return the precision over the recall: at the strictest threshold that reaches each recall.

    These are the steps that average precision adds up.
    """
    found = points.true_positives
    recall = found / found[-1]
    precision = found / (found + points.false_positives)
    grid = _grid(1.0).to(recall.device)
    strictest = torch.searchsorted(recall, grid)
    heights = precision[strictest]
    return tuple(heights.tolist())


def _heights(points: OperatingPoints, share: Float64[Tensor, " k"], limit: float) -> Line:
    """Interpolate a share of the anomalous items over the false-positive rate.

    On a vertical piece of the curve this is the upper end.
    """
    start = share.new_zeros(1)
    end = share.new_ones(1)
    ends = torch.stack((points.false_positives_above, points.false_positives), dim=1)
    rates = ends.flatten() / points.normal
    x = torch.cat((start, rates, end))
    y = torch.cat((start, share))
    y = y.repeat_interleave(2)
    grid = _grid(limit).to(x.device)
    right = torch.searchsorted(x, grid, right=True)
    right = right.clamp(max=len(x) - 1)
    left = right - 1
    width = x[right] - x[left]
    distance = grid - x[left]
    part = torch.where(width > 0, distance / width, 1.0)
    rise = y[right] - y[left]
    heights = y[left] + part * rise
    return tuple(heights.tolist())


def _grid(limit: float) -> Float64[Tensor, " g"]:
    return torch.linspace(0, limit, _POSITIONS, dtype=torch.float64)


def _mean(lines: Sequence[Line]) -> Line:
    means = []
    for heights in zip(*lines, strict=True):
        means.append(sum(heights) / len(lines))
    return tuple(means)
