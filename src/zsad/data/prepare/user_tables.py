"""Layout of a user's own images that a CSV file lists."""

from __future__ import annotations

import csv
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zsad.data.layouts import Layout
from zsad.data.prepare.folder_labels import PHASES
from zsad.data.prepare.label_words import read_label
from zsad.data.prepare.user_folders import USER_FOLDER
from zsad.data.sources import Record, Tree

# Labels that a message proposes.
NORMAL_LABELS = ("0", "good", "ok", "normal", "no", "false")
ANOMALOUS_LABELS = ("1", "bad", "ng", "defective", "anomaly", "yes", "true")
# Spellings of column heads; the first of a line that a table has is taken.
COLUMNS = {
    "image": (
        "image",
        "img_path",
        "image_path",
        "img",
        "path",
        "file",
        "filename",
        "file_name",
        "image_id",
    ),
    "label": ("label", "anomaly", "is_anomalous", "target", "class"),
    "mask": ("mask", "mask_path", "ground_truth", "gt"),
    "category": ("category", "cls_name", "object", "class_name", "product"),
    "defect": ("defect", "specie_name", "defect_type", "anomaly_type", "kind", "type"),
    "phase": ("phase", "split", "set", "subset"),
}
REQUIRED_COLUMNS = ("image", "label")
DELIMITERS = ",;\t"
SHOWN_LABELS = 5


@dataclass(frozen=True)
class UserTable:
    """Samples that a CSV file lists.

    Image and label are required; mask, category, defect and phase are read from the columns of
    these names, if there are any.

    Attributes:
        table: The CSV file.
    """

    table: Path

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the rows of the table; paths are relative to the root.

        Raises:
            ValueError: No such columns, or unknown labels; all of these are counted.
        """
        rows = self._read_rows()
        labels = self._read_labels(rows)
        for row in rows:
            is_anomalous = labels[row["label"]]
            phase = row["phase"].lower()
            masks: tuple[str, ...] = ()
            if row["mask"] and is_anomalous:
                masks = (_below(tree, row["mask"]),)
            yield Record(
                phase=PHASES.get(phase, phase) or "test",
                category=row["category"],
                image=_below(tree, row["image"]),
                masks=masks,
                defect=row["defect"] if is_anomalous else "good",
                is_anomalous=is_anomalous,
            )

    def _read_rows(self) -> list[dict[str, str]]:
        """Read the table, values stripped, columns under the names of ``COLUMNS``."""
        text = _read_text(self.table)
        head = text.partition("\n")[0]
        delimiter = max(DELIMITERS, key=head.count)
        reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
        heads = _find_columns(reader.fieldnames or (), self.table)
        rows: list[dict[str, str]] = []
        for line in reader:
            row = dict.fromkeys(COLUMNS, "")
            for column, head in heads.items():
                row[column] = (line[head] or "").strip()
            if row["image"]:
                rows.append(row)
        return rows

    def _read_labels(self, rows: Sequence[Mapping[str, str]]) -> dict[str, bool]:
        """Return whether each label of the table means anomalous."""
        labels: dict[str, bool] = {}
        unknown: dict[str, None] = {}
        for row in rows:
            is_anomalous = read_label(row["label"])
            if is_anomalous is None:
                unknown[row["label"]] = None
            else:
                labels[row["label"]] = is_anomalous
        if unknown:
            first = list(unknown)[:SHOWN_LABELS]
            shown = ", ".join(map(repr, first))
            raise ValueError(
                f"{self.table}: {len(unknown)} unknown labels ({shown}), expected "
                f"{', '.join(NORMAL_LABELS)}; or {', '.join(ANOMALOUS_LABELS)}; "
                f"kinds of defect belong in a column named defect"
            )
        return labels


def table_layout(table: Path, root: Path) -> Layout:
    """Return the layout of images that a table lists.

    The table is looked for in the current folder, then below the root.

    Raises:
        FileNotFoundError: No such table.
    """
    for path in (table, root / table):
        if path.is_file():
            return replace(USER_FOLDER, sources=(UserTable(path),))
    raise FileNotFoundError(
        f"no table {table}, neither here nor in {root}; expected a CSV file with image,label"
    )


def _below(tree: Tree, path: str) -> str:
    """Return a path of the table relative to the root, with slashes."""
    return tree.base + path.replace("\\", "/")


def _read_text(table: Path) -> str:
    """Read a table in UTF-8, or in the UTF-16 that spreadsheets write with a mark at its start."""
    data = table.read_bytes()
    encoding = "utf-8-sig"
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{table} is not in UTF-8 (byte {error.start}): save it again as CSV in UTF-8, "
            f"lest names be misread"
        ) from error


def _find_columns(heads: Sequence[str], table: Path) -> dict[str, str]:
    """Return the head of a table that stands for each of ``COLUMNS`` it has."""
    spelled: dict[str, str] = {}
    for head in heads:
        spelling = head.strip().lower()
        spelled[spelling.replace(" ", "_")] = head
    found: dict[str, str] = {}
    for column, spellings in COLUMNS.items():
        for spelling in spellings:
            if spelling in spelled:
                found[column] = spelled[spelling]
                break
    missing = [column for column in REQUIRED_COLUMNS if column not in found]
    if missing:
        raise ValueError(
            f"{table} has no column {' and no column '.join(missing)}, got "
            f"{', '.join(heads) or 'none'}; expected image,label "
            f"and if you like mask,category,defect,phase"
        )
    return found
