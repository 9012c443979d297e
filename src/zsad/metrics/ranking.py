"""Scores brought into order: what ranking metrics are computed from, here exactly, by sorting.

``rank`` sorts once, every metric of ``zsad.metrics.curves`` reads the same ``Ranking``. What is ranked are images or
pixels. ``zsad.metrics.score_histogram`` makes a ``Ranking`` without keeping the scores.

Legend: n normal items, p anomalous items, k operating points, m = p + 1, t thresholds, b maps of h × w pixels.
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


class Ranking(ABC):
    """Normal and anomalous items in the order of their scores."""

    @property
    @abstractmethod
    def counts(self) -> tuple[int, int]:
        """How many normal and how many anomalous items there are."""

    @property
    @abstractmethod
    def points(self) -> OperatingPoints:
        """The operating points that fix every curve; there are none unless the ranking is defined."""

    @property
    @abstractmethod
    def score_range(self) -> Float[Tensor, "2"]:
        """The lowest and the highest score, in the type of the scores."""

    @abstractmethod
    def count_above(
        self, thresholds: Float64[Tensor, " t"]
    ) -> tuple[Float64[Tensor, " t"], Float64[Tensor, " t"]]:
        """Count normal items that score more than each threshold; the weighted fraction of anomalous ones that do."""

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
        """How many normal and how many anomalous items there are."""
        return len(self.normal), len(self.anomalous)

    @cached_property
    def cumulative_weight(self) -> Float64[Tensor, " m"]:
        """Weight of the 0, 1, 2 … highest anomalous items, as a fraction of all weight."""
        total = torch.cat((self.weight.new_zeros(1), self.weight.flip(0).cumsum(0)))
        return total / total[-1]

    @cached_property
    def points(self) -> OperatingPoints:
        """The operating points, one at each distinct score of the anomalous items."""
        distinct, count = torch.unique_consecutive(self.anomalous, return_counts=True)
        threshold, true_positives = distinct.flip(0), count.flip(0).cumsum(0)
        return OperatingPoints(
            threshold=threshold,
            true_positives=true_positives.double(),
            overlap=self.cumulative_weight[true_positives],
            false_positives=_count_above(self.normal, threshold, or_equal=True).double(),
            false_positives_above=_count_above(self.normal, threshold).double(),
            normal=self.cumulative_weight.new_tensor(len(self.normal)),
            mixed=torch.zeros_like(threshold, dtype=torch.bool),
        )

    @property
    def score_range(self) -> Float[Tensor, "2"]:
        """The lowest and the highest score, in the type of the scores."""
        ends = torch.stack((self.anomalous[0], self.normal[0], self.anomalous[-1], self.normal[-1]))
        return torch.stack((ends.min(), ends.max()))

    def count_above(
        self, thresholds: Float64[Tensor, " t"]
    ) -> tuple[Float64[Tensor, " t"], Float64[Tensor, " t"]]:
        """Count normal items that score more than each threshold; the weighted fraction of anomalous ones that do."""
        rounded = round_down(thresholds, self.normal.dtype)
        true_positives = _count_above(self.anomalous, rounded)
        return _count_above(self.normal, rounded).double(), self.cumulative_weight[true_positives]


def rank(
    anomalous: Float[Tensor, " p"],
    normal: Float[Tensor, " n"],
    weight: Float64[Tensor, " p"] | None = None,
) -> SortedRanking:
    """Sort the scores of anomalous and of normal items; without ``weight`` all anomalous items weigh the same.

    Raises ValueError for NaN or infinite scores, which have no rank.
    """
    anomalous, normal = _ranked_type(anomalous), _ranked_type(normal)
    for name, scores in (("anomalous", anomalous), ("normal", normal)):
        check_finite(name, scores)
    weight = torch.ones_like(anomalous, dtype=torch.float64) if weight is None else weight
    anomalous, order = anomalous.sort()
    return SortedRanking(anomalous, weight[order], sort_scores(normal))


def rank_labelled(scores: Float[Tensor, " n"], is_anomalous: Bool[Tensor, " n"]) -> SortedRanking:
    """Rank image scores by their labels.

    >>> rank_labelled(torch.tensor([0.1, 0.75, 0.5]), torch.tensor([False, True, True])).anomalous
    tensor([0.5000, 0.7500])
    """
    return rank(scores[is_anomalous], scores[~is_anomalous])


def rank_pixels(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> SortedRanking:
    """Rank the pixels of anomaly maps, all images pooled; each 8-connected region of the masks weighs the same.

    >>> rank_pixels(torch.tensor([[[0.5, 0.25, 0.0]]]), torch.tensor([[[True, True, False]]])).weight
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    weight = (
        torch.cat([region_weights(mask) for mask in masks])
        if len(masks)
        else torch.zeros(0, dtype=torch.float64)
    )
    return rank(maps[masks], maps[~masks], weight.to(maps.device))


def sort_scores(scores: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Sort upwards without the indices that ``torch.sort`` makes: on a CPU many times faster, a third of the memory."""
    if scores.is_cpu:
        return torch.from_numpy(np.sort(scores.detach().numpy()))
    return scores.sort().values


def sorting_indices(numbers: Shaped[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Return the indices that sort upwards, found by NumPy on a CPU, where it is several times faster.

    >>> sorting_indices(torch.tensor([0.5, 0.1, 0.3])).tolist()
    [1, 2, 0]
    """
    if numbers.is_cpu:
        return torch.from_numpy(np.argsort(numbers.detach().numpy(), kind="stable"))
    return numbers.argsort(stable=True)


def round_down(thresholds: Float64[Tensor, " t"], dtype: torch.dtype) -> Float[Tensor, " t"]:
    """Round to the type of the scores, never upwards.

    "Scores more than this" then means the same before and after.
    """
    rounded = thresholds.to(dtype)
    below = rounded.nextafter(torch.full_like(rounded, -math.inf))
    return torch.where(rounded.double() > thresholds, below, rounded)


def check_finite(name: str, scores: Float[Tensor, " n"]) -> None:
    """Raise ValueError for NaN or infinite scores, which have no rank."""
    if len(scores) and not torch.stack((scores.min(), scores.max())).isfinite().all():
        bad = scores[~scores.isfinite()]
        raise ValueError(
            f"{len(bad)} of {len(scores)} scores of {name} items are not finite (first: {bad[0].item()})"
        )


def _count_above(
    ascending: Float[Tensor, " n"], thresholds: Float[Tensor, " t"], or_equal: bool = False
) -> Int64[Tensor, " t"]:
    return len(ascending) - torch.searchsorted(
        ascending, thresholds.contiguous(), right=not or_equal
    )


def _ranked_type(scores: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return scores if scores.dtype == torch.float64 else scores.float()
