"""Metrics per category: torchmetrics shells around ``zsad.maths.curves``.

A state holds scores, nothing else: of images, or of pixels already parted into anomalous and normal ones. Every process
holds the same states in the same order, so that a category which one process never saw is still gathered by all.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from zsad.maths.components import region_weights
from zsad.maths.curves import Ranking, rank
from zsad.types import Batch, Prediction, Results

RankingMetric = Callable[[Ranking], float]


class Measured(NamedTuple):
    """The values of the metrics, and how many items of each kind stand behind them."""

    values: dict[str, float]
    normal: int
    anomalous: int


class _RankingMetrics(Metric):
    """Keep the scores of anomalous and of normal items until ``compute`` ranks them once for all metrics.

    Args:
        measures: The metrics by name. With none, nothing is kept.
    """

    full_state_update = False
    anomalous: list[Tensor]
    weight: list[Tensor]
    normal: list[Tensor]

    def __init__(self, measures: Mapping[str, RankingMetric]):
        super().__init__(dist_sync_fn=_gather)
        self.measures = dict(measures)
        for state in ("anomalous", "weight", "normal"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def compute(self) -> Measured:
        """Rank what was kept, NaN for metrics that are undefined."""
        ranking = rank(_joined(self.anomalous), _joined(self.normal), _joined(self.weight).double())
        values = {name: measure(ranking) for name, measure in self.measures.items()}
        return Measured(values, len(ranking.normal), len(ranking.anomalous))

    def _keep(self, anomalous: Tensor, weight: Tensor, normal: Tensor) -> None:
        self.anomalous.append(anomalous.cpu())
        self.weight.append(weight.cpu())
        self.normal.append(normal.cpu())


class ImageMetrics(_RankingMetrics):
    """Metrics over image scores."""

    def update(self, score: Tensor, is_anomalous: Tensor) -> None:
        """Add a batch: ``score`` (B,) and ``is_anomalous`` (B,) bool."""
        score = score.detach().double()
        anomalous = score[is_anomalous]
        self._keep(anomalous, torch.ones_like(anomalous), score[~is_anomalous])


class PixelMetrics(_RankingMetrics):
    """Metrics over the pixels of anomaly maps. The regions of a mask are labelled here, once."""

    def update(self, anomaly_map: Tensor, mask: Tensor, has_mask: Tensor) -> None:
        """Add a batch: ``anomaly_map`` and ``mask`` (B, H, W); images without ``has_mask`` (B,) are left out."""
        if not self.measures or not has_mask.any():
            return
        anomaly_map, mask = anomaly_map[has_mask].detach().float(), mask[has_mask]
        weight = torch.cat([region_weights(one) for one in mask])
        self._keep(anomaly_map[mask], weight, anomaly_map[~mask])


class CategoryMetrics(nn.Module):
    """The metrics of every category of a dataset.

    Args:
        categories: All categories of the dataset, the same on every process.
        image: Metrics over image scores, by name; see ``conf/metrics``.
        pixel: Metrics over pixels, by name. With none, nothing is kept of the anomaly maps.
    """

    def __init__(
        self, categories: Sequence[str], image: Mapping[str, RankingMetric], pixel: Mapping[str, RankingMetric]
    ):
        super().__init__()
        self.categories = tuple(dict.fromkeys(categories))
        # Lists, since a category may have a name that a ModuleDict refuses ("a.b", "values").
        self.image = nn.ModuleList(ImageMetrics(image) for _ in self.categories)
        self.pixel = nn.ModuleList(PixelMetrics(pixel) for _ in self.categories)

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Add what was predicted for a batch.

        Raises ValueError for NaN or infinite predictions, naming the image, and for unknown categories.
        """
        _check_finite(prediction, batch)
        for category in dict.fromkeys(batch.category):
            rows = torch.tensor([name == category for name in batch.category], device=prediction.score.device)
            image, pixel = self._of(category)
            image.update(prediction.score[rows], batch.is_anomalous[rows])
            pixel.update(prediction.map[rows], batch.mask[rows], batch.has_mask[rows])

    def compute(self) -> Results:
        """Return the values of all metrics, the same on every process."""
        results = Results(values={}, reasons={}, images={})
        with warnings.catch_warnings():
            # This process may have seen no image of a category that others have seen.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            for category in self.categories:
                image, pixel = (metrics.compute() for metrics in self._of(category))
                results.values[category] = image.values | pixel.values
                results.reasons[category] = _why_undefined(image, "image") | _why_undefined(pixel, "pixel")
                results.images[category] = (image.normal, image.anomalous)
        return results

    def reset(self) -> None:
        """Forget everything that was added."""
        for category in self.categories:
            for metrics in self._of(category):
                metrics.reset()

    def _of(self, category: str) -> tuple[Any, Any]:
        if category not in self.categories:
            raise ValueError(f"got an image of category {category!r}, expected one of: {', '.join(self.categories)}")
        index = self.categories.index(category)
        return self.image[index], self.pixel[index]


def _why_undefined(measured: Measured, item: str) -> dict[str, str]:
    if measured.normal == measured.anomalous == 0:
        reason = f"no {item} with ground truth"
    elif 0 in (measured.normal, measured.anomalous):
        reason = f"no {'defective' if measured.normal else 'normal'} {item}"
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


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    """Return the state as one tensor; it is a list before the processes were joined, and a tensor after."""
    return torch.cat([torch.empty(0), *state]) if isinstance(state, list) else state


def _gather(state: Tensor, group: Any = None) -> list[Tensor]:
    """Gather a state from all processes.

    Unlike torchmetrics' own way it takes CPU tensors with any backend, and empty states of another type than the rest.
    """
    gathered: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(gathered, state.cpu(), group=group)
    return gathered
