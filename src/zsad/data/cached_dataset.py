"""Images that need not be decoded, because what a method saw of them is known."""

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

Lookup = Callable[
    [str], Batch | None
]  # by its key: a batch of one without pixels, or None where it is unknown
_ZSAD_VERSION = version("zsad")
_DIGEST_BYTES = 16


class CachedDataset(Dataset[Batch]):
    """A dataset that asks first whether an image is known, and opens no file of those that are.

    Args:
        dataset: The images.
        lookup: Gives what is known of an image by its key: features, mask and label. Called in loader processes.

    Raises:
        ValueError: If images change at random and no number of views is given: none would be met twice.
    """

    def __init__(self, dataset: ImageDataset, lookup: Lookup) -> None:
        if _is_random(dataset) and dataset.views is None:
            raise ValueError(
                "feature_cache keeps what was seen of images that come again, but augmentation shows others in every "
                "epoch: give every image a number of versions that are taken in turn, such as dataset.views=4; or "
                "learn with augmentation=none, or with feature_cache=none"
            )
        self.dataset = dataset
        self._lookup = lookup
        self._files: dict[int, list[str]] = {}  # of each process, so that no file is read twice

    @property
    def epoch(self) -> Tensor:
        """The epoch, as the images know it."""
        return self.dataset.epoch

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Batch:
        """Return image ``index`` as a batch of one: its pixels, or what is known of it."""
        key, sample = self.key(index), self.dataset.samples[index]
        known = self._lookup(key)
        if known is None:
            return replace(
                self.dataset[index], cached=CachedFeatures((key,), torch.tensor([False]), {})
            )
        return replace(known, category=(sample.category,), path=(str(sample.image_path),))

    def key(self, index: int) -> str:
        """Return what tells the pixels, mask and label of an image in this epoch from all others'.

        A hash of its files, of how they are read, and of the chance that changes them.
        """
        dataset, sample = self.dataset, self.dataset.samples[index]
        facts = [
            (_ZSAD_VERSION, PIL.__version__),
            (dataset.image_size, dataset.decode_px, dataset.mask_threshold),
            (sample.is_anomalous, sample.defect),
            self._content(index, sample),
        ]
        if _is_random(dataset):
            facts.append((_described(dataset.augmentation), _described(dataset.synthetic_defects)))
            facts.append((dataset.seed, dataset.view, index))
        return blake2b(json.dumps(facts).encode(), digest_size=_DIGEST_BYTES).hexdigest()

    def _content(self, index: int, sample: Sample) -> list[str]:
        if index not in self._files:
            masks = (sample.mask_path, *sample.more_masks) if sample.is_anomalous else ()
            self._files[index] = [
                _digest(path) for path in (sample.image_path, *masks) if path is not None
            ]
        return self._files[index]


def collate_cached(items: Iterable[Batch]) -> Batch:
    """Join batches of which some are known: pixels of the others, features of these, everything else of all."""
    items = list(items)
    all_seen = [item.cached for item in items if item.cached is not None]
    features = [seen.features for seen in all_seen if seen.features]
    joined = {
        name: torch.cat([one[name] for one in features])
        for name in (features[0] if features else ())
    }
    keys = tuple(key for seen in all_seen for key in seen.keys)
    return replace(
        collate(items),
        cached=CachedFeatures(keys, torch.cat([seen.known for seen in all_seen]), joined),
    )


def _is_random(dataset: ImageDataset) -> bool:
    return dataset.augmentation is not None or dataset.synthetic_defects is not None


def _described(changes: Any) -> str:
    """Return the settings of what changes images; of an albumentations.Compose, which hides them, its own words."""
    words = changes.to_dict() if hasattr(changes, "to_dict") else getattr(changes, "__dict__", None)
    return f"{type(changes).__name__}: {changes if words is None else json.dumps(words, sort_keys=True, default=str)}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=_DIGEST_BYTES)).hexdigest()
