"""The tables of finished tests as data frames, for the commands that join them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsad.reports.results_table import MEAN

if TYPE_CHECKING:
    from pandas import DataFrame
else:
    DataFrame = Any  # pandas takes a second to import

COUNTS = ["normal", "defective"]  # images of each label
FACTS = ["run", "method", "trained_on", "image_size", "dataset"]
_REMARKS = "remarks"
_NOTES = "notes"
_CATEGORY = "category"
_DATASET = "dataset"  # heads the first column of a test on several datasets


def read_table(folder: Path) -> DataFrame:
    """Read the ``results.csv`` of a test.

    The index holds the categories, or the datasets, and is named so. Columns: ``normal`` and
    ``defective``; the metrics in percent, NaN where undefined; ``remarks``.

    Raises:
        FileNotFoundError: No such file: the test is not finished.
    """
    from pandas import read_csv

    file = _existing(folder / "results.csv")
    table = read_csv(file, index_col=0, dtype=str, keep_default_na=False)
    table[COUNTS] = table[COUNTS].astype(int)
    for metric in metrics_of(table):
        table[metric] = table[metric].replace("", "nan").astype(float)
    return table


def metrics_of(table: DataFrame) -> list[str]:
    """Return the names of the metrics of a table, in its order."""
    others = {*FACTS, _CATEGORY, *COUNTS, _REMARKS, _NOTES}
    return [name for name in table.columns if name not in others]


def read_finished_runs(folders: Sequence[Path]) -> list[DataFrame]:
    """Read run folders: a table for each run and dataset, with a row for each category and mean.

    Columns: the facts of the run, the same in each row: ``run`` (its name), ``method`` (the class),
    ``trained_on`` (empty without training), ``image_size`` (side of the input in pixels) and
    ``dataset``; ``category``, ``mean`` in the last row; ``normal`` and ``defective``; the metrics
    in percent, NaN where undefined; ``notes``, those of the run card in the last row.

    Raises:
        FileNotFoundError: A folder without results or run card.
    """
    names = [folder.resolve().name for folder in folders]
    tables: list[DataFrame] = []
    for folder, name in zip(folders, names, strict=True):
        is_unique = names.count(name) == 1
        tables += _read_tests(folder, name if is_unique else str(folder))
    return tables


def _read_tests(folder: Path, run: str) -> Iterator[DataFrame]:
    """Yield the table of each dataset of a run."""
    table = read_table(folder)
    rows = [name for name in table.index if not name.startswith(f"{MEAN} of ")]
    if table.index.name == _DATASET:
        for dataset in rows:
            if dataset != MEAN:
                yield from _read_tests(folder / dataset, run)
        return
    file = _existing(folder / "run_card.json")
    card = json.loads(file.read_text(encoding="utf-8"))
    table = table.loc[rows].drop(columns=_REMARKS)
    table = table.reset_index(names=_CATEGORY)
    facts = _facts(card, run)
    for place, name in enumerate(FACTS):
        table.insert(place, name, facts[name])
    notes = tuple(card["notes"])
    table[_NOTES] = [notes if row == MEAN else () for row in rows]
    yield table


def _facts(card: Mapping[str, Any], run: str) -> dict[str, str]:
    config = card["config"]
    method = config["model"]["method"]["_target_"]
    trained_on = card["trained_on"] or ""
    if isinstance(trained_on, Mapping):
        trained_on = trained_on.get("dataset", "")
    return {
        "run": run,
        "method": method.split(".")[-1],
        "trained_on": str(trained_on),
        "image_size": str(config["image_size"]),
        "dataset": config["dataset"]["name"],
    }


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(
            f"no {file}: {file.parent} is no finished test. A test writes it to runs/test/NAME"
        )
    return file
