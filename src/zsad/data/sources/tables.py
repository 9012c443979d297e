"""Samples that a download lists in tables of its own."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.data.image_files import natural_key
from zsad.data.locations import read_json
from zsad.data.sources.record import Record
from zsad.data.sources.tree import Tree, template_pattern


@dataclass(frozen=True)
class VisaTable:
    """Samples of raw VisA: split, label and mask from ``split_csv``, kinds of defect from ``image_anno.csv``."""

    table: str

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the rows of the table; every category's annotation file names the defects."""
        kinds: dict[str, str] = {}
        for annotation in sorted(tree.path("").glob("*/image_anno.csv")):
            kinds |= {
                row["image"]: row["label"] for row in _read_table(annotation, ("image", "label"))
            }
        columns = ("object", "split", "label", "image", "mask")
        rows = _read_table(tree.path(self.table), columns)
        for row in sorted(rows, key=lambda row: natural_key(row["image"])):
            is_anomalous = _label(row["label"], "normal", "anomaly", tree.path(self.table))
            yield Record(
                phase=row["split"],
                category=row["object"],
                image=tree.base + row["image"],
                masks=(tree.base + row["mask"],) if row["mask"] else (),
                defect=kinds.get(row["image"], "") if is_anomalous else "good",
                is_anomalous=is_anomalous,
            )


@dataclass(frozen=True)
class NumberedTable:
    """Images whose labels stand in a table of two columns, the number of the image and 0 or 1; no masks, no split.

    Attributes:
        table: The CSV file.
        number: Its column of image numbers, without leading zeros.
        label: Its column of labels.
        image: Path template of the images, with the field ``<number>``.
        category: Category of all images.
        defect: Kind of defect of the anomalous ones.
    """

    table: str
    number: str
    label: str
    image: str
    category: str
    defect: str

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the images of the table.

        Raises:
            ValueError: Images without a label, or labels without an image; all of them are named.
        """
        path = tree.path(self.table)
        rows = _read_table(path, (self.number, self.label))
        labels = {
            _whole(row[self.number], path): _label(row[self.label], "0", "1", path) for row in rows
        }
        pattern = template_pattern(self.image)
        matches = ((file, pattern.fullmatch(file)) for file in tree.files)
        images = {
            _whole(match["number"], path): file for file, match in matches if match is not None
        }
        _require_same(labels.keys(), images.keys(), path)
        for number, file in images.items():
            defect = self.defect if labels[number] else "good"
            yield Record(
                "test",
                self.category,
                tree.base + file,
                (),
                defect,
                labels[number],
                expects_mask=False,
            )


@dataclass(frozen=True)
class CategoryTables:
    """Samples of Real-IAD: a JSON file for each category says which image is in which part, with which label and mask.

    A category whose folder is not there is left out: the download comes one archive a category.

    Attributes:
        tables: Folders of the JSON files, the first that has any counts.
        images: Folder of the category folders.
    """

    tables: tuple[str, ...]
    images: str

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of every category whose folder is there."""
        for table in self._files(tree):
            if (tree.path(self.images) / table.stem).is_dir():
                yield from self._category(table, f"{tree.base}{self.images}/{table.stem}/")

    def _files(self, tree: Tree) -> list[Path]:
        listings = [sorted(tree.path(folder).glob("*.json")) for folder in self.tables]
        found = next((files for files in listings if files), [])
        if not found:
            raise FileNotFoundError(
                f"no CATEGORY.json in {' or '.join(self.tables)} below {tree.path('')}: {_FETCH}"
            )
        return found

    def _category(self, table: Path, folder: str) -> Iterator[Record]:
        content = read_json(table)
        try:
            normal = content["meta"]["normal_class"]
            parts = [(phase, content[phase]) for phase in ("train", "test")]
            for phase, entries in parts:
                ordered = sorted(entries, key=lambda entry: natural_key(entry["image_path"]))
                yield from (
                    self._record(entry, phase, normal, table.stem, folder) for entry in ordered
                )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{table}: expected meta.normal_class, train and test lists ({error!r}): {_FETCH}"
            ) from error

    def _record(
        self, entry: dict[str, Any], phase: str, normal: str, category: str, folder: str
    ) -> Record:
        mask, kind = entry["mask_path"], entry["anomaly_class"]
        return Record(
            phase=phase,
            category=category,
            image=folder + entry["image_path"],
            masks=(folder + mask,) if mask else (),
            defect="good" if kind == normal else kind,
            is_anomalous=kind != normal,
        )


_FETCH = "fetch it again"


def _read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read the named columns of a CSV file, names and values stripped."""
    if not path.is_file():
        raise FileNotFoundError(f"no {path}, the download's own table: {_FETCH}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        names = [name.strip() for name in next(lines, [])]
        missing = [column for column in columns if column not in names]
        if missing:
            raise ValueError(f"{path}: expected the columns {', '.join(columns)}, got {names}")
        rows = (dict(zip(names, line, strict=False)) for line in lines if line)
        return [{column: row.get(column, "").strip() for column in columns} for row in rows]


def _label(text: str, normal: str, anomalous: str, path: Path) -> bool:
    if text not in (normal, anomalous):
        raise ValueError(f"{path}: label {text!r}, expected {normal} or {anomalous}")
    return text == anomalous


def _whole(text: str, path: Path) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise ValueError(f"{path}: {text!r} is no image number")
    return int(text)


def _require_same(labelled: Collection[int], found: Collection[int], path: Path) -> None:
    unlabelled, absent = sorted(set(found) - set(labelled)), sorted(set(labelled) - set(found))
    if unlabelled or absent:
        raise ValueError(
            f"{path}: no label of the images {unlabelled}, no image of the labels {absent}: {_FETCH}"
        )
