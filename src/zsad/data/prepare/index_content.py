"""Content of an index, in the format of this field, and its counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from zsad.data.index_entries import Entries
from zsad.data.sources import Record
from zsad.data.value_range import ValueRange

Counts = tuple[str, str, int, int, int]
"""Phase, category, and the numbers of normal, anomalous, and anomalous images with a mask."""


def sorted_records(records: Iterable[Record]) -> list[Record]:
    """Return records by phase and category, each category in the order it came: the natural one."""
    return sorted(records, key=lambda record: (record.phase, record.category))


def index_content(
    records: Iterable[Record], value_ranges: Mapping[str, ValueRange] | None = None
) -> dict[str, Entries]:
    """Return the content of an index: phase, category, list of entries.

    ``train`` and ``test`` are always there, since published readers expect them.

    Args:
        records: The samples.
        value_ranges: Values shown as black and as white, of images of more than 8 bits.
    """
    ranges = value_ranges or {}
    phases: dict[str, Entries] = {"train": {}, "test": {}}
    for record in records:
        categories = phases.setdefault(record.phase, {})
        categories.setdefault(record.category, []).append(_entry(record, ranges))
    return phases


def _entry(record: Record, ranges: Mapping[str, ValueRange]) -> dict[str, Any]:
    mask_path: str | list[str] = "".join(record.masks)
    if len(record.masks) > 1:
        mask_path = list(record.masks)
    label = None if record.is_anomalous is None else int(record.is_anomalous)
    entry: dict[str, Any] = {
        "img_path": record.image,
        "mask_path": mask_path,
        "cls_name": record.category,
        "specie_name": record.defect,
        "anomaly": label,
    }
    if record.image in ranges:
        entry["value_range"] = list(ranges[record.image])
    return entry


def count_records(records: Iterable[Record]) -> list[Counts]:
    """Return the counts of every phase and category, in the order of the records.

    Images whose label is not published are in no column.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    for record in records:
        count = counts.setdefault((record.phase, record.category), Counter())
        if record.is_anomalous is None:
            continue
        label = "anomalous" if record.is_anomalous else "normal"
        count[label] += 1
        if record.is_anomalous and record.masks:
            count["masked"] += 1
    table: list[Counts] = []
    for (phase, category), count in counts.items():
        table.append((phase, category, count["normal"], count["anomalous"], count["masked"]))
    return table
