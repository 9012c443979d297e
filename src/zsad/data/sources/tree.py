"""The image files of a download, listed once, and templates of their paths."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from zsad.data.image_files import IMAGE_SUFFIXES, natural_key


@dataclass(frozen=True)
class Tree:
    """The image files below a root, listed once.

    Attributes:
        root: The folder that the user named.
        base: ``""``, or the nested top folder that archives bring along, with a slash at its end.
        files: Images below the base, relative to the base, in natural order.
        linked_folders: Links to folders. They are not followed, since they may leave the root or
            run in circles.
    """

    root: Path
    base: str
    files: tuple[str, ...]
    linked_folders: tuple[str, ...] = ()

    @classmethod
    def scan(cls, root: Path, base: str = "") -> Tree:
        """List the images below ``root / base``, without hidden files and remains of macOS."""
        files: list[str] = []
        links: list[str] = []
        folders = [""]
        while folders:
            prefix = folders.pop()
            with os.scandir(root / base / prefix) as entries:
                for entry in entries:
                    name = entry.name
                    if is_hidden(name):
                        continue
                    if entry.is_dir():
                        target = links if entry.is_symlink() else folders
                        target.append(f"{prefix}{name}/")
                    elif split_suffix(name)[1].lower() in IMAGE_SUFFIXES:
                        files.append(prefix + name)
        files.sort(key=natural_key)
        links.sort()
        return cls(root, base, tuple(files), tuple(links))

    def path(self, relative: str) -> Path:
        """Return the absolute path of a file named relative to the base."""
        return self.root / self.base / relative


def is_hidden(name: str) -> bool:
    """Return whether a name is that of a dot-file, or of the remains of a macOS archive."""
    return name.startswith((".", "__MACOSX"))


def split_suffix(path: str) -> tuple[str, str]:
    """Cut a path before its last dot; far faster than pathlib for long lists.

    >>> split_suffix("crack/000_mask.png")
    ('crack/000_mask', '.png')
    """
    stem, dot, suffix = path.rpartition(".")
    return (stem, dot + suffix) if dot else (path, "")


def template_pattern(template: str) -> re.Pattern[str]:
    """Compile a path template.

    ``<name>`` is a path component or a part of it, ``<name:regex>`` is constrained. A final ``.*``
    stands for the extension of any image; a spelled-out extension is matched in any case.

    >>> template_pattern("<category>/test/<defect>/<stem>.*").fullmatch("tile/test/crack/0.PNG")[2]
    'crack'
    """
    stem, suffix = split_suffix(template)
    # Literal text, then for each field its name, its constraint and the literal text after it.
    first, *rest = re.split(r"<(\w+)(?::([^<>]+))?>", stem)
    pattern = re.escape(first)
    for i in range(0, len(rest), 3):
        name, constraint, literal = rest[i : i + 3]
        constraint = constraint or "[^/]+"
        pattern += f"(?P<{name}>{constraint})"
        pattern += re.escape(literal)
    suffixes = sorted(IMAGE_SUFFIXES) if suffix == ".*" else [suffix]
    any_suffix = "|".join(map(re.escape, suffixes))
    return re.compile(f"{pattern}(?i:{any_suffix})")


def template_fields(template: str) -> list[str]:
    """Return the names in a path template, but for the end of mask names, which is filled in.

    >>> template_fields("<category>/masks/<stem:x+><mask_suffix>.*")
    ['category', 'stem']
    """
    return [name for name in re.findall(r"<(\w+)", template) if name != "mask_suffix"]
