"""Ranking metrics: AUROC, average precision, F1-max and AUPRO, exact and with ties as one step.

``rank`` sorts once, every metric reads the same ``Ranking``. What is ranked are images or pixels:

    auroc(rank_labelled(scores, is_anomalous))
    aupro(rank_pixels(maps, masks))

All metrics are Python floats in [0, 1]. A metric is NaN where the normal or the anomalous items are missing.

Legend: n normal items, p anomalous items, k distinct scores among these, m = p + 1, b maps of h × w pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from zsad.maths.components import region_weights


class OperatingPoints(NamedTuple):
    """What is found at each distinct score of the anomalous items, taken as threshold, strictest first.

    Thresholds in between add false alarms and nothing else, so that these points fix every curve.

    Attributes:
        threshold: The score; an item is called anomalous when it scores this or more.
        hits: Anomalous items called anomalous.
        overlap: The same, weighted, as a fraction: the mean share found of each region.
        alarms: Normal items called anomalous.
        alarms_above: Of these, the ones that score strictly more than the threshold; the others are tied with it.
    """

    threshold: Float[Tensor, " k"]
    hits: Float64[Tensor, " k"]
    overlap: Float64[Tensor, " k"]
    alarms: Float64[Tensor, " k"]
    alarms_above: Float64[Tensor, " k"]


@dataclass(frozen=True)
class Ranking:
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
    def is_defined(self) -> bool:
        """Whether there is something to separate: at least one item of each kind."""
        return len(self.anomalous) > 0 and len(self.normal) > 0

    @cached_property
    def reached(self) -> Float64[Tensor, " m"]:
        """Weight of the 0, 1, 2 … highest anomalous items, as a fraction of all weight."""
        total = torch.cat((self.weight.new_zeros(1), self.weight.flip(0).cumsum(0)))
        return total / total[-1]

    @cached_property
    def points(self) -> OperatingPoints:
        """The operating points that fix every curve."""
        distinct, count = torch.unique_consecutive(self.anomalous, return_counts=True)
        threshold, hits = distinct.flip(0), count.flip(0).cumsum(0)
        return OperatingPoints(
            threshold=threshold,
            hits=hits.double(),
            overlap=self.reached[hits],
            alarms=_count_above(self.normal, threshold, or_equal=True).double(),
            alarms_above=_count_above(self.normal, threshold).double(),
        )


def rank(
    anomalous: Float[Tensor, " p"], normal: Float[Tensor, " n"], weight: Float64[Tensor, " p"] | None = None
) -> Ranking:
    """Sort the scores of anomalous and of normal items; without ``weight`` all anomalous items weigh the same.

    Raises ValueError for NaN or infinite scores, which have no rank.
    """
    anomalous, normal = _ranked_type(anomalous), _ranked_type(normal)
    for name, scores in (("anomalous", anomalous), ("normal", normal)):
        _check_finite(name, scores)
    weight = torch.ones_like(anomalous, dtype=torch.float64) if weight is None else weight
    anomalous, order = anomalous.sort()
    return Ranking(anomalous, weight[order], _sorted(normal))


def rank_labelled(scores: Float[Tensor, " n"], is_anomalous: Bool[Tensor, " n"]) -> Ranking:
    """Rank image scores by their labels.

    >>> auroc(rank_labelled(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True])))
    0.75
    """
    return rank(scores[is_anomalous], scores[~is_anomalous])


def rank_pixels(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Ranking:
    """Rank the pixels of anomaly maps, all images pooled; each 8-connected region of the masks weighs the same.

    >>> maps = torch.tensor([[[0.9, 0.8, 0.1, 0.7]]])
    >>> aupro(rank_pixels(maps, torch.tensor([[[True, True, False, False]]])))
    1.0
    """
    weight = torch.cat([region_weights(mask) for mask in masks]) if len(masks) else torch.zeros(0, dtype=torch.float64)
    return rank(maps[masks], maps[~masks], weight.to(maps.device))


def auroc(ranking: Ranking) -> float:
    """Area under the ROC curve: the chance that an anomalous item scores higher than a normal one, ties as one half.

    >>> auroc(rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 1.0])))
    0.875
    """
    if not ranking.is_defined:
        return math.nan
    points, n = ranking.points, len(ranking.normal)
    beaten = n - (points.alarms + points.alarms_above) / 2
    return float((_steps(points.hits) * beaten).sum() / (n * points.hits[-1]))


def average_precision(ranking: Ranking) -> float:
    """Precision at each step of recall, weighted by the step: area under the precision-recall curve, uninterpolated.

    >>> average_precision(rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 2.0])))
    0.8333333333333333
    """
    if not ranking.is_defined:
        return math.nan
    points = ranking.points
    precision = points.hits / (points.hits + points.alarms)
    return float((_steps(points.hits) * precision).sum() / points.hits[-1])


def f1_max(ranking: Ranking) -> float:
    """Return the highest F1 score that any threshold reaches.

    >>> f1_max(rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 2.0])))
    0.8
    """
    return f1_optimum(ranking)[0]


def f1_optimum(ranking: Ranking) -> tuple[float, float]:
    """Return the highest F1 score and the strictest threshold that reaches it (anomalous: this score or more).

    >>> f1_optimum(rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 2.0])))
    (0.8, 1.0)
    """
    if not ranking.is_defined:
        return math.nan, math.nan
    points = ranking.points
    f1 = 2 * points.hits / (points.hits + points.alarms + points.hits[-1])
    best = f1.argmax()
    return float(f1[best]), float(points.threshold[best])


def aupro(ranking: Ranking, fpr_limit: float = 0.3) -> float:
    """Area under the per-region overlap curve up to a false-positive rate, divided by that rate.

    The curve is exact: all thresholds, ties as one straight piece, interpolated at the limit. It depends on the order
    of the scores only, unlike ``aupro_200``.

    Source: Bergmann et al., The MVTec Anomaly Detection Dataset (IJCV 2021), section 5.

    >>> aupro(rank(anomalous=torch.tensor([3.0, 0.0]), normal=torch.tensor([1.0, 2.0])), fpr_limit=0.5)
    0.5
    """
    if not ranking.is_defined:
        return math.nan
    points, ends = ranking.points, ranking.reached.new_tensor((0.0, 1.0))
    rates = torch.stack((points.alarms_above, points.alarms), dim=1).flatten() / len(ranking.normal)  # 2 ends each → 2k
    fpr = torch.cat((ends[:1], rates, ends[1:]))
    overlap = torch.cat((ends[:1], points.overlap)).repeat_interleave(2)
    return _area_up_to(fpr_limit, fpr, overlap) / fpr_limit


def aupro_200(ranking: Ranking, fpr_limit: float = 0.3, steps: int = 200) -> float:
    """AUPRO as most papers of the field compute it, to compare with their tables.

    Thresholds lie in equal steps of the *score*, so the value changes when scores are rescaled and an outlier coarsens
    it. The rates kept are those strictly below the limit, stretched to [0, 1] by their own minimum and maximum. NaN
    where fewer than two different rates are kept, as with constant maps.

    Source: AnomalyCLIP (ICLR 2024), published evaluation code.
    """
    thresholds = _equal_steps(ranking, steps) if ranking.is_defined else None
    if thresholds is None:
        return math.nan
    fpr = _count_above(ranking.normal, thresholds).double() / len(ranking.normal)
    overlap = ranking.reached[_count_above(ranking.anomalous, thresholds)]
    kept = fpr < fpr_limit
    fpr, overlap = fpr[kept].flip(0), overlap[kept].flip(0)
    if len(fpr) == 0 or fpr[0] == fpr[-1]:
        return math.nan
    return float(torch.trapezoid(overlap, (fpr - fpr[0]) / (fpr[-1] - fpr[0])))


def _equal_steps(ranking: Ranking, steps: int) -> Float[Tensor, " t"] | None:
    """Thresholds from the lowest score upwards, each rounded down to the type of the scores; None for constant maps.

    Comparing a score with the rounded threshold gives what comparing it with the float64 threshold would give.
    """
    ends = (
        torch.stack((ranking.anomalous[0], ranking.normal[0], ranking.anomalous[-1], ranking.normal[-1])).cpu().numpy()
    )
    low, high = ends.min(), ends.max()
    step = (high - low) / steps
    if not step > 0:
        return None
    exact = torch.from_numpy(np.arange(low, high, step).astype(np.float64)).to(ranking.normal.device)
    rounded = exact.to(ranking.normal.dtype)
    below = rounded.nextafter(torch.full_like(rounded, -math.inf))
    return torch.where(rounded.double() > exact, below, rounded)


def _area_up_to(limit: float, x: Float64[Tensor, " m"], y: Float64[Tensor, " m"]) -> float:
    """Area below a piecewise linear curve from x = 0 to ``limit``; x does not fall."""
    width = x.diff()
    kept = x.clamp(max=limit).diff()
    share = torch.where(width > 0, kept / width, 0.0)
    return float((kept * (y[:-1] + y.diff() * share / 2)).sum())


def _steps(rising: Float64[Tensor, " k"]) -> Float64[Tensor, " k"]:
    return rising.diff(prepend=rising.new_zeros(1))


def _count_above(
    ascending: Float[Tensor, " n"], thresholds: Float[Tensor, " t"], or_equal: bool = False
) -> Int64[Tensor, " t"]:
    return len(ascending) - torch.searchsorted(ascending, thresholds.contiguous(), right=not or_equal)


def _sorted(scores: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Sort without the indices that ``torch.sort`` makes: on a CPU seven times faster and a third of the memory."""
    if scores.is_cpu:
        return torch.from_numpy(np.sort(scores.detach().numpy()))
    return scores.sort().values


def _ranked_type(scores: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return scores if scores.dtype == torch.float64 else scores.float()


def _check_finite(name: str, scores: Float[Tensor, " n"]) -> None:
    bad = scores[~scores.isfinite()]
    if len(bad):
        raise ValueError(f"{len(bad)} of {len(scores)} scores of {name} items are not finite (first: {bad[0].item()})")
