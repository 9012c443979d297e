"""Curves as lines to draw: their heights over an even grid, so that the mean over categories is that of the heights.

Legend: k operating points, g grid positions, m = 2k + 2 corners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """The curves of a category, or their means over categories; an empty line where one is undefined.

    The heights of a line stand at even distances from 0 to 1, those of ``pixel_overlap`` from 0 to ``FPR_LIMIT``.

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
    """Curves that share their axes: what is drawn together.

    Attributes:
        title: What it shows.
        x_name: The lower axis, from 0 to ``x_limit``.
        y_name: The left axis, from 0 to 1.
        lines: The curves by what they are of.
        x_limit: Right end of the lower axis.
    """

    title: str
    x_name: str
    y_name: str
    lines: dict[str, Line]
    x_limit: float = 1.0


def diagrams(curves: Curves) -> list[Diagram]:
    """Arrange curves as a reader expects them; those that are undefined everywhere are left out."""
    found = []
    if curves.image_roc or curves.pixel_roc:
        lines = {"images": curves.image_roc, "pixels": curves.pixel_roc}
        found.append(Diagram("ROC", "false-positive rate", "true-positive rate", lines))
        lines = {"images": curves.image_precision, "pixels": curves.pixel_precision}
        found.append(Diagram("Precision and recall", "recall", "precision", lines))
    if curves.pixel_overlap:
        lines = {"regions": curves.pixel_overlap}
        found.append(
            Diagram("PRO", "false-positive rate of pixels", "mean region overlap", lines, FPR_LIMIT)
        )
    return found


def curves(image: Ranking, pixel: Ranking) -> Curves:
    """Draw the curves behind the metrics of one category."""
    found: dict[str, Line] = {}
    if image.is_defined:
        found |= {"image_roc": roc(image.points), "image_precision": precision(image.points)}
    if pixel.is_defined:
        found |= {"pixel_roc": roc(pixel.points), "pixel_precision": precision(pixel.points)}
        found["pixel_overlap"] = overlap(pixel.points)
    return Curves(**found)


def mean_curves(categories: Mapping[str, Curves]) -> Curves:
    """Average each line over the categories where it is defined, position by position."""
    names = Curves.__dataclass_fields__
    return Curves(
        **{name: _mean([getattr(one, name) for one in categories.values()]) for name in names}
    )


def roc(points: OperatingPoints) -> Line:
    """Return the true-positive rate over the false-positive rate."""
    return _heights(points, points.true_positives / points.true_positives[-1], 1.0)


def overlap(points: OperatingPoints) -> Line:
    """Return the mean share found of each region over the false-positive rate, up to ``FPR_LIMIT``."""
    return _heights(points, points.overlap, FPR_LIMIT)


def precision(points: OperatingPoints) -> Line:
    """Return the precision over the recall: that of the strictest threshold which reaches a recall.

    These are the steps that average precision adds up.
    """
    recall = points.true_positives / points.true_positives[-1]
    at = torch.searchsorted(recall, _grid(1.0).to(recall.device))
    return tuple(
        (points.true_positives / (points.true_positives + points.false_positives))[at].tolist()
    )


def _heights(points: OperatingPoints, share: Float64[Tensor, " k"], limit: float) -> Line:
    """Return a share of the anomalous items over the false-positive rate; where the curve rises, its upper end."""
    ends = share.new_tensor((0.0, 1.0))
    rates = (
        torch.stack((points.false_positives_above, points.false_positives), dim=1).flatten()
        / points.normal
    )
    x = torch.cat((ends[:1], rates, ends[1:]))
    y = torch.cat((ends[:1], share)).repeat_interleave(2)
    grid = _grid(limit).to(x.device)
    right = torch.searchsorted(x, grid, right=True).clamp(max=len(x) - 1)
    width = x[right] - x[right - 1]
    part = torch.where(width > 0, (grid - x[right - 1]) / width, 1.0)
    return tuple((y[right - 1] + part * (y[right] - y[right - 1])).tolist())


def _grid(limit: float) -> Float64[Tensor, " g"]:
    return torch.linspace(0, limit, _POSITIONS, dtype=torch.float64)


def _mean(lines: Sequence[Line]) -> Line:
    defined = [line for line in lines if line]
    return tuple(sum(heights) / len(defined) for heights in zip(*defined, strict=True))
