"""Metrics per category: which are computed over what, and why some are undefined."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from zsad.functional.resample import nearest, upsample
from zsad.metrics import bootstrap
from zsad.metrics.bootstrap import Formula
from zsad.metrics.ranking import Ranking, SortedRanking
from zsad.metrics.states import (
    BinnedPixelMetrics,
    ComputedMetrics,
    ImageMetrics,
    MapMetric,
    MapMetrics,
    RankingMetric,
    SortedPixelMetrics,
)
from zsad.types import Batch, Prediction, Results

Interval = tuple[float, float]


class CategoryMetrics(nn.Module):
    """The metrics of every category of a dataset.

    Args:
        categories: All categories of the dataset, the same on every process.
        image: Metrics over image scores, by name; see ``conf/metrics``.
        pixel: Metrics over pixels, by name. With none, nothing is kept of the anomaly maps.
        maps: Metrics over whole anomaly maps with their masks, by name. With any, all maps are kept in memory.
        bins: Pixels are counted into at most so many bins, in constant memory; ``None`` keeps and sorts every score.
        intervals: Formulas of ``zsad.metrics.operating_points`` for the image metrics that get a confidence interval,
            by name.
        replicates: Resampled datasets behind an interval.
        seed: Of the resampling.
        side_px: Maps (bilinear) and masks (nearest) are compared as squares of this side, as in the evaluation of SAA+;
            ``None``: at the size that the method was given. Metrics over whole maps of images of different sizes need
            it.

    Attributes:
        rankings: After ``compute``, the rankings of images and of pixels behind each category's metrics.
        intervals: After ``compute``, for each category the 95 % confidence interval of each metric that has one.
        mean_intervals: The same for the means over the categories.
    """

    def __init__(
        self,
        categories: Sequence[str],
        image: Mapping[str, RankingMetric],
        pixel: Mapping[str, RankingMetric],
        maps: Mapping[str, MapMetric] | None = None,
        bins: int | None = 2**16,
        intervals: Mapping[str, Formula] | None = None,
        replicates: int = 1000,
        seed: int = 0,
        side_px: int | None = None,
    ):
        super().__init__()
        self.categories = tuple(dict.fromkeys(categories))
        # Lists, since a category may have a name that a ModuleDict refuses ("a.b", "values").
        self.image = nn.ModuleList(ImageMetrics(image) for _ in self.categories)
        self.pixel = nn.ModuleList(_pixel_metrics(pixel, bins) for _ in self.categories)
        self.maps = nn.ModuleList(MapMetrics(maps or {}) for _ in self.categories)
        self.formulas, self.replicates, self.seed = dict(intervals or {}), replicates, seed
        self.side_px = side_px
        self.rankings: dict[str, tuple[Ranking, Ranking]] = {}
        self.intervals: dict[str, dict[str, Interval]] = {}
        self.mean_intervals: dict[str, Interval] = {}

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Add what was predicted for a batch.

        Raises ValueError for NaN or infinite predictions, naming the image, for unknown categories, and for images of
        different sizes where whole maps are kept as they are.
        """
        _check_finite(prediction, batch)
        maps, masks = self._resize_for_comparison(prediction.map.detach().float(), batch.mask)
        indices = [self._index(category) for category in batch.category]
        for index in dict.fromkeys(indices):
            rows = torch.tensor([one == index for one in indices], device=prediction.score.device)
            cast("Any", self.image[index]).update(prediction.score[rows], batch.is_anomalous[rows])
            rows = rows & batch.has_mask
            for kept in (self.pixel[index], self.maps[index]):
                if kept.metrics and rows.any():
                    cast("Any", kept).update(maps[rows], masks[rows])

    def compute(self) -> Results:
        """Return the values of all metrics, the same on every process."""
        results = Results(values={}, reasons={}, images={})
        with warnings.catch_warnings():
            # This process may have seen no image of a category that others have seen.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            for index, category in enumerate(self.categories):
                image, pixel, maps = (
                    cast("Any", kept[index]).compute()
                    for kept in (self.image, self.pixel, self.maps)
                )
                results.values[category] = image.values | pixel.values | maps
                results.reasons[category] = _undefined_reasons(image, "image") | _undefined_reasons(
                    pixel, "pixel"
                )
                results.reasons[category] |= {
                    name: _NO_MAPS for name, value in maps.items() if math.isnan(value)
                }
                results.images[category] = image.ranking.counts
                self.rankings[category] = (image.ranking, pixel.ranking)
        self._resample()
        return replace(results, intervals=self.intervals, mean_intervals=self.mean_intervals)

    def reset(self) -> None:
        """Forget everything that was added."""
        for kept in (*self.image, *self.pixel, *self.maps):
            cast("Any", kept).reset()

    def _resize_for_comparison(self, maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        if self.side_px is None:
            return maps, masks
        side = (self.side_px, self.side_px)
        return upsample(maps, side), nearest(masks, side)

    def _resample(self) -> None:
        """Fill the intervals. Each category has a seed of its own, or their draws would move together."""
        drawn: dict[str, dict[str, Tensor]] = {}
        for index, (category, (ranking, _)) in enumerate(self.rankings.items()):
            if isinstance(ranking, SortedRanking) and ranking.is_defined:
                drawn[category] = {
                    name: bootstrap.replicates(ranking, formula, self.replicates, self.seed + index)
                    for name, formula in self.formulas.items()
                }
        self.intervals = {
            category: {name: bootstrap.interval(values) for name, values in row.items()}
            for category, row in drawn.items()
        }
        self.mean_intervals = {
            name: bootstrap.interval(torch.stack([row[name] for row in drawn.values()]).mean(0))
            for name in (self.formulas if drawn else ())
        }

    def _index(self, category: str) -> int:
        if category not in self.categories:
            raise ValueError(
                f"got an image of category {category!r}, expected one of: {', '.join(self.categories)}"
            )
        return self.categories.index(category)


_NO_MAPS = "too few regions, normal images or different scores for a metric over whole maps"


def _pixel_metrics(
    metrics: Mapping[str, RankingMetric], bins: int | None
) -> SortedPixelMetrics | BinnedPixelMetrics:
    return SortedPixelMetrics(metrics) if bins is None else BinnedPixelMetrics(metrics, bins)


def _undefined_reasons(measured: ComputedMetrics, item: str) -> dict[str, str]:
    normal, anomalous = measured.ranking.counts
    if normal == anomalous == 0:
        reason = f"no {item} with ground truth"
    elif 0 in (normal, anomalous):
        reason = f"no {'defective' if normal else 'normal'} {item}"
    else:
        reason = "no two thresholds differ below the false-positive limit"
    return {name: reason for name, value in measured.values.items() if math.isnan(value)}


def _check_finite(prediction: Prediction, batch: Batch) -> None:
    finite = prediction.score.isfinite() & prediction.map.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        path = batch.path[int((~finite).nonzero()[0])]
        raise ValueError(
            f"the prediction for {path} contains NaN or infinite values, which cannot be ranked; "
            "with trainer.precision=16-* try trainer.precision=bf16-mixed or 32"
        )
