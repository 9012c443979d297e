"""A dataset over a feature cache: images with cached features are not decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import blake2b, file_digest
from importlib.metadata import version
from pathlib import Path
from typing import Any

import PIL
import torch
from torch import Tensor
from torch.utils.data import Dataset

from zsad.data.images import ImageDataset, collate
from zsad.types import Batch, CachedFeatures, Sample

# Key of an image → a batch of one without pixels, or None if the image is not cached.
Lookup = Callable[[str], Batch | None]
_ZSAD_VERSION = version("zsad")
_DIGEST_BYTES = 16


class CachedDataset(Dataset[Batch]):
    """A dataset that opens no file of an image in the cache.

    Args:
        dataset: The images.
        lookup: Returns features, mask and label of a cached image by its key. Called in loader
            processes.

    Raises:
        ValueError: If images change at random and ``views`` is not set: no image would come twice.
    """

    def __init__(self, dataset: ImageDataset, lookup: Lookup) -> None:
        if _is_random(dataset) and dataset.views is None:
            raise ValueError(
                "feature_cache needs images that come again, but augmentation shows others in "
                "every epoch: give every image a number of versions that are taken in turn, such "
                "as dataset.views=4; or train with augmentation=none, or with feature_cache=none"
            )
        self.dataset = dataset
        self._lookup = lookup
        self._digests: dict[int, list[str]] = {}  # in each process, so that no file is read twice

    @property
    def epoch(self) -> Tensor:
        """The epoch, shared with the images."""
        return self.dataset.epoch

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Batch:
        """Return image ``index`` as a batch of one: its pixels, or its cached features."""
        key = self.key(index)
        batch = self._lookup(key)
        if batch is None:
            cached = CachedFeatures((key,), torch.tensor([False]), {})
            return replace(self.dataset[index], cached=cached)
        sample = self.dataset.samples[index]
        return replace(batch, category=(sample.category,), path=(str(sample.image_path),))

    def key(self, index: int) -> str:
        """Return the key of the pixels, mask and label of an image in this epoch.

        It is a hash of the image's files, of how they are read, and of the random changes.
        """
        dataset = self.dataset
        sample = dataset.samples[index]
        facts = [
            (_ZSAD_VERSION, PIL.__version__),
            (dataset.image_size, dataset.decode_px, dataset.mask_threshold),
            (sample.is_anomalous, sample.defect),
            self._content_digests(index, sample),
        ]
        if sample.value_range is not None:
            facts.append(sample.value_range)
        if _is_random(dataset):
            augmentation = _describe_settings(dataset.augmentation)
            facts.append((augmentation, _describe_settings(dataset.synthetic_defects)))
            facts.append((dataset.seed, dataset.view, index))
        return blake2b(json.dumps(facts).encode(), digest_size=_DIGEST_BYTES).hexdigest()

    def _content_digests(self, index: int, sample: Sample) -> list[str]:
        if index not in self._digests:
            paths = [sample.image_path]
            if sample.is_anomalous and sample.mask_path is not None:
                paths.append(sample.mask_path)
            if sample.is_anomalous:
                paths += sample.more_masks
            self._digests[index] = [_digest(path) for path in paths]
        return self._digests[index]


def collate_cached(items: Iterable[Batch]) -> Batch:
    """Join batches, cached or not: pixels of images that are not cached, features of the others."""
    batches = list(items)
    keys: list[str] = []
    known: list[Tensor] = []
    features: dict[str, list[Tensor]] = {}
    for batch in batches:
        if batch.cached is None:
            continue
        keys += batch.cached.keys
        known.append(batch.cached.known)
        for name, tensor in batch.cached.features.items():
            features.setdefault(name, []).append(tensor)
    joined = {name: torch.cat(tensors) for name, tensors in features.items()}
    cached = CachedFeatures(tuple(keys), torch.cat(known), joined)
    return replace(collate(batches), cached=cached)


def _is_random(dataset: ImageDataset) -> bool:
    return dataset.augmentation is not None or dataset.synthetic_defects is not None


def _describe_settings(changes: Any) -> str:
    """Return the settings of an object that changes images, as text.

    An ``albumentations.Compose`` hides its attributes and describes itself with ``to_dict``.
    """
    name = type(changes).__name__
    settings = getattr(changes, "__dict__", None)
    if hasattr(changes, "to_dict"):
        settings = changes.to_dict()
    if settings is None:
        return f"{name}: {changes}"
    return f"{name}: {json.dumps(settings, sort_keys=True, default=str)}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=_DIGEST_BYTES)).hexdigest()
