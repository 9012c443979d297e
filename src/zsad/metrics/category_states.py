"""Metrics of one category: its states, their values, and the reasons of undefined values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from zsad.metrics.ranking import Ranking
from zsad.metrics.states import (
    BinnedPixelMetrics,
    ComputedMetrics,
    ImageMetrics,
    MapMetric,
    MapMetrics,
    RankingMetric,
    SortedPixelMetrics,
)

_NO_MAPS = "too few regions, normal images or different scores for a metric over whole maps"
_NO_CURVE = "no two thresholds differ below the false-positive limit"


@dataclass(frozen=True)
class CategoryResults:
    """Results of one category.

    Attributes:
        values: Metric → value in [0, 1]; NaN where it is undefined.
        reasons: Undefined metric → reason.
        images: Ranking of the images.
        pixels: Ranking of the pixels.
    """

    values: dict[str, float]
    reasons: dict[str, str]
    images: Ranking
    pixels: Ranking


class CategoryStates(nn.Module):
    """The metrics of one category.

    Args:
        image: Metrics over image scores, by name.
        pixel: Metrics over pixels, by name. With none, nothing is kept of the anomaly maps.
        maps: Metrics over whole anomaly maps, by name. With any, all maps are kept in memory.
        bins: Largest number of bins that count pixels; ``None`` keeps and sorts every score.
    """

    def __init__(
        self,
        image: Mapping[str, RankingMetric],
        pixel: Mapping[str, RankingMetric],
        maps: Mapping[str, MapMetric],
        bins: int | None,
    ):
        super().__init__()
        self.image = ImageMetrics(image)
        if bins is None:
            self.pixel = SortedPixelMetrics(pixel)
        else:
            self.pixel = BinnedPixelMetrics(pixel, bins)
        self.maps = MapMetrics(maps)

    def update_images(self, score: Tensor, is_anomalous: Tensor) -> None:
        """Add image scores (B,) and labels (B,) bool."""
        self.image.update(score, is_anomalous)

    def update_maps(self, maps: Tensor, masks: Tensor) -> None:
        """Add anomaly maps and masks (B, H, W)."""
        if not len(maps):
            return
        if self.pixel.metrics:
            self.pixel.update(maps, masks)
        if self.maps.metrics:
            self.maps.update(maps, masks)

    def compute(self) -> CategoryResults:
        """Compute all metrics, the same on every process."""
        image = self.image.compute()
        pixel = self.pixel.compute()
        maps = self.maps.compute()
        reasons = _undefined_reasons(image, "image")
        reasons |= _undefined_reasons(pixel, "pixel")
        for name, value in maps.items():
            if math.isnan(value):
                reasons[name] = _NO_MAPS
        values = image.values | pixel.values | maps
        return CategoryResults(values, reasons, image.ranking, pixel.ranking)

    def reset(self) -> None:
        """Forget everything that was added."""
        self.image.reset()
        self.pixel.reset()
        self.maps.reset()


def _undefined_reasons(computed: ComputedMetrics, item: str) -> dict[str, str]:
    """Return the metrics that are undefined, with the reason."""
    normal, anomalous = computed.ranking.counts
    reason = _NO_CURVE
    if normal == anomalous == 0:
        reason = f"no {item} with ground truth"
    elif normal == 0:
        reason = f"no normal {item}"
    elif anomalous == 0:
        reason = f"no defective {item}"
    reasons = {}
    for name, value in computed.values.items():
        if math.isnan(value):
            reasons[name] = reason
    return reasons
