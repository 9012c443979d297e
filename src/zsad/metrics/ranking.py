"""Scores in their order, by exact sorting: the input of all ranking metrics.

``rank`` sorts once, every metric of ``zsad.metrics.curves`` reads the same ``Ranking``. The items
that are ranked are images or pixels. ``zsad.metrics.binned_ranking`` makes a ``Ranking`` without
keeping the scores.

Legend: n normal items, p anomalous items, k operating points, m = p + 1, t thresholds, b maps of
h × w pixels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor

from zsad.metrics.connected_components import region_weights
from zsad.metrics.operating_points import OperatingPoints
from zsad.metrics.shapes import (
    AnomalousScores,
    CountsAbove,
    Maps,
    Masks,
    ScoreRange,
    Scores,
    Thresholds,
    Weights,
)


class Ranking(ABC):
    """Normal and anomalous items in the order of their scores."""

    @property
    @abstractmethod
    def counts(self) -> tuple[int, int]:
        """Number of normal and of anomalous items."""

    @property
    @abstractmethod
    def points(self) -> OperatingPoints:
        """The operating points that fix every curve; only a defined ranking has any."""

    @property
    @abstractmethod
    def score_range(self) -> ScoreRange:
        """The lowest and the highest score, in the type of the scores."""

    @abstractmethod
    def count_above(self, thresholds: Thresholds) -> CountsAbove:
        """Count the items that score more than each threshold.

        Returns the number of normal items, and the weighted fraction of the anomalous items.
        """

    @property
    def is_defined(self) -> bool:
        """Whether there is something to separate: at least one item of each kind."""
        return min(self.counts) > 0


@dataclass(frozen=True)
class SortedRanking(Ranking):
    """The scores of anomalous and of normal items, each sorted upwards.

    Attributes:
        anomalous: Scores of the anomalous items.
        weight: Weight of each, in the same order.
        normal: Scores of the normal items.
    """

    anomalous: Float[Tensor, " p"]
    weight: Float64[Tensor, " p"]
    normal: Float[Tensor, " n"]

    @property
    def counts(self) -> tuple[int, int]:
        """Number of normal and of anomalous items."""
        return len(self.normal), len(self.anomalous)

    @cached_property
    def cumulative_weight(self) -> Float64[Tensor, " m"]:
        """Weight of the 0, 1, 2 … highest anomalous items, as a fraction of all weight."""
        descending = self.weight.flip(0)
        start = self.weight.new_zeros(1)
        total = torch.cat((start, descending.cumsum(0)))
        return total / total[-1]

    @cached_property
    def points(self) -> OperatingPoints:
        """The operating points, one at each distinct score of the anomalous items."""
        distinct, count = torch.unique_consecutive(self.anomalous, return_counts=True)
        threshold = distinct.flip(0)
        true_positives = count.flip(0).cumsum(0)
        false_positives = _count_above(self.normal, threshold, or_equal=True)
        false_positives_above = _count_above(self.normal, threshold)
        return OperatingPoints(
            threshold=threshold,
            true_positives=true_positives.double(),
            overlap=self.cumulative_weight[true_positives],
            false_positives=false_positives.double(),
            false_positives_above=false_positives_above.double(),
            normal=self.cumulative_weight.new_tensor(len(self.normal)),
            mixed=torch.zeros_like(threshold, dtype=torch.bool),
        )

    @property
    def score_range(self) -> ScoreRange:
        """The lowest and the highest score, in the type of the scores."""
        lowest = torch.minimum(self.anomalous[0], self.normal[0])
        highest = torch.maximum(self.anomalous[-1], self.normal[-1])
        return torch.stack((lowest, highest))

    def count_above(self, thresholds: Thresholds) -> CountsAbove:
        """Count the items that score more than each threshold.

        Returns the number of normal items, and the weighted fraction of the anomalous items.
        """
        rounded = round_down(thresholds, self.normal.dtype)
        false_positives = _count_above(self.normal, rounded)
        true_positives = _count_above(self.anomalous, rounded)
        return false_positives.double(), self.cumulative_weight[true_positives]


def rank(
    anomalous: AnomalousScores, normal: Scores, weight: Weights | None = None
) -> SortedRanking:
    """Sort the scores of anomalous and of normal items.

    Without ``weight`` all anomalous items weigh the same.

    Raises:
        ValueError: NaN or infinite scores, which have no rank.
    """
    anomalous = _to_ranked_type(anomalous)
    normal = _to_ranked_type(normal)
    check_finite("anomalous", anomalous)
    check_finite("normal", normal)
    if weight is None:
        weight = torch.ones_like(anomalous, dtype=torch.float64)
    ascending, order = anomalous.sort()
    return SortedRanking(ascending, weight[order], sort_scores(normal))


def rank_labelled(scores: Scores, is_anomalous: Bool[Tensor, " n"]) -> SortedRanking:
    """Rank image scores by their labels.

    >>> rank_labelled(torch.tensor([0.1, 0.75, 0.5]), torch.tensor([False, True, True])).anomalous
    tensor([0.5000, 0.7500])
    """
    return rank(scores[is_anomalous], scores[~is_anomalous])


def rank_pixels(maps: Maps, masks: Masks) -> SortedRanking:
    """Rank the pixels of anomaly maps, all images pooled.

    Each 8-connected region of the masks weighs the same.

    >>> masks = torch.tensor([[[True, True, False]]])
    >>> rank_pixels(torch.tensor([[[0.5, 0.25, 0.0]]]), masks).weight
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    weight = torch.zeros(0, dtype=torch.float64)
    if len(masks):
        weight = torch.cat([region_weights(mask) for mask in masks])
    return rank(maps[masks], maps[~masks], weight.to(maps.device))


def sort_scores(scores: Scores) -> Scores:
    """Sort upwards without the indices that ``torch.sort`` makes.

    On a CPU this is many times faster and takes a third of the memory.
    """
    if not scores.is_cpu:
        return scores.sort().values
    ascending = np.sort(scores.detach().numpy())
    return torch.from_numpy(ascending)


def sorting_indices(numbers: Shaped[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Return the indices that sort upwards, by NumPy on a CPU: there it is several times faster.

    >>> sorting_indices(torch.tensor([0.5, 0.1, 0.3])).tolist()
    [1, 2, 0]
    """
    if not numbers.is_cpu:
        return numbers.argsort(stable=True)
    indices = np.argsort(numbers.detach().numpy(), kind="stable")
    return torch.from_numpy(indices)


def round_down(thresholds: Thresholds, dtype: torch.dtype) -> Float[Tensor, " t"]:
    """Round to the type of the scores, never upwards.

    "Scores more than this" then means the same before and after.
    """
    rounded = thresholds.to(dtype)
    lowest = torch.full_like(rounded, -math.inf)
    below = rounded.nextafter(lowest)
    is_rounded_up = rounded.double() > thresholds
    return torch.where(is_rounded_up, below, rounded)


def check_finite(name: str, scores: Scores) -> None:
    """Raise ValueError for NaN or infinite scores, which have no rank."""
    if not len(scores):
        return
    extremes = torch.stack((scores.min(), scores.max()))
    if extremes.isfinite().all():
        return
    bad = scores[~scores.isfinite()]
    first = bad[0].item()
    raise ValueError(
        f"{len(bad)} of {len(scores)} scores of {name} items are not finite (first: {first})"
    )


def _count_above(
    ascending: Scores, thresholds: Float[Tensor, " t"], or_equal: bool = False
) -> Int64[Tensor, " t"]:
    below = torch.searchsorted(ascending, thresholds.contiguous(), right=not or_equal)
    return len(ascending) - below


def _to_ranked_type(scores: Scores) -> Scores:
    return scores if scores.dtype == torch.float64 else scores.float()
