"""The image files of a download, listed once; how their paths are cut, sorted and matched."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from zsad.data.image_files import IMAGE_SUFFIXES, natural_key


@dataclass(frozen=True)
class Tree:
    """The image files below a root, listed once.

    Attributes:
        root: The folder that the user named.
        base: ``""``, or the one nested top folder that archives bring along, with a slash at its end.
        files: Images below the base, relative to the base, in natural order.
        linked_folders: Links to folders. They are not followed, since they may leave the root or run in circles.
    """

    root: Path
    base: str
    files: tuple[str, ...]
    linked_folders: tuple[str, ...] = ()

    @classmethod
    def scan(cls, root: Path, base: str = "") -> Tree:
        """List the images below ``root / base``; dot-files and the remains of macOS archives are no samples."""
        files: list[str] = []
        links: list[str] = []
        folders = [""]
        while folders:
            prefix = folders.pop()
            with os.scandir(root / base / prefix) as entries:
                for entry in entries:
                    if _is_hidden(entry.name):
                        continue
                    path = prefix + entry.name
                    if entry.is_dir():
                        (links if entry.is_symlink() else folders).append(path + "/")
                    elif split_suffix(entry.name)[1].lower() in IMAGE_SUFFIXES:
                        files.append(path)
        return cls(root, base, tuple(sorted(files, key=natural_key)), tuple(sorted(links)))

    def path(self, relative: str) -> Path:
        """Return where a file named relative to the base lies."""
        return self.root / self.base / relative


def split_suffix(path: str) -> tuple[str, str]:
    """Cut a path before its last dot; far faster than pathlib for long lists.

    >>> split_suffix("crack/000_mask.png")
    ('crack/000_mask', '.png')
    """
    stem, dot, suffix = path.rpartition(".")
    return (stem, dot + suffix) if dot else (path, "")


def template_pattern(template: str) -> re.Pattern[str]:
    """Compile a path template: ``<name>`` is one path component or a part of it, ``<name:regex>`` is constrained.

    A final ``.*`` stands for the extension of any image; a spelled-out extension is matched in any case.

    >>> template_pattern("<category>/test/<defect>/<stem>.*").fullmatch("tile/test/crack/000.PNG")["stem"]
    '000'
    """
    stem, suffix = split_suffix(template)
    pieces = re.split(r"<(\w+)(?::([^<>]+))?>", stem)
    pattern = re.escape(pieces[0])
    for name, constraint, literal in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        pattern += f"(?P<{name}>{constraint or '[^/]+'})" + re.escape(literal)
    suffixes = IMAGE_SUFFIXES if suffix == ".*" else {suffix}
    return re.compile(pattern + "(?i:" + "|".join(re.escape(s) for s in sorted(suffixes)) + ")")


def template_fields(template: str) -> list[str]:
    """Return the names in a path template, but for the end of mask names, which is filled in.

    >>> template_fields("<category>/masks/<stem:x+><mask_suffix>.*")
    ['category', 'stem']
    """
    return [name for name in re.findall(r"<(\w+)", template) if name != "mask_suffix"]


class Listing:
    """What the folders below a root hold, each listed when it is first asked for, and only once.

    Folders are named relative to the root, with a slash at the end; ``""`` is the root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._listed: dict[str, tuple[list[str], set[str]]] = {}

    def name(self, folder: str) -> str:
        """Return the last name of a folder."""
        return folder[:-1].rpartition("/")[2] or self.root.name

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder, sorted; neither links nor hidden ones."""
        return self._list(folder)[0]

    def has(self, folder: str, pattern: str) -> bool:
        """Tell whether a file or folder matches a pattern such as ``*/test/good`` below a folder."""
        *parents, last = pattern.split("/")
        places = [folder]
        for part in parents:
            places = [
                f"{place}{name}/"
                for place in places
                for name in _matching(self.folders(place), part)
            ]
        return any(_matching(self._list(place)[1], last) for place in places)

    def _list(self, folder: str) -> tuple[list[str], set[str]]:
        if folder not in self._listed:
            with os.scandir(self.root / folder) as listing:
                entries = [entry for entry in listing if not _is_hidden(entry.name)]
            folders = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            self._listed[folder] = folders, {entry.name for entry in entries}
        return self._listed[folder]


def _matching(names: Collection[str], pattern: str) -> list[str]:
    if "*" not in pattern:
        return [pattern] if pattern in names else []
    return [name for name in names if fnmatchcase(name, pattern)]


def _is_hidden(name: str) -> bool:
    """Tell dot-files and the remains of macOS archives."""
    return name.startswith((".", "__MACOSX"))
