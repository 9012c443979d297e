"""Folders of the feature cache: their entries, their size, and clearing them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENTRY_INFO = "about.json"
GB = 1e9
# A file that is partial for so long belongs to a process that was killed.
_ABANDONED_S = 3600.0


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes."""
    return sum(size for _, size, _ in _files(folder))


def cache_entries(folder: Path) -> dict[Path, dict[str, Any]]:
    """Return the entries of a cache with their info: one of each method, backbone, precision."""
    entries = {}
    for file in sorted(folder.glob(f"*/{ENTRY_INFO}")):
        entries[file.parent] = json.loads(file.read_text())
    return entries


def clear_cache(folder: Path) -> int:
    """Remove all entries of a cache, nothing else, and return their size in bytes."""
    freed = 0
    for entry in cache_entries(folder):
        freed += folder_bytes(entry)
        shutil.rmtree(entry)
    return freed


def remove_abandoned(folder: Path) -> None:
    """Remove partial files of killed processes."""
    for path, _, changed in _files(folder):
        if path.name.endswith(".partial") and time.time() - changed > _ABANDONED_S:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Yield path, size and time of change of all files; vanished ones are left out."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield path, status.st_size, status.st_mtime
