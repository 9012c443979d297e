"""Data classes that all packages share.

Legend: B images in a batch, H × W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a dataset, as its index describes it.

    Attributes:
        image_path: The image file.
        mask_path: Its ground truth, or ``None`` where there is none (normal images, datasets
            without masks).
        category: Object or texture class, as in the index (``metal_nut``).
        defect: Kind of defect, ``good`` for normal images, empty where unknown.
        is_anomalous: The image label. It comes from the index, never from the mask.
        more_masks: Further ground-truth files of the same image, to be united with the first
            (MVTec LOCO).
        value_range: Values shown as black and as white in an image of more than 8 bits; ``None``
            for all 16 bits.
    """

    image_path: Path
    mask_path: Path | None
    category: str
    defect: str
    is_anomalous: bool
    more_masks: tuple[Path, ...] = ()
    value_range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of whole pixels (or patches): the place of a tile, and of its map."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Its part of the second-to-last axis of an image."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Its part of the last axis."""
        return slice(self.left, self.left + self.width)


# Batches and predictions are not frozen: Lightning replaces their tensors when it changes device or
# precision.
@dataclass(slots=True)
class CachedFeatures:
    """Features from a cache for images of a batch, which the frozen network need not encode again.

    Attributes:
        keys: One per image: identifies its pixels, as the method gets them.
        known: (B,) bool, the images that are cached. They have no row in the batch's ``image``.
        features: Features of a method, as named tensors with a row for each cached image; empty
            where none is cached.
    """

    keys: tuple[str, ...]
    known: Tensor
    features: dict[str, Tensor]

    def first(self, count: int) -> CachedFeatures:
        """Return the part of the first images."""
        known = self.known[:count]
        rows = int(known.sum())
        features = {name: tensor[:rows] for name, tensor in self.features.items()}
        return CachedFeatures(self.keys[:count], known, features)

    def _map(self, function: Callable[[Tensor], Tensor]) -> CachedFeatures:
        features = {name: function(tensor) for name, tensor in self.features.items()}
        return CachedFeatures(self.keys, function(self.known), features)


@dataclass(slots=True)
class Batch:
    """Images and their labels, from a loader to a task.

    Attributes:
        image: (B, 3, H, W) float32, RGB in [0, 1], *not* normalised: each backbone normalises for
            itself.
        mask: (B, H, W) bool, ``True`` on defective pixels.
        has_mask: (B,) bool. ``False`` for an anomalous image whose ground truth is unknown: its
            pixels count nowhere.
        is_anomalous: (B,) bool, the image labels.
        category, defect, path: one string per image.
        cached: Features from a cache, where one is in use; ``image`` then has rows for the other
            images alone.
    """

    image: Tensor
    mask: Tensor
    has_mask: Tensor
    is_anomalous: Tensor
    category: tuple[str, ...]
    defect: tuple[str, ...]
    path: tuple[str, ...]
    cached: CachedFeatures | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return a copy whose tensors live on ``device``. Lightning and PyTorch look for this."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return a copy in page-locked memory. The DataLoader looks for this name."""
        return self._map(lambda tensor: tensor.pin_memory())

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.is_anomalous)

    def first(self, count: int) -> Batch:
        """Return the first images as a batch."""
        cached = self.cached
        rows = count
        if cached is not None:
            cached = cached.first(count)
            rows = int((~cached.known).sum())
        return Batch(
            image=self.image[:rows],
            mask=self.mask[:count],
            has_mask=self.has_mask[:count],
            is_anomalous=self.is_anomalous[:count],
            category=self.category[:count],
            defect=self.defect[:count],
            path=self.path[:count],
            cached=cached,
        )

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            image=function(self.image),
            mask=function(self.mask),
            has_mask=function(self.has_mask),
            is_anomalous=function(self.is_anomalous),
            cached=None if self.cached is None else self.cached._map(function),
        )


@dataclass(frozen=True, slots=True)
class RunLengths:
    """A mask as the lengths of its runs, column by column: COCO's uncompressed RLE.

    Runs begin with ``False``. Hundreds of masks of a large image fit into memory so.

    Attributes:
        size: Height and width of the mask.
        counts: (r,) int64, the lengths.
    """

    size: tuple[int, int]
    counts: Tensor


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes of a detector in one image, from which a method made its map.

    Attributes:
        boxes: (n, 4) float32, x0, y0, x1, y1 in pixels of the method's input; not clamped to it.
        scores: (n,) float32, the weight of each in the map.
        phrases: The detector's words for each.
        masks: The outline of each; empty where a method has none.
    """

    boxes: Tensor
    scores: Tensor
    phrases: tuple[str, ...]
    masks: tuple[RunLengths, ...] = ()

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.scores)


@dataclass(slots=True)
class Prediction:
    """Maps and scores of a batch.

    Attributes:
        map: (B, H, W) float32, higher is more anomalous. In [0, 1] for every method of this
            package, so that heat maps of different images share one scale.
        score: (B,) float32, the image score as a logit margin (anomalous minus normal), which never
            saturates.
        detections: For each image the boxes that made the map, on the CPU; empty for methods
            without a detector.
    """

    map: Tensor
    score: Tensor
    detections: tuple[Detections, ...] = ()

    @property
    def probability(self) -> Tensor:
        """(B,) in [0, 1]: the softmax of the two logits that ``score`` is the margin of."""
        return self.score.double().sigmoid()


@dataclass(frozen=True, slots=True)
class Results:
    """Metrics of a method on a dataset, category by category.

    Attributes:
        values: For each category the value of each metric, in [0, 1]; NaN where it is undefined.
        reasons: For each category the metrics that are undefined, and the reason.
        images: For each category the numbers of normal and of anomalous images.
        intervals: 95 % confidence intervals, for each category and for some of the metrics.
        mean_intervals: The same for the means.
        interval_reasons: For each category the metrics that are defined without an interval, and
            why.
    """

    values: dict[str, dict[str, float]]
    reasons: dict[str, dict[str, str]]
    images: dict[str, tuple[int, int]]
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    mean_intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    interval_reasons: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, in the order of the table."""
        names: dict[str, None] = {}
        for row in self.values.values():
            names.update(dict.fromkeys(row))
        return tuple(names)

    @property
    def mean(self) -> dict[str, float]:
        """The unweighted mean of each metric over its defined categories; NaN where none is."""
        return {name: self._mean(name) for name in self.metrics}

    def _mean(self, metric: str) -> float:
        defined = [row[metric] for row in self.values.values() if not math.isnan(row[metric])]
        return sum(defined) / len(defined) if defined else math.nan
