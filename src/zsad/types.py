"""The nouns that every floor shares.

Legend: B images in a batch, H × W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a dataset, as its index describes it.

    Attributes:
        image_path: The image file.
        mask_path: Its ground truth, or ``None`` where there is none (normal images, datasets without masks).
        category: Object or texture class, as in the index (``metal_nut``).
        defect: Kind of defect, ``good`` for normal images, empty where unknown.
        is_anomalous: The image label. It comes from the index, never from the mask.
        more_masks: Further ground-truth files of the same image, to be united with the first (MVTec LOCO).
    """

    image_path: Path
    mask_path: Path | None
    category: str
    defect: str
    is_anomalous: bool
    more_masks: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of whole pixels (or patches): where a tile is cut, and where its map is put back."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """What it takes of the second-to-last axis of an image."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """What it takes of the last axis."""
        return slice(self.left, self.left + self.width)


# Batches and predictions are not frozen: Lightning replaces their tensors when it changes device or precision.
@dataclass(slots=True)
class CachedFeatures:
    """What is known of the images of a batch from before, so that a frozen network need not look at them again.

    Attributes:
        keys: One per image: what tells its pixels, as the method gets them, from all others.
        known: (B,) bool, the images that are known. They have no row in the batch's ``image``.
        features: What a method saw, as named tensors with a row for each known image; empty where none is known.
    """

    keys: tuple[str, ...]
    known: Tensor
    features: dict[str, Tensor]

    def first(self, count: int) -> "CachedFeatures":
        """Return what is known of the first images."""
        known = self.known[:count]
        rows = int(known.sum())
        return CachedFeatures(
            self.keys[:count],
            known,
            {name: tensor[:rows] for name, tensor in self.features.items()},
        )

    def _map(self, function) -> "CachedFeatures":
        return CachedFeatures(
            self.keys,
            function(self.known),
            {name: function(tensor) for name, tensor in self.features.items()},
        )


@dataclass(slots=True)
class Batch:
    """What a loader hands to a task.

    Attributes:
        image: (B, 3, H, W) float32, RGB in [0, 1], *not* normalised: each backbone normalises for itself.
        mask: (B, H, W) bool, ``True`` on defective pixels.
        has_mask: (B,) bool. ``False`` for an anomalous image whose ground truth is unknown: its pixels count nowhere.
        is_anomalous: (B,) bool, the image labels.
        category, defect, path: one string per image.
        cached: Where a feature cache is in use, what it knows; ``image`` then has rows for the other images alone.
    """

    image: Tensor
    mask: Tensor
    has_mask: Tensor
    is_anomalous: Tensor
    category: tuple[str, ...]
    defect: tuple[str, ...]
    path: tuple[str, ...]
    cached: CachedFeatures | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """Return a copy whose tensors live on ``device``. Lightning and PyTorch look for this name."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """Return a copy in page-locked memory. The DataLoader looks for this name."""
        return self._map(lambda tensor: tensor.pin_memory())

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.is_anomalous)

    def first(self, count: int) -> "Batch":
        """Return the first images as a batch."""
        cached = None if self.cached is None else self.cached.first(count)
        rows = {
            f.name: getattr(self, f.name)[:count]
            for f in fields(self)
            if f.name not in ("image", "cached")
        }
        looked_at = count if cached is None else int((~cached.known).sum())
        return Batch(image=self.image[:looked_at], cached=cached, **rows)

    def _map(self, function) -> "Batch":
        tensors = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        cached = None if self.cached is None else self.cached._map(function)
        return replace(
            self, cached=cached, **{name: function(tensor) for name, tensor in tensors.items()}
        )


@dataclass(frozen=True, slots=True)
class RunLengths:
    """A mask as the lengths of its runs, column by column and beginning with ``False``: COCO's uncompressed RLE.

    Hundreds of masks of a large image fit into memory so.

    Attributes:
        size: Height and width of the mask.
        counts: (r,) int64, the lengths.
    """

    size: tuple[int, int]
    counts: Tensor


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector found in one image, and a method made its map from.

    Attributes:
        boxes: (n, 4) float32, x0, y0, x1, y1 in pixels of the image that the method was given; not clamped to it.
        scores: (n,) float32, the weight of each in the map.
        phrases: What the detector calls each.
        masks: The outline of each; empty where a method has none.
    """

    boxes: Tensor
    scores: Tensor
    phrases: tuple[str, ...]
    masks: tuple[RunLengths, ...] = ()

    def __len__(self) -> int:
        """Return the number of things found."""
        return len(self.scores)


@dataclass(slots=True)
class Prediction:
    """What a method says about a batch.

    Attributes:
        map: (B, H, W) float32, higher is more anomalous. In [0, 1] for every method of this package, so that
            heat maps of different images share one scale.
        score: (B,) float32, the image score as a logit margin (anomalous minus normal), which never saturates.
        detections: For each image what the map was made from, on the CPU; empty for methods without a detector.
    """

    map: Tensor
    score: Tensor
    detections: tuple[Detections, ...] = ()

    @property
    def probability(self) -> Tensor:
        """(B,) in [0, 1]: the softmax of the two logits whose difference is ``score``. For display."""
        return self.score.double().sigmoid()


@dataclass(frozen=True, slots=True)
class Results:
    """How well a method does on a dataset, category by category.

    Attributes:
        values: For each category the value of each metric, in [0, 1]; NaN where it is undefined.
        reasons: For each category the metrics that are undefined, and why.
        images: For each category how many normal and how many anomalous images were seen.
        intervals: 95 % confidence intervals, for each category and for some of the metrics.
        mean_intervals: The same for the means.
    """

    values: dict[str, dict[str, float]]
    reasons: dict[str, dict[str, str]]
    images: dict[str, tuple[int, int]]
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    mean_intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, in the order of the table."""
        return tuple(dict.fromkeys(name for row in self.values.values() for name in row))

    @property
    def mean(self) -> dict[str, float]:
        """The unweighted mean of each metric over the categories where it is defined; NaN where there is none."""
        return {name: self._mean(name) for name in self.metrics}

    def _mean(self, metric: str) -> float:
        defined = [row[metric] for row in self.values.values() if not math.isnan(row[metric])]
        return sum(defined) / len(defined) if defined else math.nan
