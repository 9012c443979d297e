"""States of the metrics of one category: torchmetrics shells that every process fills and joins.

Every process holds the same states in the same order, so that a category which one process never
saw is still gathered by all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from zsad.distributed import gather_objects
from zsad.metrics.binned_ranking import BinnedRanking
from zsad.metrics.connected_components import region_weights
from zsad.metrics.ranking import Ranking, SortedRanking, rank
from zsad.metrics.score_histogram import (
    Histogram,
    check_bins,
    count_scores,
    empty_histogram,
    merge_histograms,
)

RankingMetric = Callable[[Ranking], float]
MapMetric = Callable[[Tensor, Tensor], float]


class ComputedMetrics:
    """The values of the metrics, and the ranking behind them.

    Not a dataclass: torchmetrics would look for tensors in it, copy it and refuse a frozen class.
    """

    def __init__(self, metrics: Mapping[str, RankingMetric], ranking: Ranking):
        self.values = {name: metric(ranking) for name, metric in metrics.items()}
        self.ranking = ranking


class _SortedMetrics(Metric):
    """Keeps scores of anomalous and normal items; ``compute`` ranks them once for all metrics.

    Args:
        metrics: The metrics by name.
    """

    full_state_update = False
    anomalous: list[Tensor]
    weight: list[Tensor]
    normal: list[Tensor]

    def __init__(self, metrics: Mapping[str, RankingMetric]):
        super().__init__(dist_sync_fn=_gather)
        self.metrics = dict(metrics)
        for state in ("anomalous", "weight", "normal"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def compute(self) -> ComputedMetrics:
        """Rank the scores, and compute the metrics; NaN where they are undefined."""
        return ComputedMetrics(self.metrics, self._ranking())

    def _ranking(self) -> SortedRanking:
        anomalous = _concatenate(self.anomalous)
        normal = _concatenate(self.normal)
        weight = _concatenate(self.weight)
        return rank(anomalous, normal, weight.double())

    def _append(self, anomalous: Tensor, weight: Tensor, normal: Tensor) -> None:
        self.anomalous.append(anomalous.cpu())
        self.weight.append(weight.cpu())
        self.normal.append(normal.cpu())


class ImageMetrics(_SortedMetrics):
    """Metrics over image scores, exact."""

    def update(self, score: Tensor, is_anomalous: Tensor) -> None:
        """Add a batch: ``score`` (B,) and ``is_anomalous`` (B,) bool."""
        score = score.detach().double()
        anomalous = score[is_anomalous]
        weight = torch.ones_like(anomalous)
        self._append(anomalous, weight, score[~is_anomalous])


class SortedPixelMetrics(_SortedMetrics):
    """Metrics over pixels, exact; memory grows with every map."""

    def update(self, anomaly_map: Tensor, mask: Tensor) -> None:
        """Add maps and masks (B, H, W)."""
        weights = [region_weights(one) for one in mask]
        anomalous = anomaly_map[mask]
        normal = anomaly_map[~mask]
        self._append(anomalous, torch.cat(weights), normal)


class BinnedPixelMetrics(Metric):
    """Metrics over pixels from a histogram: the memory of one map, for any number of maps.

    All states are integers that depend on the scores alone, so that any number of processes comes
    to the same last bit. ``zsad.metrics.score_histogram`` describes the bins.

    Args:
        metrics: The metrics by name.
        bins: Largest number of bins.
    """

    full_state_update = False
    bins: Tensor
    shift: Tensor

    def __init__(self, metrics: Mapping[str, RankingMetric], bins: int):
        super().__init__(dist_sync_fn=_gather_rows)
        self.metrics = dict(metrics)
        self.most_bins = check_bins(bins)
        empty = empty_histogram()
        self.add_state("bins", default=empty.bins, dist_reduce_fx=_drop_empty_rows)
        self.add_state("shift", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, anomaly_map: Tensor, mask: Tensor) -> None:
        """Add maps and masks (B, H, W)."""
        parts = [self._histogram()]
        for scores, is_defective in zip(anomaly_map, mask, strict=True):
            weight = region_weights(is_defective).to(scores.device)
            anomalous = scores[is_defective]
            normal = scores[~is_defective]
            shift = max(part.shift for part in parts[-2:])
            parts += count_scores(anomalous, normal, weight, self.most_bins, shift)
        merged = merge_histograms(parts, self.most_bins)
        self.bins = merged.bins
        self.shift = self.shift.new_tensor(merged.shift)

    def compute(self) -> ComputedMetrics:
        """Compute the metrics from the histogram; NaN where they are undefined."""
        # The rows of several processes are merged here, after all of them were gathered.
        histogram = merge_histograms([self._histogram()], self.most_bins)
        return ComputedMetrics(self.metrics, BinnedRanking(histogram))

    def _histogram(self) -> Histogram:
        return Histogram(self.bins, int(self.shift))


class MapMetrics(Metric):
    """Metrics that need whole maps with their masks; memory grows with every map.

    Args:
        metrics: The metrics by name.
    """

    full_state_update = False
    maps: list[Tensor]
    masks: list[Tensor]

    def __init__(self, metrics: Mapping[str, MapMetric]):
        super().__init__(dist_sync_fn=_gather)
        self.metrics = dict(metrics)
        for state in ("maps", "masks"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, anomaly_map: Tensor, mask: Tensor) -> None:
        """Add maps and masks (B, H, W).

        Raises:
            ValueError: They are of another size than those before.
        """
        if self.maps:
            self._check_size(anomaly_map)
        self.maps.append(anomaly_map.cpu())
        self.masks.append(mask.cpu())

    def compute(self) -> dict[str, float]:
        """Compute the metrics, NaN where they are undefined."""
        maps = _concatenate(self.maps)
        masks = _concatenate(self.masks).bool()
        if not len(maps):
            maps = maps.reshape(0, 1, 1)
            masks = masks.reshape(0, 1, 1)
        return {name: metric(maps, masks) for name, metric in self.metrics.items()}

    def _check_size(self, anomaly_map: Tensor) -> None:
        height, width = self.maps[0].shape[1:]
        new_height, new_width = anomaly_map.shape[1:]
        if (height, width) == (new_height, new_width):
            return
        names = ", ".join(self.metrics)
        raise ValueError(
            f"{names} need maps of one size, and the images are of {width} x {height} and of "
            f"{new_width} x {new_height} px: compare them as squares with +metrics.side_px=400, "
            "or metrics=saa"
        )


def _concatenate(state: list[Tensor] | Tensor) -> Tensor:
    """Return the state as one tensor; after the processes were joined it is one already."""
    if isinstance(state, list):
        return torch.cat([torch.empty(0), *state])
    return state


def _gather(state: Tensor, group: Any = None) -> list[Tensor]:
    """Gather a state from all processes.

    Unlike torchmetrics' own way it takes CPU tensors with any backend, and empty states of another
    type than the rest.
    """
    return gather_objects(state.cpu(), group)


def _gather_rows(state: Tensor, group: Any = None) -> list[Tensor]:
    """Gather a state from all processes, with empty rows up to the longest, to be stacked."""
    gathered = _gather(state, group)
    if not state.ndim:
        return gathered
    longest = max(map(len, gathered))
    padded = []
    for rows in gathered:
        missing = longest - len(rows)
        empty = rows.new_zeros(missing, rows.shape[1])
        padded.append(torch.cat((rows, empty)))
    return padded


def _drop_empty_rows(stacked: Tensor) -> Tensor:
    """Put the rows of all processes below each other, without the empty ones."""
    rows = stacked.flatten(0, 1)
    return rows[rows.any(dim=1)]
