"""Names of files and folders below a root, listed on demand."""

from __future__ import annotations

import os
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path

from zsad.data.sources.tree import is_hidden

_Names = tuple[list[str], set[str]]  # of the folders; of everything


class Listing:
    """Lists folders below a root, each when it is first asked for, and only once.

    Folders are named relative to the root, with a slash at the end; ``""`` is the root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._listed: dict[str, _Names] = {}

    def name(self, folder: str) -> str:
        """Return the last name of a folder."""
        _, _, name = folder.rstrip("/").rpartition("/")
        return name or self.root.name

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder, sorted; neither links nor hidden ones."""
        return self._list(folder)[0]

    def has(self, folder: str, pattern: str) -> bool:
        """Return whether a path below a folder matches a pattern such as ``*/test/good``."""
        *parents, last = pattern.split("/")
        candidates = [folder]
        for part in parents:
            matching: list[str] = []
            for candidate in candidates:
                names = _matching(self.folders(candidate), part)
                matching += [f"{candidate}{name}/" for name in names]
            candidates = matching
        for candidate in candidates:
            _, names = self._list(candidate)
            if _matching(names, last):
                return True
        return False

    def _list(self, folder: str) -> _Names:
        """Return the names of the folders, and of everything that is not hidden."""
        if folder not in self._listed:
            folders: list[str] = []
            names: set[str] = set()
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    names.add(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
            self._listed[folder] = sorted(folders), names
        return self._listed[folder]


def _matching(names: Collection[str], pattern: str) -> list[str]:
    if "*" not in pattern:
        return [pattern] if pattern in names else []
    return [name for name in names if fnmatchcase(name, pattern)]
