"""Layout of a user's own images that a CSV file, or JSON lines, list."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from zsad.data.layouts import Layout
from zsad.data.prepare.folder_labels import PHASES
from zsad.data.prepare.label_words import read_label
from zsad.data.prepare.table_rows import read_rows
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
ROW = "row number"  # beside the columns
SHOWN_LABELS = 5


@dataclass(frozen=True)
class UserTable:
    """Samples that a CSV file lists.

    Image and label are required; mask, category, defect and phase are read from the columns of
    these names, if there are any.

    Attributes:
        table: A CSV file, or a file of JSON lines.
    """

    table: Path

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the rows of the table; paths are relative to the root.

        Raises:
            ValueError: No such columns, or unknown labels; all of these are counted, with their
                rows.
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
                origin=f"row {row[ROW]} of {self.table.name}",
            )

    def _read_rows(self) -> list[dict[str, str]]:
        """Read the table, columns under the names of ``COLUMNS``, the row's number as ``ROW``."""
        heads, lines = read_rows(self.table)
        columns = _find_columns(heads, self.table)
        rows: list[dict[str, str]] = []
        for line in lines:
            row = dict.fromkeys(COLUMNS, "")
            for column, head in columns.items():
                row[column] = line.values.get(head, "")
            if row["image"]:
                row[ROW] = str(line.number)
                rows.append(row)
        return rows

    def _read_labels(self, rows: Sequence[Mapping[str, str]]) -> dict[str, bool]:
        """Return whether each label of the table means anomalous."""
        labels: dict[str, bool] = {}
        unknown: dict[str, str] = {}  # with the first row of each
        for row in rows:
            is_anomalous = read_label(row["label"])
            if is_anomalous is None:
                unknown.setdefault(row["label"], row[ROW])
            else:
                labels[row["label"]] = is_anomalous
        if unknown:
            first = list(unknown)[:SHOWN_LABELS]
            shown = ", ".join(map(repr, first))
            numbers = ", ".join(unknown[label] for label in first)
            raise ValueError(
                f"{self.table}: {len(unknown)} unknown labels ({shown}) first in row {numbers}, "
                f"expected {', '.join(NORMAL_LABELS)}; or {', '.join(ANOMALOUS_LABELS)}; "
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
    """Return a path of the table relative to the root: with slashes, normalised.

    An absolute path below the root becomes relative, so that the index can move; any other stays as
    it is, and is refused.
    """
    slashes = path.replace("\\", "/")
    if slashes.startswith("/"):
        for root in (tree.root.absolute(), tree.root.resolve()):
            if PurePosixPath(slashes).is_relative_to(root.as_posix()):
                return posixpath.normpath(PurePosixPath(slashes).relative_to(root).as_posix())
        return slashes
    return posixpath.normpath(tree.base + slashes)


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
