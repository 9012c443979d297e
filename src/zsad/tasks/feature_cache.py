"""What a frozen backbone saw, kept on disk: it looks at every image once, not once an epoch."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
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
from zsad.types import Batch, CachedFeatures

log = logging.getLogger("zsad")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ABOUT = "about.json"
GB = 1e9
_FEATURE = "features."
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_ABANDONED_S = (
    3600.0  # a file that has been partial for so long belongs to a process that was killed
)


class FeatureCache:
    """A folder with a file for every image (and view of it): features, mask and label, ready for the loss.

    Files are written whole or not at all, mapped into memory when read, and named after all that they depend on, so
    that any number of processes and runs can share the folder, and none ever meets features of other weights,
    settings or pixels.

    Args:
        folder: Where everything is kept, for all datasets and backbones.
        dtype: ``float32``, with which training takes the course it takes without cache, or ``bfloat16``, which takes
            half the space.
        limit_gb: The folder grows up to about so many 10⁹ bytes; what finds no room is looked at in every epoch.

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
        self._shelf: Path | None = None
        self._room = 0.0  # bytes that this process may still write

    def open(self, method: nn.Module, precision: str = "32-true", processes: int = 1) -> None:
        """Find the features of a method and its backbone, and how much room there is for more.

        Args:
            method: With ``extract_features``, ``loss_from_features`` and ``feature_key``.
            precision: Of the trainer; half precision sees other features.
            processes: How many share what room there is.

        Raises:
            ValueError: If the method does not tell what it sees, or looks at more than whole images.
            OSError: If the folder cannot be made.
        """
        if not isinstance(method, FeatureCacheable):
            raise ValueError(
                f"{type(method).__name__} cannot learn from cached features: leave feature_cache out"
            )
        backbone: Any = method.backbone
        about = {
            "features": method.feature_key(),
            "weights": fingerprint(backbone),
            "layers": blake2b(repr(backbone).encode(), digest_size=8).hexdigest(),
            "precision": precision,
            "dtype": self.dtype,
        }
        text = json.dumps(about, sort_keys=True, indent=1)
        self._shelf = self.folder / blake2b(text.encode(), digest_size=8).hexdigest()
        write_whole(self._shelf / ABOUT, text)
        remove_abandoned(self.folder)
        self._room = max(self.limit_gb * GB - folder_bytes(self.folder), 0.0) / processes

    def __str__(self) -> str:
        """Say where the cache is, and how full."""
        return f"{os.path.relpath(self.folder)}, {folder_bytes(self.folder) / GB:.2f} of {self.limit_gb:g} GB used"

    def lookup(self, key: str) -> Batch | None:
        """Return what is known of an image, as a batch of one without pixels, category and path; ``None``: nothing."""
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except FileNotFoundError:
            return None
        except SafetensorError as error:
            log.warning("feature cache: %s is damaged (%s): made anew", path, error)
            path.unlink(missing_ok=True)
            return None
        height, width = int(facts["height"]), int(facts["width"])
        bits = np.unpackbits(tensors["mask"].numpy(), count=height * width).astype(bool)
        features = {
            n.removeprefix(_FEATURE): t[None].float()
            for n, t in tensors.items()
            if n.startswith(_FEATURE)
        }
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

    def features_of(
        self, batch: Batch, extract_features: Callable[[Tensor], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Return a row of features for each image of a batch, cached or from ``extract_features``.

        What is seen is kept. Everything passes through ``dtype``, so that an image looks the same in every epoch.
        """
        seen = batch.cached
        if seen is not None and seen.known.all():
            return seen.features
        fresh = {
            name: rows.to(DTYPES[self.dtype]).float()
            for name, rows in extract_features(batch.image).items()
        }
        if seen is None:
            return fresh
        self._keep(batch, seen, fresh)
        return {
            name: _joined(rows, seen.features.get(name), seen.known) for name, rows in fresh.items()
        }

    def _keep(self, batch: Batch, seen: CachedFeatures, fresh: Mapping[str, Tensor]) -> None:
        if self._room < 0:
            return
        for row, place in enumerate((~seen.known).nonzero().flatten().tolist()):
            content = self._entry(batch, place, {name: rows[row] for name, rows in fresh.items()})
            if len(content) > self._room:
                self._stop("feature_cache.limit_gb is reached")
                return
            try:
                write_whole(self._path(seen.keys[place]), content)
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                self._stop(f"no space is left in {self.folder}")
                return
            self._room -= len(content)

    def _stop(self, reason: str) -> None:
        log.warning(
            "feature cache: %s. What is not in it is looked at in every epoch. To make room: zsad cache --clear, "
            "feature_cache.dtype=bfloat16, or feature_cache.folder=/another/disk",
            reason,
        )
        self._room = -1.0

    def _entry(self, batch: Batch, place: int, features: Mapping[str, Tensor]) -> bytes:
        mask = batch.mask[place].cpu()
        tensors = {
            _FEATURE + name: tensor.to("cpu", DTYPES[self.dtype])
            for name, tensor in features.items()
        }
        tensors["mask"] = torch.from_numpy(np.packbits(mask.numpy()))
        tensors["has_mask"] = batch.has_mask[place : place + 1].cpu()
        tensors["is_anomalous"] = batch.is_anomalous[place : place + 1].cpu()
        facts = {
            "defect": batch.defect[place],
            "height": str(mask.shape[0]),
            "width": str(mask.shape[1]),
        }
        return save({name: tensor.contiguous() for name, tensor in tensors.items()}, facts)

    def _path(self, key: str) -> Path:
        if self._shelf is None:
            raise ValueError("the feature cache is not open yet: open(method) comes first")
        return self._shelf / key[:2] / f"{key}.safetensors"


def fill_cache(
    cache: FeatureCache,
    method: Any,
    loader: Any,
    progress: Callable[[int, int], None],
    device: torch.device | str = "cpu",
) -> int:
    """Look at all images of a loader that are not known yet, keep what is seen, and return how many they were."""
    looked_at = done = 0
    method.to(device)
    with torch.no_grad():
        for batch in loader:
            cache.features_of(batch.to(device), method.extract_features)
            looked_at, done = looked_at + len(batch.image), done + len(batch)
            progress(done, len(loader.dataset))
    return looked_at


def folder_bytes(folder: Path) -> int:
    """Return how many bytes the files below a folder have."""
    return sum(size for _, size, _ in _files(folder))


def cache_entries(folder: Path) -> dict[Path, dict[str, Any]]:
    """Return what a cache keeps: a folder for each method, backbone and precision, and what it says of itself."""
    return {file.parent: json.loads(file.read_text()) for file in sorted(folder.glob(f"*/{ABOUT}"))}


def clear_cache(folder: Path) -> int:
    """Remove all that a cache keeps, nothing else, and return how many bytes that were."""
    freed = 0
    for shelf in cache_entries(folder):
        freed += folder_bytes(shelf)
        shutil.rmtree(shelf)
    return freed


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes had begun to write."""
    for path, _, changed in _files(folder):
        if path.name.endswith(".partial") and time.time() - changed > _ABANDONED_S:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Yield path, size and time of change of all files; those that vanish meanwhile are left out."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield path, status.st_size, status.st_mtime


def _joined(fresh: Tensor, known: Tensor | None, is_known: Tensor) -> Tensor:
    """Put the rows of known and of other images into the order of the batch."""
    if known is None:
        return fresh
    rows = fresh.new_empty((len(is_known), *fresh.shape[1:]))
    rows[is_known], rows[~is_known] = known, fresh
    return rows
