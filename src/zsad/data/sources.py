"""How the samples of a raw download are found: by folder templates, or by the download's own tables."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a download, its paths relative to the root, POSIX."""

    phase: str
    category: str
    image: str
    masks: tuple[str, ...]
    defect: str
    is_anomalous: bool


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
                    if entry.name.startswith((".", "__MACOSX")):
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


@runtime_checkable
class Source(Protocol):
    """Anything that reads records from a tree."""

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a tree, paths relative to its root."""
        ...


def split_suffix(path: str) -> tuple[str, str]:
    """Cut a path before its last dot; far faster than pathlib for long lists.

    >>> split_suffix("crack/000_mask.png")
    ('crack/000_mask', '.png')
    """
    stem, dot, suffix = path.rpartition(".")
    return (stem, dot + suffix) if dot else (path, "")


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key under which ``2.png`` comes before ``10.png``.

    >>> sorted(["10.png", "2.png", "1.png"], key=natural_key)
    ['1.png', '2.png', '10.png']
    """
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], text


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


@dataclass(frozen=True)
class Folders:
    """Samples whose label, category and mask follow from where they lie.

    Attributes:
        image: Path template of the images; see ``template_pattern``. ``<phase>``, ``<category>`` and ``<defect>`` are
            read from it unless they are given here.
        mask: Path template of their masks, filled from the image's fields and ``<mask_suffix>``; ``None`` without.
        normal: Values of ``<defect>`` that mean "no defect"; such images get the defect ``good``.
        defects: If given, the only defect folders that count, with their names in the index.
        masks_of_normal: The download has (black) masks of normal images too.
    """

    image: str
    mask: str | None = None
    phase: str = "test"
    category: str = ""
    normal: tuple[str, ...] = ("good",)
    defects: Mapping[str, str] = field(default_factory=dict)
    mask_suffix: str = ""
    masks_of_normal: bool = False

    def named(self, normal: Iterable[str], mask_suffix: str | None) -> Folders:
        """Return a copy with other names for the normal folder and the end of mask names, where given."""
        normal = tuple(normal)
        return replace(
            self,
            normal=normal or self.normal,
            mask_suffix=self.mask_suffix if mask_suffix is None else mask_suffix,
        )

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a tree. Each mask is looked up by name within its defect's folder."""
        pattern = template_pattern(self.image)
        by_stem = _by_stem(tree.files)
        for file in tree.files:
            match = pattern.fullmatch(file)
            if match is not None and self._counts(match.groupdict()):
                yield self._record(tree, file, match.groupdict(), by_stem)

    def mask_files(self, tree: Tree) -> list[str]:
        """Return the files that lie where masks would, whatever the end of their names."""
        if self.mask is None:
            return []
        pattern = template_pattern(self.mask.replace("<mask_suffix>", ""))
        return [file for file in tree.files if pattern.fullmatch(file)]

    def _counts(self, fields: dict[str, str]) -> bool:
        known = {*self.defects, *self.normal}
        return not self.defects or fields.get("defect", "") in known

    def _record(self, tree: Tree, file: str, fields: dict[str, str], by_stem: dict[str, list[str]]) -> Record:
        folder = fields.get("defect", "")
        is_anomalous = folder not in self.normal
        masks = self._masks(fields, by_stem) if is_anomalous or self.masks_of_normal else []
        if len(masks) > 1:
            raise ValueError(f"{tree.path(file)} has more than one mask of its name: {', '.join(masks)}. Keep one.")
        return Record(
            phase=fields.get("phase", self.phase).lower(),
            category=fields.get("category", self.category),
            image=tree.base + file,
            masks=tuple(tree.base + mask for mask in masks),
            defect=self.defects.get(folder, folder) if is_anomalous else "good",
            is_anomalous=is_anomalous,
        )

    def _masks(self, fields: dict[str, str], by_stem: dict[str, list[str]]) -> list[str]:
        if self.mask is None:
            return []
        values = {**fields, "mask_suffix": self.mask_suffix}
        stem, suffix = split_suffix(re.sub(r"<(\w+)>", lambda name: values[name[1]], self.mask))
        return [file for file in by_stem.get(stem, []) if suffix == ".*" or file.lower().endswith(suffix)]


def _by_stem(files: Iterable[str]) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = {}
    for file in files:
        stems.setdefault(split_suffix(file)[0], []).append(file)
    return stems


@dataclass(frozen=True)
class VisaTable:
    """Samples of raw VisA: split, label and mask from ``split_csv``, kinds of defect from ``image_anno.csv``."""

    table: str

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the rows of the table; every category's annotation file names the defects."""
        kinds: dict[str, str] = {}
        for annotation in sorted(tree.path("").glob("*/image_anno.csv")):
            kinds |= {row["image"]: row["label"] for row in _read_table(annotation, ("image", "label"))}
        columns = ("object", "split", "label", "image", "mask")
        rows = _read_table(tree.path(self.table), columns)
        for row in sorted(rows, key=lambda row: natural_key(row["image"])):
            is_anomalous = _LABELS.get(row["label"])
            if is_anomalous is None:
                raise ValueError(f"{tree.path(self.table)}: label {row['label']!r}, expected {' or '.join(_LABELS)}")
            yield Record(
                phase=row["split"],
                category=row["object"],
                image=tree.base + row["image"],
                masks=(tree.base + row["mask"],) if row["mask"] else (),
                defect=kinds.get(row["image"], "") if is_anomalous else "good",
                is_anomalous=is_anomalous,
            )


_LABELS = {"normal": False, "anomaly": True}


def _read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read the named columns of a CSV file, values stripped."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        missing = [column for column in columns if column not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: expected the columns {', '.join(columns)}, got {rows.fieldnames}")
        return [{column: (row[column] or "").strip() for column in columns} for row in rows]


def matches_below(base: Path, pattern: str) -> bool:
    """Tell whether a file or folder matches a pattern such as ``*/test/good`` below a folder."""
    folders = [base]
    for part in PurePosixPath(pattern).parts:
        folders = [child for folder in folders for child in _children(folder, part)]
    return bool(folders)


def _children(folder: Path, part: str) -> list[Path]:
    if "*" not in part:
        return [folder / part] if (folder / part).exists() else []
    return [child for child in folder.iterdir() if fnmatchcase(child.name, part)] if folder.is_dir() else []
