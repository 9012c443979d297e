"""What is kept of the predictions of one category: torchmetrics shells that every process of a run fills and joins.

Every process holds the same states in the same order, so that a category which one process never saw is still gathered
by all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from zsad.distributed import gather_objects
from zsad.metrics import score_histogram
from zsad.metrics.connected_components import region_weights
from zsad.metrics.ranking import Ranking, SortedRanking, rank
from zsad.metrics.score_histogram import BinnedRanking, Histogram

RankingMetric = Callable[[Ranking], float]
MapMetric = Callable[[Tensor, Tensor], float]


class ComputedMetrics:
    """The values of the metrics, and the ranking they were read from.

    Not a dataclass: torchmetrics would look for tensors in it, copy it and refuse what is frozen.
    """

    def __init__(self, metrics: Mapping[str, RankingMetric], ranking: Ranking):
        self.values = {name: measure(ranking) for name, measure in metrics.items()}
        self.ranking = ranking


class _SortedMetrics(Metric):
    """Keep the scores of anomalous and of normal items until ``compute`` ranks them once for all metrics.

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
        """Rank what was kept, NaN for metrics that are undefined."""
        return ComputedMetrics(self.metrics, self._ranking())

    def _ranking(self) -> SortedRanking:
        return rank(
            _concatenate(self.anomalous),
            _concatenate(self.normal),
            _concatenate(self.weight).double(),
        )

    def _keep(self, anomalous: Tensor, weight: Tensor, normal: Tensor) -> None:
        self.anomalous.append(anomalous.cpu())
        self.weight.append(weight.cpu())
        self.normal.append(normal.cpu())


class ImageMetrics(_SortedMetrics):
    """Metrics over image scores, exact."""

    def update(self, score: Tensor, is_anomalous: Tensor) -> None:
        """Add a batch: ``score`` (B,) and ``is_anomalous`` (B,) bool."""
        score = score.detach().double()
        anomalous = score[is_anomalous]
        self._keep(anomalous, torch.ones_like(anomalous), score[~is_anomalous])


class SortedPixelMetrics(_SortedMetrics):
    """Metrics over pixels, exact; memory grows with every map."""

    def update(self, anomaly_map: Tensor, mask: Tensor) -> None:
        """Add maps and masks (B, H, W)."""
        self._keep(
            anomaly_map[mask], torch.cat([region_weights(one) for one in mask]), anomaly_map[~mask]
        )


class BinnedPixelMetrics(Metric):
    """Metrics over pixels from a histogram: the memory of one map, however many there are.

    All states are integers that depend on what was counted alone, so that any number of processes comes to the same
    last bit. See ``zsad.metrics.score_histogram`` for what a bin is.

    Args:
        metrics: The metrics by name.
        bins: The most bins that may be used.
    """

    full_state_update = False
    bins: Tensor
    shift: Tensor

    def __init__(self, metrics: Mapping[str, RankingMetric], bins: int):
        super().__init__(dist_sync_fn=_gather_rows)
        self.metrics = dict(metrics)
        self.most_bins = score_histogram.check_bins(bins)
        self.add_state(
            "bins", default=score_histogram.empty_histogram().bins, dist_reduce_fx=_filled_rows
        )
        self.add_state("shift", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, anomaly_map: Tensor, mask: Tensor) -> None:
        """Add maps and masks (B, H, W)."""
        parts = [self._histogram()]
        for scores, bad in zip(anomaly_map, mask, strict=True):
            weight = region_weights(bad).to(scores.device)
            shift = max(part.shift for part in parts[-2:])
            parts += score_histogram.count_scores(
                scores[bad], scores[~bad], weight, self.most_bins, shift
            )
        counted = score_histogram.merge_histograms(parts, self.most_bins)
        self.bins, self.shift = counted.bins, self.shift.new_tensor(counted.shift)

    def compute(self) -> ComputedMetrics:
        """Read the metrics off what was counted, NaN where they are undefined."""
        # The rows of several processes are fused here, after all of them were gathered.
        return ComputedMetrics(
            self.metrics,
            BinnedRanking(score_histogram.merge_histograms([self._histogram()], self.most_bins)),
        )

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
            ValueError: If they are of another size than those before.
        """
        if self.maps and self.maps[0].shape[1:] != anomaly_map.shape[1:]:
            (height, width), (high, wide) = self.maps[0].shape[1:], anomaly_map.shape[1:]
            raise ValueError(
                f"{', '.join(self.metrics)} need maps of one size, and the images are of {width} x {height} and of "
                f"{wide} x {high} px: compare them as squares with +metrics.side_px=400, or metrics=saa"
            )
        self.maps.append(anomaly_map.cpu())
        self.masks.append(mask.cpu())

    def compute(self) -> dict[str, float]:
        """Compute the metrics, NaN where they are undefined."""
        maps, masks = _concatenate(self.maps), _concatenate(self.masks).bool()
        if not len(maps):
            maps, masks = maps.reshape(0, 1, 1), masks.reshape(0, 1, 1)
        return {name: measure(maps, masks) for name, measure in self.metrics.items()}


def _concatenate(state: list[Tensor] | Tensor) -> Tensor:
    """Return the state as one tensor; it is a list before the processes were joined, and a tensor after."""
    return torch.cat([torch.empty(0), *state]) if isinstance(state, list) else state


def _gather(state: Tensor, group: Any = None) -> list[Tensor]:
    """Gather a state from all processes.

    Unlike torchmetrics' own way it takes CPU tensors with any backend, and empty states of another type than the rest.
    """
    return gather_objects(state.cpu(), group)


def _gather_rows(state: Tensor, group: Any = None) -> list[Tensor]:
    """Gather a state from all processes; empty rows make those with fewer as long as the longest, to be stacked."""
    gathered = _gather(state, group)
    if not state.ndim:
        return gathered
    longest = max(map(len, gathered))
    return [
        torch.cat((rows, rows.new_zeros(longest - len(rows), rows.shape[1]))) for rows in gathered
    ]


def _filled_rows(stacked: Tensor) -> Tensor:
    """Put the rows of all processes below each other, without the empty ones."""
    rows = stacked.flatten(0, 1)
    return rows[rows.any(dim=1)]
