"""Bootstrap confidence intervals: the range of a metric over other images of the same kind.

Normal and anomalous items are drawn with replacement, each kind from its own, as many as there
are: every replicate has both. All replicates of a metric are computed at once, from operating
points with an additional axis.

Legend: r replicates, k operating points, n and p normal and anomalous items.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from zsad.metrics.operating_points import OperatingPoints
from zsad.metrics.ranking import SortedRanking
from zsad.metrics.shapes import Scores

Formula = Callable[[OperatingPoints], Tensor]
Replicates = Float64[Tensor, " r"]

_ITEMS_AT_ONCE = 2**22  # replicates × items in memory at a time


def replicates(
    ranking: SortedRanking, formula: Formula, count: int = 1000, seed: int = 0
) -> Replicates:
    """Compute a metric on resampled items; the same seed gives the same draws.

    Args:
        ranking: The items.
        formula: A formula of ``zsad.metrics.operating_points``.
        count: Number of replicates.
        seed: Seed of the draws.

    Raises:
        ValueError: An item of either kind is missing.
    """
    if not ranking.is_defined:
        raise ValueError(
            f"got {ranking.counts} normal and anomalous items, expected at least one of each to "
            "resample"
        )
    generator = torch.Generator().manual_seed(seed)
    items = sum(ranking.counts)
    at_once = max(1, _ITEMS_AT_ONCE // items)
    values = []
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        points = _resample(ranking, size, generator)
        values.append(formula(points))
    return torch.cat(values)


def interval(values: Replicates, confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentiles that enclose the middle part of the replicates.

    >>> interval(torch.arange(41).double(), confidence=0.5)
    (10.0, 30.0)
    """
    tail = (1 - confidence) / 2
    ends = values.new_tensor((tail, 1 - tail))
    low, high = torch.quantile(values, ends).tolist()
    return low, high


def _resample(ranking: SortedRanking, count: int, generator: torch.Generator) -> OperatingPoints:
    threshold = ranking.points.threshold
    anomalous = _draw(ranking.anomalous, count, generator)
    normal = _draw(ranking.normal, count, generator)
    reached_by_anomalous = _first_point(ranking.anomalous, threshold)
    reached_by_normal = _first_point(ranking.normal, threshold)
    exceeded_by_normal = _first_point(ranking.normal, threshold, is_strict=True)
    points = len(threshold)
    true_positives = _count_called(reached_by_anomalous[anomalous], points)
    return OperatingPoints(
        threshold=threshold,
        true_positives=true_positives,
        overlap=true_positives / true_positives[:, -1:],
        false_positives=_count_called(reached_by_normal[normal], points),
        false_positives_above=_count_called(exceeded_by_normal[normal], points),
        normal=true_positives.new_full((count,), len(ranking.normal)),
        mixed=ranking.points.mixed,
    )


def _draw(items: Scores, count: int, generator: torch.Generator) -> Int64[Tensor, "r n"]:
    """Draw indices of items with replacement, ``count`` times as many as there are."""
    total = len(items)
    drawn = torch.randint(total, (count, total), generator=generator)
    return drawn.to(items.device)


def _first_point(
    scores: Scores, threshold: Float[Tensor, " k"], is_strict: bool = False
) -> Int64[Tensor, " n"]:
    """Return the index of the strictest threshold that each score reaches, or exceeds; else k."""
    ascending = threshold.flip(0)
    is_right = not is_strict
    missed = torch.searchsorted(ascending, scores.contiguous(), right=is_right)
    return len(threshold) - missed


def _count_called(first_point: Int64[Tensor, "r n"], points: int) -> Float64[Tensor, "r k"]:
    """Count the drawn items that are called anomalous at each point."""
    device = first_point.device
    shape = (len(first_point), points + 1)
    counts = torch.zeros(shape, dtype=torch.float64, device=device)
    ones = torch.ones((), dtype=torch.float64, device=device)
    counts.scatter_add_(1, first_point, ones.expand_as(first_point))
    return counts[:, :points].cumsum(1)
