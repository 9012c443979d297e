"""Rules that choose the threshold between normal and anomalous, and the decisions of a threshold.

An item is called anomalous when it scores the threshold or more.

Legend: n normal items, g groups of them.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from zsad.metrics.binned_ranking import BinnedRanking
from zsad.metrics.curves import f1_optimum
from zsad.metrics.float_keys import scores_from_keys
from zsad.metrics.ranking import Ranking, SortedRanking, rank
from zsad.metrics.score_histogram import (
    HIGHEST,
    MOST_BINS,
    NORMAL,
    empty_histogram,
    merge_histograms,
)

_ROUNDING = 1e-9  # 0.05 × 20 is a little more than 1, 0.07 × 100 a little more than 7


@dataclass(frozen=True, slots=True)
class Decisions:
    """Rates of a threshold's decisions; NaN where they are undefined.

    Attributes:
        normal: Number of normal items.
        anomalous: Number of anomalous items.
        recall: Share of the anomalous items that are called anomalous.
        false_positive_rate: Share of the normal items that are called anomalous.
        f1: Harmonic mean of precision and recall.
    """

    normal: int
    anomalous: int
    recall: float
    false_positive_rate: float
    f1: float


class Rule(ABC):
    """A rule for thresholds; NaN where the items do not allow it."""

    @abstractmethod
    def image_threshold(self, images: Ranking) -> float:
        """Choose from image scores."""

    @abstractmethod
    def pixel_threshold(self, pixels: Ranking, peaks: Float[Tensor, " n"]) -> float:
        """Choose from pixels, or from the highest value of the map of each normal image."""


@dataclass(frozen=True, slots=True)
class F1Max(Rule):
    """The strictest threshold that reaches the highest F1 score.

    Needs defective images, and masks for pixels.
    """

    def image_threshold(self, images: Ranking) -> float:
        """Return the threshold of the highest F1 score of the images."""
        return f1_optimum(images)[1]

    def pixel_threshold(self, pixels: Ranking, peaks: Float[Tensor, " n"]) -> float:  # noqa: ARG002
        """Return the threshold of the highest F1 score of the pixels."""
        return f1_optimum(pixels)[1]


@dataclass(frozen=True, slots=True)
class FalsePositiveRate(Rule):
    """The lowest threshold with no more than a share of false positives, images or pixels."""

    share: float

    def image_threshold(self, images: Ranking) -> float:
        """Return the threshold with no more than the share of false positives among images."""
        return threshold_at_fpr(images, self.share)

    def pixel_threshold(self, pixels: Ranking, peaks: Float[Tensor, " n"]) -> float:  # noqa: ARG002
        """Return the threshold with no more than the share of false positives among pixels."""
        return threshold_at_fpr(pixels, self.share)


@dataclass(frozen=True, slots=True)
class NormalOnly(Rule):
    """The quantile of normal images alone, where there are no defective images.

    No more than a share of the normal images is called anomalous, and no more than that share
    shows any anomalous pixel: the pixel threshold is the quantile of the highest values of their
    maps.
    """

    share: float = 0.05

    def image_threshold(self, images: Ranking) -> float:
        """Return the quantile of the scores of the normal images."""
        return threshold_at_fpr(images, self.share)

    def pixel_threshold(self, pixels: Ranking, peaks: Float[Tensor, " n"]) -> float:  # noqa: ARG002
        """Return the quantile of the highest values of the maps of the normal images."""
        return threshold_at_fpr(rank(peaks.new_zeros(0), peaks), self.share)


_WITHOUT_SHARE = {"f1_max": F1Max, "normal_only": NormalOnly}
_WITH_SHARE = {"fpr": FalsePositiveRate, "normal_only": NormalOnly}
_SHARE = re.compile(r"0(\.\d*)?|\.\d+|[1-9]e-\d+")


def parse_rule(text: str) -> Rule:
    """Parse a rule as a user writes it.

    Raises:
        ValueError: An unknown rule, or a share outside of [0, 1).

    >>> parse_rule("f1_max"), parse_rule("fpr=0.01"), parse_rule("normal_only")
    (F1Max(), FalsePositiveRate(share=0.01), NormalOnly(share=0.05))
    """
    name, equals, share = text.partition("=")
    if equals and name in _WITH_SHARE and _SHARE.fullmatch(share):
        return _WITH_SHARE[name](float(share))
    if not equals and name in _WITHOUT_SHARE:
        return _WITHOUT_SHARE[name]()
    raise ValueError(
        f"threshold rule {text!r}: expected f1_max, fpr=0.05 (share of the normal items called "
        "anomalous, from 0 to below 1), normal_only or normal_only=0.05 (share of normal images)"
    )


def threshold_at_fpr(ranking: Ranking, false_positive_rate: float) -> float:
    """Return the lowest threshold with no more than a share of false positives.

    NaN without normal items. A histogram knows it to a bin, and never lets more through than asked
    for.

    >>> round(threshold_at_fpr(rank(torch.zeros(0), torch.tensor([1.0, 2.0, 3.0, 4.0])), 0.25), 6)
    3.0
    """
    scores, counts = _normal_groups(ranking)
    total = counts.sum()
    if not total > 0:
        return math.nan
    above = total - counts.cumsum(0)  # normal items that score more than each group
    allowed = math.floor(false_positive_rate * float(total) + _ROUNDING)
    first_allowed = (above <= allowed).int().argmax()
    highest_refused = scores[int(first_allowed)]
    infinity = torch.full_like(highest_refused, math.inf)
    return float(highest_refused.nextafter(infinity))


def decisions(ranking: Ranking, threshold: float) -> Decisions:
    """Return the rates of a threshold's decisions on ranked items."""
    normal, anomalous = ranking.counts
    scores, counts = _normal_groups(ranking)
    is_called = scores.double() >= threshold
    false_positives = float(counts[is_called].sum())
    true_positives = _count_true_positives(ranking, threshold)
    called = true_positives + false_positives
    return Decisions(
        normal=normal,
        anomalous=anomalous,
        recall=_share(true_positives, anomalous),
        false_positive_rate=_share(false_positives, normal),
        f1=_share(2 * true_positives, called + anomalous),
    )


def merge_rankings(rankings: Sequence[Ranking]) -> Ranking:
    """Rank the items of several rankings of one kind together, such as those of all categories.

    >>> categories = [rank(torch.ones(1), torch.zeros(1)), rank(torch.zeros(0), torch.ones(1))]
    >>> merge_rankings(categories).counts
    (2, 1)
    """
    if all(isinstance(one, BinnedRanking) for one in rankings):
        return _merge_binned(cast("Sequence[BinnedRanking]", rankings))
    return _merge_sorted(cast("Sequence[SortedRanking]", rankings))


def _merge_binned(rankings: Sequence[BinnedRanking]) -> BinnedRanking:
    parts = [empty_histogram()]
    parts += [one.histogram for one in rankings]
    merged = merge_histograms(parts, MOST_BINS)
    return BinnedRanking(merged)


def _merge_sorted(rankings: Sequence[SortedRanking]) -> SortedRanking:
    anomalous = torch.cat([one.anomalous for one in rankings])
    normal = torch.cat([one.normal for one in rankings])
    weight = torch.cat([one.weight for one in rankings])
    return rank(anomalous, normal, weight)


def _normal_groups(ranking: Ranking) -> tuple[Float[Tensor, " g"], Float64[Tensor, " g"]]:
    """Return the highest score of each group of normal items, upwards, and its number of items."""
    if isinstance(ranking, BinnedRanking):
        bins = ranking.histogram.bins
        bins = bins[bins[:, NORMAL] > 0]
        highest = scores_from_keys(bins[:, HIGHEST])
        counts = bins[:, NORMAL].double()
        return highest, counts
    scores = cast("SortedRanking", ranking).normal
    return scores, torch.ones_like(scores, dtype=torch.float64)


def _count_true_positives(ranking: Ranking, threshold: float) -> float:
    if not ranking.is_defined:
        return math.nan
    points = ranking.points
    is_reached = points.threshold.double() >= threshold
    reached = points.true_positives[is_reached]
    return float(reached[-1]) if len(reached) else 0.0


def _share(part: float, whole: float | int) -> float:
    return part / whole if whole else math.nan
