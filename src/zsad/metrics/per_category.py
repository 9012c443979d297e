"""Metrics of all categories of a dataset, with their confidence intervals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from zsad.functional.resample import nearest, upsample
from zsad.metrics import bootstrap
from zsad.metrics.bootstrap import Formula
from zsad.metrics.category_states import CategoryStates
from zsad.metrics.ranking import Ranking, SortedRanking
from zsad.metrics.states import MapMetric, RankingMetric
from zsad.types import Batch, Prediction, Results

Interval = tuple[float, float]
Intervals = dict[str, Interval]  # metric → its confidence interval
Rankings = tuple[Ranking, Ranking]  # of images, of pixels
Replicates = dict[str, Tensor]  # metric → its values on resampled images

LEAST_IMAGES = 5  # of each label, for an interval


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

    An interval needs at least ``LEAST_IMAGES`` images of each label: a single image drawn again and
    again would give an interval without width, which reads as certainty.

    Attributes:
        rankings: After ``compute``, the rankings of images and of pixels behind each category's
            metrics.
        intervals: After ``compute``, for each category the 95 % confidence interval of each metric
            that has one.
        mean_intervals: The same for the means over the categories; empty unless every category in
            the means has one.
        interval_reasons: After ``compute``, for each category the metrics without an interval, and
            why.
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
        # A list, since a category may have a name that a ModuleDict refuses ("a.b", "values").
        self.states = nn.ModuleList()
        for _ in self.categories:
            self.states.append(CategoryStates(image, pixel, maps or {}, bins))
        self.formulas = dict(intervals or {})
        self.replicates = replicates
        self.seed = seed
        self.side_px = side_px
        self.rankings: dict[str, Rankings] = {}
        self.intervals: dict[str, Intervals] = {}
        self.mean_intervals: Intervals = {}
        self.interval_reasons: dict[str, dict[str, str]] = {}

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Add the predictions for a batch.

        Raises:
            ValueError: NaN or infinite predictions, naming the image; unknown categories; images
                of different sizes where whole maps are kept as they are.
        """
        _check_finite(prediction, batch)
        maps = prediction.map.detach().float()
        maps, masks = self._resize_for_comparison(maps, batch.mask)
        device = prediction.score.device
        for category in dict.fromkeys(batch.category):
            states = self._states_of(category)
            is_own = [other == category for other in batch.category]
            rows = torch.tensor(is_own, device=device)
            states.update_images(prediction.score[rows], batch.is_anomalous[rows])
            rows = rows & batch.has_mask
            states.update_maps(maps[rows], masks[rows])

    def compute(self) -> Results:
        """Return the values of all metrics, the same on every process."""
        results = Results(values={}, reasons={}, images={})
        with warnings.catch_warnings():
            # This process may have seen no image of a category that others have seen.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            for category in self.categories:
                computed = self._states_of(category).compute()
                results.values[category] = computed.values
                results.reasons[category] = computed.reasons
                results.images[category] = computed.images.counts
                self.rankings[category] = (computed.images, computed.pixels)
        self._resample()
        return replace(
            results,
            intervals=self.intervals,
            mean_intervals=self.mean_intervals,
            interval_reasons=self.interval_reasons,
        )

    def reset(self) -> None:
        """Forget everything that was added."""
        for category in self.categories:
            self._states_of(category).reset()

    def _states_of(self, category: str) -> CategoryStates:
        if category not in self.categories:
            expected = ", ".join(self.categories)
            raise ValueError(f"got an image of category {category!r}, expected one of: {expected}")
        index = self.categories.index(category)
        return cast("CategoryStates", self.states[index])

    def _resize_for_comparison(self, maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        if self.side_px is None:
            return maps, masks
        side = (self.side_px, self.side_px)
        return upsample(maps, side), nearest(masks, side)

    def _resample(self) -> None:
        """Compute the intervals. Each category has its own seed, or their draws would correlate."""
        replicates: dict[str, Replicates] = {}
        self.interval_reasons = {}
        for index, category in enumerate(self.rankings):
            images, _ = self.rankings[category]
            if not isinstance(images, SortedRanking) or not images.is_defined:
                continue
            if min(images.counts) < LEAST_IMAGES and self.formulas:
                reason = _too_few(images)
                self.interval_reasons[category] = dict.fromkeys(self.formulas, reason)
                continue
            seed = self.seed + index
            replicates[category] = self._draw_replicates(images, seed)
        self.intervals = {}
        for category, values in replicates.items():
            self.intervals[category] = _intervals(values)
        self.mean_intervals = {}
        if replicates and not self.interval_reasons:
            means = self._mean_replicates(replicates)
            self.mean_intervals = _intervals(means)

    def _mean_replicates(self, replicates: dict[str, Replicates]) -> Replicates:
        means = {}
        for name in self.formulas:
            categories = [values[name] for values in replicates.values()]
            means[name] = torch.stack(categories).mean(0)
        return means

    def _draw_replicates(self, ranking: SortedRanking, seed: int) -> Replicates:
        values = {}
        for name, formula in self.formulas.items():
            values[name] = bootstrap.replicates(ranking, formula, self.replicates, seed)
        return values


def _intervals(replicates: Replicates) -> Intervals:
    intervals = {}
    for name, values in replicates.items():
        intervals[name] = bootstrap.interval(values)
    return intervals


def _too_few(images: SortedRanking) -> str:
    normal, anomalous = images.counts
    return (
        f"{normal} good and {anomalous} defective images, "
        f"an interval needs at least {LEAST_IMAGES} of each"
    )


def _check_finite(prediction: Prediction, batch: Batch) -> None:
    maps = prediction.map.flatten(1)
    has_finite_map = maps.isfinite().all(dim=1)
    finite = prediction.score.isfinite() & has_finite_map
    if finite.all():
        return
    first = int((~finite).nonzero()[0])
    raise ValueError(
        f"the prediction for {batch.path[first]} contains NaN or infinite values, which cannot be "
        "ranked"
    )
