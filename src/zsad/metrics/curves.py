"""Ranking metrics: AUROC, average precision, F1-max, IoU-max, FPR at a TPR, AUPRO in two versions.

    auroc(rank_labelled(scores, is_anomalous))
    aupro(rank_pixels(maps, masks))

Each is a function of a ``Ranking``, whether that was sorted (exact) or counted into a histogram
(constant memory), and ties are one step. All are Python floats in [0, 1]; NaN where the normal or
the anomalous items are missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from zsad.metrics import operating_points
from zsad.metrics.operating_points import OperatingPoints
from zsad.metrics.ranking import Ranking, rank, rank_labelled, rank_pixels
from zsad.metrics.shapes import ScoreRange, Thresholds

__all__ = [
    "Ranking",
    "aupro",
    "aupro_200",
    "auroc",
    "average_precision",
    "f1_max",
    "f1_optimum",
    "fpr_at_tpr",
    "iou_max",
    "rank",
    "rank_labelled",
    "rank_pixels",
]


def auroc(ranking: Ranking) -> float:
    """Area under the ROC curve.

    The chance that an anomalous item scores higher than a normal item, ties as one half.

    >>> auroc(rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 1.0])))
    0.875
    """
    return _value(ranking, operating_points.roc_area)


def average_precision(ranking: Ranking) -> float:
    """Area under the precision-recall curve, uninterpolated.

    Precision at each step of recall, weighted by the step.

    >>> ranking = rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 2.0]))
    >>> average_precision(ranking)
    0.8333333333333333
    """
    return _value(ranking, operating_points.precision_recall_area)


def f1_max(ranking: Ranking) -> float:
    """Return the highest F1 score that any threshold reaches.

    >>> f1_max(rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 2.0])))
    0.8
    """
    return f1_optimum(ranking)[0]


def f1_optimum(ranking: Ranking) -> tuple[float, float]:
    """Return the highest F1 score, and the strictest threshold that reaches it.

    An item is anomalous if it scores this or more.

    >>> f1_optimum(rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 2.0])))
    (0.8, 1.0)
    """
    if not ranking.is_defined:
        return math.nan, math.nan
    points = ranking.points
    f1 = operating_points.f1_scores(points)
    best = f1.argmax()
    return float(f1[best]), float(points.threshold[best])


def iou_max(ranking: Ranking) -> float:
    """Return the highest intersection over union that any threshold reaches, all images pooled.

    >>> iou_max(rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 2.0, 2.0])))
    0.5
    """
    return _value(ranking, operating_points.iou_best)


def fpr_at_tpr(ranking: Ranking, tpr: float = 0.95) -> float:
    """False-positive rate at the strictest threshold that finds a share of the anomalous items.

    >>> fpr_at_tpr(rank(anomalous=torch.tensor([3.0, 1.0]), normal=torch.tensor([0.0, 2.0])))
    0.5
    """
    return _value(ranking, lambda points: operating_points.fpr_at(points, tpr))


def aupro(ranking: Ranking, fpr_limit: float = 0.3) -> float:
    """Area under the per-region overlap curve up to a false-positive rate, divided by that rate.

    All thresholds, ties as one straight piece, interpolated at the limit. It depends on the order
    of the scores only, unlike ``aupro_200``.

    Source: Bergmann et al., The MVTec Anomaly Detection Dataset (IJCV 2021), section 5.

    >>> ranking = rank(anomalous=torch.tensor([3.0, 0.0]), normal=torch.tensor([1.0, 2.0]))
    >>> aupro(ranking, fpr_limit=0.5)
    0.5
    """
    return _value(ranking, lambda points: operating_points.overlap_area(points, fpr_limit))


def aupro_200(ranking: Ranking, fpr_limit: float = 0.3, steps: int = 200) -> float:
    """AUPRO as most papers of the field compute it, to compare with their tables.

    Thresholds lie in equal steps of the *score*, so the value changes when scores are rescaled and
    an outlier coarsens it. The rates kept are those strictly below the limit, stretched to [0, 1]
    by their own minimum and maximum. NaN where fewer than two different rates are kept, as with
    constant maps.

    Source: AnomalyCLIP (ICLR 2024), published evaluation code.
    """
    if not ranking.is_defined:
        return math.nan
    thresholds = _equal_steps(ranking.score_range, steps)
    if thresholds is None:
        return math.nan
    false_positives, overlap = ranking.count_above(thresholds)
    fpr = false_positives / ranking.counts[0]
    kept = fpr < fpr_limit
    fpr = fpr[kept].flip(0)
    overlap = overlap[kept].flip(0)
    if len(fpr) == 0 or fpr[0] == fpr[-1]:
        return math.nan
    lowest = fpr[0]
    width = fpr[-1] - lowest
    stretched = (fpr - lowest) / width
    return float(torch.trapezoid(overlap, stretched))


def _equal_steps(score_range: ScoreRange, steps: int) -> Thresholds | None:
    """Return thresholds from the lowest score on; ``None`` where all scores are equal.

    They are computed in the arithmetic of the type of the scores.
    """
    low, high = score_range.cpu().numpy()
    step = (high - low) / steps
    if not step > 0:
        return None
    thresholds = np.arange(low, high, step).astype(np.float64)
    return torch.from_numpy(thresholds).to(score_range.device)


def _value(ranking: Ranking, formula: Callable[[OperatingPoints], Tensor]) -> float:
    if not ranking.is_defined:
        return math.nan
    return float(formula(ranking.points))
