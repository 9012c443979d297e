"""What finished tests have left in their folders, read back: one entry per run and dataset."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.reports.results_table import MEAN

_COUNTS, _REMARKS = ("normal", "defective"), "remarks"  # columns of results.csv that are no metrics
_SEVERAL = "dataset"  # heads the first column of a test on several datasets, each with a folder of its own inside


@dataclass(frozen=True)
class FinishedRun:
    """One run on one dataset.

    Attributes:
        run: Its name.
        dataset: What was tested.
        method: The class that did it.
        trained_on: The dataset learned from; empty where nothing was learned.
        image_size: Side of the input in pixels, at which pixels were counted.
        images: Category → how many normal and how many defective images were tested.
        values: Category, and ``mean`` → metric → percent; NaN where undefined.
        notes: What a reader has to know.
    """

    run: str
    dataset: str
    method: str
    trained_on: str
    image_size: str
    images: Mapping[str, tuple[int, int]]
    values: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, in the order of the table."""
        return tuple(self.values[MEAN])


def read_finished_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """Read run folders; one that tested several datasets counts once for each.

    Raises:
        FileNotFoundError: A folder without results or run card.
    """
    named = Counter(folder.resolve().name for folder in folders)
    return [
        tested
        for folder in folders
        for tested in _read(
            folder, folder.resolve().name if named[folder.resolve().name] == 1 else str(folder)
        )
    ]


def _read(folder: Path, run: str) -> Iterator[FinishedRun]:
    rows = _rows(folder)
    heading = next(iter(rows[0]))
    if heading == _SEVERAL:
        for row in rows:
            if not _is_mean(row[heading]):
                yield from _read(folder / row[heading], run)
        return
    card, table = _card(folder), {row[heading]: row for row in rows}
    config = card["config"]
    categories = {name: row for name, row in table.items() if not _is_mean(name)}
    metrics = [name for name in rows[0] if name not in (heading, *_COUNTS, _REMARKS)]
    yield FinishedRun(
        run=run,
        dataset=config["dataset"]["name"],
        method=config["model"]["method"]["_target_"].rpartition(".")[2],
        trained_on=_trained_on(card["trained_on"]),
        image_size=str(config["image_size"]),
        images={
            name: (int(row["normal"]), int(row["defective"])) for name, row in categories.items()
        },
        values={
            name: {metric: float(row[metric] or math.nan) for metric in metrics}
            for name, row in {**categories, MEAN: table[MEAN]}.items()
        },
        notes=tuple(card["notes"]),
    )


def _is_mean(name: str) -> bool:
    return name == MEAN or name.startswith(f"{MEAN} of ")


def _rows(folder: Path) -> list[dict[str, str]]:
    path = _existing(folder / "results.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _card(folder: Path) -> dict[str, Any]:
    return json.loads(_existing(folder / "run_card.json").read_text(encoding="utf-8"))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}: {path.parent} is no finished test. A test writes it to runs/test/NAME"
        )
    return path


def _trained_on(said: Any) -> str:
    if isinstance(said, Mapping):
        return str(said.get("dataset", ""))
    return str(said or "")
