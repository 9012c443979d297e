"""Bootstrap confidence intervals: how far a metric would move with other images of the same kind.

Normal and anomalous items are drawn with replacement, each kind from its own, as many as there are: every replicate has
both. All replicates of a metric are computed at once, from operating points with one more axis.

Legend: r replicates, k operating points, n and p normal and anomalous items.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from zsad.metrics.operating_points import OperatingPoints
from zsad.metrics.ranking import SortedRanking

Formula = Callable[[OperatingPoints], Tensor]
_ITEMS_AT_ONCE = 2**22  # replicates × items in memory at a time


def replicates(
    ranking: SortedRanking, formula: Formula, count: int = 1000, seed: int = 0
) -> Float64[Tensor, " r"]:
    """Compute a metric of ``zsad.metrics.operating_points`` on resampled items; the same seed gives the same draws.

    Raises ValueError where an item of either kind is missing.
    """
    if not ranking.is_defined:
        raise ValueError(
            f"got {ranking.counts} normal and anomalous items, expected at least one of each to resample"
        )
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, _ITEMS_AT_ONCE // sum(ranking.counts))
    sizes = [min(at_once, count - start) for start in range(0, count, at_once)]
    return torch.cat([formula(_resampled(ranking, size, generator)) for size in sizes])


def interval(values: Float64[Tensor, " r"], confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentiles between which the middle part of the replicates lies.

    >>> interval(torch.arange(41).double(), confidence=0.5)
    (10.0, 30.0)
    """
    tail = (1 - confidence) / 2
    low, high = torch.quantile(values, values.new_tensor((tail, 1 - tail))).tolist()
    return low, high


def _resampled(ranking: SortedRanking, count: int, generator: torch.Generator) -> OperatingPoints:
    threshold = ranking.points.threshold
    drawn_bad, drawn_good = (
        torch.randint(len(items), (count, len(items)), generator=generator).to(items.device)
        for items in (ranking.anomalous, ranking.normal)
    )
    true_positives = _reached(_first_point(ranking.anomalous, threshold)[drawn_bad], len(threshold))
    return OperatingPoints(
        threshold=threshold,
        true_positives=true_positives,
        overlap=true_positives / true_positives[:, -1:],
        false_positives=_reached(
            _first_point(ranking.normal, threshold)[drawn_good], len(threshold)
        ),
        false_positives_above=_reached(
            _first_point(ranking.normal, threshold, above=True)[drawn_good], len(threshold)
        ),
        normal=true_positives.new_full((count,), len(ranking.normal)),
        mixed=ranking.points.mixed,
    )


def _first_point(
    scores: Float[Tensor, " n"], threshold: Float[Tensor, " k"], above: bool = False
) -> Int64[Tensor, " n"]:
    """Index of the strictest threshold that each score reaches, or is above; k where there is none."""
    return len(threshold) - torch.searchsorted(
        threshold.flip(0), scores.contiguous(), right=not above
    )


def _reached(first_point: Int64[Tensor, "r n"], points: int) -> Float64[Tensor, "r k"]:
    """How many of the drawn items are called at each point."""
    called = torch.zeros(
        len(first_point), points + 1, dtype=torch.float64, device=first_point.device
    )
    ones = torch.ones((), dtype=torch.float64, device=first_point.device).expand_as(first_point)
    return called.scatter_add_(1, first_point, ones)[:, :points].cumsum(1)
