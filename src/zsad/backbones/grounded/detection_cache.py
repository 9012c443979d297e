"""Disk cache of small tensors: answers of detectors and segmenters, for later runs.

With it, other thresholds cost seconds instead of another pass. One file of tensors for each key,
written whole. A file that is cut short or altered counts as missing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from zsad.atomic_write import write_whole

_CHECKSUM = "checksum"
# Share that is left when the oldest go, so that not every further file makes room for itself alone.
_KEPT_SHARE = 0.9


class DetectionCache:
    """Small tensors by key, in a folder that several processes and later runs share.

    Args:
        folder: Made where it is missing.
        max_gb: When the files take more gigabytes, the oldest are deleted.
    """

    def __init__(self, folder: Path, max_gb: float) -> None:
        self.folder = folder
        self.max_bytes = int(max_gb * 1e9)
        self._bytes: int | None = None

    def get(self, *key: str) -> dict[str, Tensor] | None:
        """Return the tensors under a key, or ``None`` where there is no intact file."""
        try:
            tensors = load(self._path(key).read_bytes())
        except (FileNotFoundError, SafetensorError):
            return None
        checksum = tensors.pop(_CHECKSUM, None)
        if checksum is None or not torch.equal(checksum, _checksum(tensors)):
            return None
        return tensors

    def put(self, *key: str, tensors: Mapping[str, Tensor]) -> None:
        """Store tensors under a key, in place of earlier tensors."""
        entry = {}
        for name, tensor in tensors.items():
            entry[name] = tensor.detach().cpu().contiguous()
        entry[_CHECKSUM] = _checksum(entry)
        path = self._path(key)
        content = save(entry)
        self._make_room(len(content) - _size(path))
        write_whole(path, content)

    def _path(self, key: tuple[str, ...]) -> Path:
        text = "\0".join(key)
        name = hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}.safetensors"

    def _make_room(self, needed: int) -> None:
        if self._bytes is None:
            self._bytes = self._count(self._files())
        self._bytes += needed
        if self._bytes <= self.max_bytes:
            return
        # Other processes write and delete here, too: count anew.
        files = sorted(self._files())
        self._bytes = self._count(files) + max(needed, 0)
        for _, size, path in files:
            if self._bytes <= _KEPT_SHARE * self.max_bytes:
                return
            path.unlink(missing_ok=True)
            self._bytes -= size

    @staticmethod
    def _count(files: Iterable[tuple[float, int, Path]]) -> int:
        return sum(size for _, size, _ in files)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield time, bytes and path of each file."""
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):  # another process made room just now
                state = path.stat()
                yield state.st_mtime, state.st_size, path


def _checksum(tensors: Mapping[str, Tensor]) -> Tensor:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        shape = tuple(tensor.shape)
        digest.update(f"{name} {tensor.dtype} {shape}".encode())
        content = tensor.reshape(-1).view(torch.uint8)
        digest.update(content.numpy().tobytes())
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
