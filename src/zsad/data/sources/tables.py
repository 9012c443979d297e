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

_FETCH = "fetch it again"


@dataclass(frozen=True)
class VisaTable:
    """Samples of raw VisA.

    Split, label and mask come from ``split_csv``, kinds of defect from ``image_anno.csv``.
    """

    table: str

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the rows of the table; every category's annotation file names the defects."""
        path = tree.path(self.table)
        kinds = self._read_kinds(tree)
        rows = _read_table(path, ("object", "split", "label", "image", "mask"))
        rows.sort(key=lambda row: natural_key(row["image"]))
        for row in rows:
            is_anomalous = _parse_label(row["label"], "normal", "anomaly", path)
            yield Record(
                phase=row["split"],
                category=row["object"],
                image=tree.base + row["image"],
                masks=(tree.base + row["mask"],) if row["mask"] else (),
                defect=kinds.get(row["image"], "") if is_anomalous else "good",
                is_anomalous=is_anomalous,
            )

    def _read_kinds(self, tree: Tree) -> dict[str, str]:
        """Return image → kind of defect."""
        kinds: dict[str, str] = {}
        for annotation in sorted(tree.path("").glob("*/image_anno.csv")):
            for row in _read_table(annotation, ("image", "label")):
                kinds[row["image"]] = row["label"]
        return kinds


@dataclass(frozen=True)
class NumberedTable:
    """Images labelled by a table of two columns: image number and 0 or 1; no masks, no split.

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
        labels = self._read_labels(path)
        images = self._find_images(tree, path)
        _require_same(labels.keys(), images.keys(), path)
        for number, file in images.items():
            is_anomalous = labels[number]
            yield Record(
                phase="test",
                category=self.category,
                image=tree.base + file,
                masks=(),
                defect=self.defect if is_anomalous else "good",
                is_anomalous=is_anomalous,
                expects_mask=False,
            )

    def _read_labels(self, path: Path) -> dict[int, bool]:
        labels: dict[int, bool] = {}
        for row in _read_table(path, (self.number, self.label)):
            number = _parse_number(row[self.number], path)
            labels[number] = _parse_label(row[self.label], "0", "1", path)
        return labels

    def _find_images(self, tree: Tree, table: Path) -> dict[int, str]:
        pattern = template_pattern(self.image)
        images: dict[int, str] = {}
        for file in tree.files:
            match = pattern.fullmatch(file)
            if match is not None:
                images[_parse_number(match["number"], table)] = file
        return images


@dataclass(frozen=True)
class CategoryTables:
    """Samples of Real-IAD.

    A JSON file for each category gives the part, label and mask of every image. A category whose
    folder does not exist is left out: the download comes in one archive per category.

    Attributes:
        tables: Folders of the JSON files, the first that has any counts.
        images: Folder of the category folders.
    """

    tables: tuple[str, ...]
    images: str

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of every category whose folder exists."""
        for table in self._files(tree):
            folder = f"{self.images}/{table.stem}/"
            if tree.path(folder).is_dir():
                yield from self._category_records(table, tree.base + folder)

    def _files(self, tree: Tree) -> list[Path]:
        for folder in self.tables:
            files = sorted(tree.path(folder).glob("*.json"))
            if files:
                return files
        folders = " or ".join(self.tables)
        raise FileNotFoundError(f"no CATEGORY.json in {folders} below {tree.path('')}: {_FETCH}")

    def _category_records(self, table: Path, folder: str) -> Iterator[Record]:
        content = read_json(table)
        try:
            normal = content["meta"]["normal_class"]
            for phase in ("train", "test"):
                entries = sorted(content[phase], key=lambda entry: natural_key(entry["image_path"]))
                for entry in entries:
                    yield self._record(entry, phase, normal, table.stem, folder)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{table}: expected meta.normal_class, train and test lists ({error!r}): {_FETCH}"
            ) from error

    def _record(
        self, entry: dict[str, Any], phase: str, normal: str, category: str, folder: str
    ) -> Record:
        mask = entry["mask_path"]
        kind = entry["anomaly_class"]
        is_anomalous = kind != normal
        return Record(
            phase=phase,
            category=category,
            image=folder + entry["image_path"],
            masks=(folder + mask,) if mask else (),
            defect=kind if is_anomalous else "good",
            is_anomalous=is_anomalous,
        )


def _read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read the named columns of a CSV file, names and values stripped."""
    if not path.is_file():
        raise FileNotFoundError(f"no {path}, the download's own table: {_FETCH}")
    rows: list[dict[str, str]] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        names = [name.strip() for name in next(lines, [])]
        if not set(columns) <= set(names):
            expected = ", ".join(columns)
            raise ValueError(f"{path}: expected the columns {expected}, got {names}")
        for line in filter(None, lines):
            values = dict(zip(names, line, strict=False))
            rows.append({column: values.get(column, "").strip() for column in columns})
    return rows


def _parse_label(text: str, normal: str, anomalous: str, path: Path) -> bool:
    if text not in (normal, anomalous):
        raise ValueError(f"{path}: label {text!r}, expected {normal} or {anomalous}")
    return text == anomalous


def _parse_number(text: str, path: Path) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise ValueError(f"{path}: {text!r} is no image number")
    return int(text)


def _require_same(labelled: Collection[int], found: Collection[int], path: Path) -> None:
    unlabelled = sorted(set(found) - set(labelled))
    absent = sorted(set(labelled) - set(found))
    if unlabelled or absent:
        raise ValueError(
            f"{path}: no label of the images {unlabelled}, no image of the labels {absent}: "
            f"{_FETCH}"
        )
