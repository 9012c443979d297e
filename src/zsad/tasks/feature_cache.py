"""Feature cache: features of a frozen backbone on disk, so that it runs on every image once."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from zsad.atomic_write import write_whole
from zsad.backbones.weight_files import fingerprint
from zsad.contract import FeatureCacheable
from zsad.tasks.cache_folder import ENTRY_INFO, GB, folder_bytes, remove_abandoned
from zsad.types import Batch, CachedFeatures

log = logging.getLogger("zsad")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_FEATURE = "features."
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

Extract = Callable[[Tensor], dict[str, Tensor]]


class FeatureCache:
    """A folder with a file for every image (and view of it): features, mask and label for the loss.

    Files are written whole or not at all, mapped into memory when read, and named after all that
    they depend on. So any number of processes and runs can share the folder, and none ever gets
    features of other weights, settings or pixels.

    Args:
        folder: Folder of the cache, for all datasets and backbones.
        dtype: ``float32``, with which training takes the course it takes without cache, or
            ``bfloat16``, which takes half the space.
        limit_gb: The folder grows up to about so many 10⁹ bytes; images without room are encoded in
            every epoch.

    Raises:
        ValueError: If ``dtype`` is neither, or the limit is not above 0.
    """

    def __init__(
        self, folder: str | Path, dtype: str = "float32", limit_gb: int | float = 50.0
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"feature_cache.dtype={dtype!r}: expected one of {', '.join(DTYPES)}")
        if not isinstance(limit_gb, (int, float)) or limit_gb <= 0:
            raise ValueError(f"feature_cache.limit_gb={limit_gb}: expected a size in GB above 0")
        self.folder = Path(folder).expanduser()
        self.dtype = dtype
        self.limit_gb = limit_gb
        self._entry: Path | None = None
        self._room = 0.0  # bytes that this process may still write

    def open(self, method: nn.Module, precision: str = "32-true", processes: int = 1) -> None:
        """Open the entry of a method and its backbone, and measure the room for more features.

        Args:
            method: A ``FeatureCacheable`` method.
            precision: Precision of the trainer; half precision gives other features.
            processes: The number of processes that share the room.

        Raises:
            ValueError: If features of the method cannot be cached, such as those of tiles.
            OSError: If the folder cannot be made.
        """
        if not isinstance(method, FeatureCacheable):
            raise ValueError(
                f"{type(method).__name__} cannot learn from cached features: "
                "leave feature_cache out"
            )
        backbone: Any = method.backbone
        info = {
            "features": method.feature_key(),
            "weights": fingerprint(backbone),
            "layers": blake2b(repr(backbone).encode(), digest_size=8).hexdigest(),
            "precision": precision,
            "dtype": self.dtype,
        }
        text = json.dumps(info, sort_keys=True, indent=1)
        self._entry = self.folder / blake2b(text.encode(), digest_size=8).hexdigest()
        write_whole(self._entry / ENTRY_INFO, text)
        remove_abandoned(self.folder)
        room = self.limit_gb * GB - folder_bytes(self.folder)
        self._room = max(room, 0.0) / processes

    def __str__(self) -> str:
        """Return folder and size."""
        used = folder_bytes(self.folder) / GB
        return f"{os.path.relpath(self.folder)}, {used:.2f} of {self.limit_gb:g} GB used"

    def lookup(self, key: str) -> Batch | None:
        """Return a cached image as a batch of one, without pixels, category and path.

        ``None`` if it is not cached.
        """
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata()
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
        except FileNotFoundError:
            return None
        except SafetensorError as error:
            log.warning("feature cache: %s is damaged (%s): made anew", path, error)
            path.unlink(missing_ok=True)
            return None
        height, width = int(facts["height"]), int(facts["width"])
        bits = np.unpackbits(tensors["mask"].numpy(), count=height * width).astype(bool)
        features = {}
        for name, tensor in tensors.items():
            if name.startswith(_FEATURE):
                features[name.removeprefix(_FEATURE)] = tensor[None].float()
        return Batch(
            image=torch.empty(0, 3, height, width),
            mask=torch.from_numpy(bits).view(1, height, width),
            has_mask=tensors["has_mask"],
            is_anomalous=tensors["is_anomalous"],
            category=("",),
            defect=(facts["defect"],),
            path=("",),
            cached=CachedFeatures((key,), torch.tensor([True]), features),
        )

    def features_of(self, batch: Batch, extract_features: Extract) -> dict[str, Tensor]:
        """Return a row of features for each image of a batch, cached or from ``extract_features``.

        New features are written. All pass through ``dtype``, so that an image has the same features
        in every epoch.
        """
        cached = batch.cached
        if cached is not None and cached.known.all():
            return cached.features
        fresh = {}
        for name, rows in extract_features(batch.image).items():
            fresh[name] = rows.to(DTYPES[self.dtype]).float()
        if cached is None:
            return fresh
        self._write(batch, cached, fresh)
        joined = {}
        for name, rows in fresh.items():
            joined[name] = _join_rows(rows, cached.features.get(name), cached.known)
        return joined

    def _write(self, batch: Batch, cached: CachedFeatures, fresh: Mapping[str, Tensor]) -> None:
        """Write the fresh features, as long as there is room."""
        if self._room < 0:
            return
        unknown = (~cached.known).nonzero().flatten().tolist()
        for row, place in enumerate(unknown):
            features = {name: rows[row] for name, rows in fresh.items()}
            content = self._serialize(batch, place, features)
            if len(content) > self._room:
                self._stop("feature_cache.limit_gb is reached")
                return
            try:
                write_whole(self._path(cached.keys[place]), content)
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                self._stop(f"no space is left in {self.folder}")
                return
            self._room -= len(content)

    def _stop(self, reason: str) -> None:
        log.warning(
            "feature cache: %s. Images that are not in it are encoded in every epoch. "
            "To make room: zsad cache --clear, feature_cache.dtype=bfloat16, "
            "or feature_cache.folder=/another/disk",
            reason,
        )
        self._room = -1.0

    def _serialize(self, batch: Batch, place: int, features: Mapping[str, Tensor]) -> bytes:
        """Return the file of an image: its features, its packed mask, its label."""
        tensors = {}
        for name, tensor in features.items():
            tensors[_FEATURE + name] = tensor.to("cpu", DTYPES[self.dtype]).contiguous()
        mask = batch.mask[place].cpu()
        here = slice(place, place + 1)
        tensors["mask"] = torch.from_numpy(np.packbits(mask.numpy()))
        tensors["has_mask"] = batch.has_mask[here].cpu().contiguous()
        tensors["is_anomalous"] = batch.is_anomalous[here].cpu().contiguous()
        height, width = mask.shape
        facts = {"defect": batch.defect[place], "height": str(height), "width": str(width)}
        return save(tensors, facts)

    def _path(self, key: str) -> Path:
        if self._entry is None:
            raise ValueError("the feature cache is not open yet: call open(method) first")
        return self._entry / key[:2] / f"{key}.safetensors"


def fill_cache(
    cache: FeatureCache,
    method: Any,
    loader: Any,
    progress: Callable[[int, int], None],
    device: torch.device | str = "cpu",
) -> int:
    """Cache the features of all images of a loader.

    Returns the number of images that were not cached before.
    """
    num_encoded = 0
    num_done = 0
    method.to(device)
    with torch.no_grad():
        for batch in loader:
            cache.features_of(batch.to(device), method.extract_features)
            num_encoded += len(batch.image)
            num_done += len(batch)
            progress(num_done, len(loader.dataset))
    return num_encoded


def _join_rows(fresh: Tensor, known: Tensor | None, is_known: Tensor) -> Tensor:
    """Put the rows of cached and of other images into the order of the batch."""
    if known is None:
        return fresh
    rows = fresh.new_empty((len(is_known), *fresh.shape[1:]))
    rows[is_known] = known
    rows[~is_known] = fresh
    return rows
