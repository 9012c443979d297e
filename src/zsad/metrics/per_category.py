"""Metrics per category, their confidence intervals, and the reasons of undefined values."""

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
Replicates = dict[str, Tensor]  # metric → its values on resampled images


class CategoryMetrics(nn.Module):
    """The metrics of every category of a dataset.

    Args:
        categories: All categories of the dataset, the same on every process.
        image: Metrics over image scores, by name; see ``conf/metrics``.
        pixel: Metrics over pixels, by name. With none, nothing is kept of the anomaly maps.
        maps: Metrics over whole anomaly maps with their masks, by name. With any, all maps are
            kept in memory.
        bins: Pixels are counted into at most so many bins, in constant memory; ``None`` keeps and
            sorts every score.
        intervals: Formulas of ``zsad.metrics.operating_points`` for the image metrics that get a
            confidence interval, by name.
        replicates: Number of resampled datasets behind an interval.
        seed: Seed of the resampling.
        side_px: Maps (bilinear) and masks (nearest) are compared as squares of this side, as in
            the evaluation of SAA+; ``None``: at the size that the method was given. Metrics over
            whole maps of images of different sizes need it.

    Attributes:
        rankings: After ``compute``, the rankings of images and of pixels behind each category's
            metrics.
        intervals: After ``compute``, for each category the 95 % confidence interval of each metric
            that has one.
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
        self.formulas = dict(intervals or {})
        self.replicates = replicates
        self.seed = seed
        self.side_px = side_px
        self.rankings: dict[str, tuple[Ranking, Ranking]] = {}
        self.intervals: dict[str, dict[str, Interval]] = {}
        self.mean_intervals: dict[str, Interval] = {}

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Add the predictions for a batch.

        Raises:
            ValueError: NaN or infinite predictions, naming the image; unknown categories; images
                of different sizes where whole maps are kept as they are.
        """
        _check_finite(prediction, batch)
        maps, masks = self._resize_for_comparison(prediction.map.detach().float(), batch.mask)
        indices = [self._index(category) for category in batch.category]
        device = prediction.score.device
        for index in dict.fromkeys(indices):
            rows = torch.tensor([one == index for one in indices], device=device)
            image = cast("Any", self.image[index])
            image.update(prediction.score[rows], batch.is_anomalous[rows])
            rows = rows & batch.has_mask
            for state in (self.pixel[index], self.maps[index]):
                if state.metrics and rows.any():
                    cast("Any", state).update(maps[rows], masks[rows])

    def compute(self) -> Results:
        """Return the values of all metrics, the same on every process."""
        results = Results(values={}, reasons={}, images={})
        with warnings.catch_warnings():
            # This process may have seen no image of a category that others have seen.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            for index, category in enumerate(self.categories):
                self._compute_category(index, category, results)
        self._resample()
        return replace(results, intervals=self.intervals, mean_intervals=self.mean_intervals)

    def reset(self) -> None:
        """Forget everything that was added."""
        for state in (*self.image, *self.pixel, *self.maps):
            cast("Any", state).reset()

    def _compute_category(self, index: int, category: str, results: Results) -> None:
        """Add a category to the results."""
        image: ComputedMetrics = cast("Any", self.image[index]).compute()
        pixel: ComputedMetrics = cast("Any", self.pixel[index]).compute()
        maps: dict[str, float] = cast("Any", self.maps[index]).compute()
        reasons = _undefined_reasons(image, "image") | _undefined_reasons(pixel, "pixel")
        for name, value in maps.items():
            if math.isnan(value):
                reasons[name] = _NO_MAPS
        results.values[category] = image.values | pixel.values | maps
        results.reasons[category] = reasons
        results.images[category] = image.ranking.counts
        self.rankings[category] = (image.ranking, pixel.ranking)

    def _resize_for_comparison(self, maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        if self.side_px is None:
            return maps, masks
        side = (self.side_px, self.side_px)
        return upsample(maps, side), nearest(masks, side)

    def _resample(self) -> None:
        """Compute the intervals. Each category has its own seed, or their draws would correlate."""
        replicates: dict[str, Replicates] = {}
        for index, (category, (ranking, _)) in enumerate(self.rankings.items()):
            if isinstance(ranking, SortedRanking) and ranking.is_defined:
                replicates[category] = self._draw_replicates(ranking, self.seed + index)
        self.intervals = {}
        for category, values in replicates.items():
            self.intervals[category] = _intervals(values)
        means = {}
        if replicates:
            for name in self.formulas:
                values_of_categories = [values[name] for values in replicates.values()]
                means[name] = torch.stack(values_of_categories).mean(0)
        self.mean_intervals = _intervals(means)

    def _draw_replicates(self, ranking: SortedRanking, seed: int) -> Replicates:
        values = {}
        for name, formula in self.formulas.items():
            values[name] = bootstrap.replicates(ranking, formula, self.replicates, seed)
        return values

    def _index(self, category: str) -> int:
        if category not in self.categories:
            expected = ", ".join(self.categories)
            raise ValueError(f"got an image of category {category!r}, expected one of: {expected}")
        return self.categories.index(category)


_NO_MAPS = "too few regions, normal images or different scores for a metric over whole maps"


def _intervals(replicates: Replicates) -> dict[str, Interval]:
    return {name: bootstrap.interval(values) for name, values in replicates.items()}


def _pixel_metrics(
    metrics: Mapping[str, RankingMetric], bins: int | None
) -> SortedPixelMetrics | BinnedPixelMetrics:
    if bins is None:
        return SortedPixelMetrics(metrics)
    return BinnedPixelMetrics(metrics, bins)


def _undefined_reasons(computed: ComputedMetrics, item: str) -> dict[str, str]:
    """Return the metrics that are undefined, with the reason."""
    normal, anomalous = computed.ranking.counts
    reason = "no two thresholds differ below the false-positive limit"
    if normal == anomalous == 0:
        reason = f"no {item} with ground truth"
    elif normal == 0:
        reason = f"no normal {item}"
    elif anomalous == 0:
        reason = f"no defective {item}"
    undefined = [name for name, value in computed.values.items() if math.isnan(value)]
    return dict.fromkeys(undefined, reason)


def _check_finite(prediction: Prediction, batch: Batch) -> None:
    maps = prediction.map.flatten(1)
    finite = prediction.score.isfinite() & maps.isfinite().all(dim=1)
    if finite.all():
        return
    first = int((~finite).nonzero()[0])
    raise ValueError(
        f"the prediction for {batch.path[first]} contains NaN or infinite values, which cannot be "
        "ranked; with trainer.precision=16-* try trainer.precision=bf16-mixed or 32"
    )
