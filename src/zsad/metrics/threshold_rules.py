"""Where to draw the line between normal and anomalous: rules that choose a threshold, and what it does.

An item is called anomalous when it scores the threshold or more. Legend: n normal items, g groups of them.
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

from zsad.metrics import score_histogram
from zsad.metrics.curves import f1_optimum
from zsad.metrics.ranking import Ranking, SortedRanking, rank
from zsad.metrics.score_histogram import HIGHEST, NORMAL, BinnedRanking, scores_from_keys

_ROUNDING = 1e-9  # 0.05 × 20 is a little more than 1, 0.07 × 100 a little more than 7


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a threshold does to the items that it is tried on; NaN where it is undefined.

    Attributes:
        normal: How many normal items there are.
        anomalous: How many anomalous ones.
        recall: Share of the anomalous items that are called so.
        false_positive_rate: Share of the normal items that are called anomalous.
        f1: Harmonic mean of precision and recall.
    """

    normal: int
    anomalous: int
    recall: float
    false_positive_rate: float
    f1: float


class Rule(ABC):
    """How a threshold is chosen; NaN where the items do not allow it."""

    @abstractmethod
    def image_threshold(self, images: Ranking) -> float:
        """Choose from image scores."""

    @abstractmethod
    def pixel_threshold(self, pixels: Ranking, peaks: Float[Tensor, " n"]) -> float:
        """Choose from pixels, or from the highest value of the map of each normal image."""


@dataclass(frozen=True, slots=True)
class F1Max(Rule):
    """The strictest threshold that reaches the highest F1 score: needs defective images, and masks for pixels."""

    def image_threshold(self, images: Ranking) -> float:
        """Return the threshold of the highest F1 score of the images."""
        return f1_optimum(images)[1]

    def pixel_threshold(self, pixels: Ranking, peaks: Float[Tensor, " n"]) -> float:  # noqa: ARG002
        """Return the threshold of the highest F1 score of the pixels."""
        return f1_optimum(pixels)[1]


@dataclass(frozen=True, slots=True)
class FalsePositiveRate(Rule):
    """The lowest threshold that calls no more than a share of the normal images, or normal pixels, anomalous."""

    share: float

    def image_threshold(self, images: Ranking) -> float:
        """Return the threshold at which no more than the share of the normal images is called anomalous."""
        return threshold_at_fpr(images, self.share)

    def pixel_threshold(self, pixels: Ranking, peaks: Float[Tensor, " n"]) -> float:  # noqa: ARG002
        """Return the threshold at which no more than the share of the normal pixels is called anomalous."""
        return threshold_at_fpr(pixels, self.share)


@dataclass(frozen=True, slots=True)
class NormalOnly(Rule):
    """The quantile of normal images alone, for those who have no defective ones.

    No more than a share of the normal images is called anomalous, and no more than that share shows any anomalous
    pixel: the pixel threshold is the quantile of the highest values of their maps.
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
    """Read a rule as a user writes it.

    Raises:
        ValueError: An unknown rule, or a share outside of [0, 1).

    >>> parse_rule("f1_max"), parse_rule("fpr=0.01"), parse_rule("normal_only")
    (F1Max(), FalsePositiveRate(share=0.01), NormalOnly(share=0.05))
    """
    name, given, share = text.partition("=")
    rules = _WITH_SHARE if given else _WITHOUT_SHARE
    if name in rules and (not given or _SHARE.fullmatch(share)):
        return rules[name](*([float(share)] if given else []))
    raise ValueError(
        f"threshold rule {text!r}: expected f1_max, fpr=0.05 (share of the normal ones called anomalous, from 0 to "
        "below 1), normal_only or normal_only=0.05 (share of normal images)"
    )


def threshold_at_fpr(ranking: Ranking, false_positive_rate: float) -> float:
    """Return the lowest threshold at which no more than a share of the normal items is called anomalous.

    NaN without normal items. A histogram knows it to a bin, and never lets more through than asked for.

    >>> round(threshold_at_fpr(rank(torch.zeros(0), torch.tensor([1.0, 2.0, 3.0, 4.0])), 0.25), 6)
    3.0
    """
    scores, counts = _normal_groups(ranking)
    total = counts.sum()
    if not total > 0:
        return math.nan
    above = total - counts.cumsum(0)  # normal items that score more than each group
    allowed = math.floor(false_positive_rate * float(total) + _ROUNDING)
    highest_refused = scores[int((above <= allowed).int().argmax())]
    return float(highest_refused.nextafter(torch.full_like(highest_refused, math.inf)))


def decisions(ranking: Ranking, threshold: float) -> Decisions:
    """Return what a threshold does to ranked items."""
    normal, anomalous = ranking.counts
    scores, counts = _normal_groups(ranking)
    false_positives = float(counts[scores.double() >= threshold].sum())
    true_positives = _count_true_positives(ranking, threshold)
    return Decisions(
        normal=normal,
        anomalous=anomalous,
        recall=_share(true_positives, anomalous),
        false_positive_rate=_share(false_positives, normal),
        f1=_share(2 * true_positives, true_positives + false_positives + anomalous),
    )


def merge_rankings(rankings: Sequence[Ranking]) -> Ranking:
    """Rank the items of several rankings of one kind together, such as those of all categories.

    >>> merge_rankings([rank(torch.tensor([2.0]), torch.zeros(1)), rank(torch.zeros(0), torch.ones(1))]).counts
    (2, 1)
    """
    if all(isinstance(one, BinnedRanking) for one in rankings):
        parts = [one.histogram for one in cast("Sequence[BinnedRanking]", rankings)]
        return BinnedRanking(
            score_histogram.merge_histograms(
                [score_histogram.empty_histogram(), *parts], score_histogram.MOST_BINS
            )
        )
    ranked = cast("Sequence[SortedRanking]", rankings)
    return rank(
        *(
            torch.cat([getattr(one, part) for one in ranked])
            for part in ("anomalous", "normal", "weight")
        )
    )


def _normal_groups(ranking: Ranking) -> tuple[Float[Tensor, " g"], Float64[Tensor, " g"]]:
    """Return the highest score of each group of normal items, upwards, and how many items it has."""
    if isinstance(ranking, BinnedRanking):
        bins = ranking.histogram.bins
        bins = bins[bins[:, NORMAL] > 0]
        return scores_from_keys(bins[:, HIGHEST]), bins[:, NORMAL].double()
    scores = cast("SortedRanking", ranking).normal
    return scores, torch.ones_like(scores, dtype=torch.float64)


def _count_true_positives(ranking: Ranking, threshold: float) -> float:
    if not ranking.is_defined:
        return math.nan
    reached = ranking.points.true_positives[ranking.points.threshold.double() >= threshold]
    return float(reached[-1]) if len(reached) else 0.0


def _share(part: float, whole: float | int) -> float:
    return part / whole if whole else math.nan
