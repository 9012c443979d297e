"""Runs that differ by their seed alone: mean ± deviation of every number in their tables."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from zsad.atomic_write import write_whole
from zsad.reports import text_tables
from zsad.reports.read_runs import COUNTS, DataFrame, metrics_of, read_table
from zsad.reports.text_tables import TextTable, markdown_page

# Equal in the configurations of runs that repeat one another.
_SAME_SETTINGS = ("model", "backbone", "metrics", "image_size", "k_shot")


@dataclass(frozen=True)
class Average:
    """The tables of several runs as a single table.

    Attributes:
        runs: Their folders.
        metrics: Names of the metrics.
        table: A row for each category, or dataset. Columns: ``normal``, ``defective``, and for each
            metric ``_mean`` and ``_deviation`` in percent, NaN where no run defines it, and
            ``_runs``, the number of runs that define it.
        remarks: The notes of the runs, without repetitions.
    """

    runs: tuple[Path, ...]
    metrics: tuple[str, ...]
    table: DataFrame
    remarks: tuple[str, ...]


def average(runs: Sequence[Path]) -> Average:
    """Average the ``results.csv`` of runs that repeat one another.

    Raises:
        FileNotFoundError: A run without results.
        ValueError: Fewer than two runs, or no repetitions: other rows, images, model or data.
    """
    from pandas import concat

    if len(runs) < 2:
        raise ValueError(
            f"expected two runs or more to average, got {len(runs)}: zsad average RUN RUN …"
        )
    tables = [read_table(run) for run in runs]
    _require_repetitions(runs, tables)
    metrics = metrics_of(tables[0])
    rows = concat(tables).groupby(level=0, sort=False)
    averages = tables[0].loc[:, COUNTS].copy()
    for metric in metrics:
        values = rows[metric]
        averages[f"{metric}_mean"] = values.agg(_mean)
        averages[f"{metric}_deviation"] = values.agg(_deviation)
        averages[f"{metric}_runs"] = values.count()
    remarks = []
    for table in tables:
        remark = table["remarks"].iloc[-1]
        if remark and remark not in remarks:
            remarks.append(remark)
    return Average(tuple(runs), tuple(metrics), averages, tuple(remarks))


def screen_table(result: Average, title: str) -> Table:
    """Lay the averages out for ``rich.print``."""
    table = _text_table(result, title, result.remarks)
    return text_tables.screen_table(table, wrap=True)  # a cut deviation would look like another


def markdown_table(result: Average, title: str) -> str:
    """Write the averages as Markdown."""
    runs = ", ".join(map(str, result.runs))
    count = len(result.runs)
    origin = f"Mean ± sample deviation of {count} runs: {runs}."
    table = _text_table(result, title, [origin, *result.remarks])
    return markdown_page(table)


def csv_table(result: Average) -> str:
    """Write the averages as CSV, in percent with four decimals."""
    return result.table.to_csv(float_format="%.4f", lineterminator="\n")


def write_average(result: Average, folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``average.csv`` and ``average.md`` and return their paths."""
    table = write_whole(folder / "average.csv", csv_table(result))
    page = write_whole(folder / "average.md", markdown_table(result, title))
    return table, page


def _require_repetitions(runs: Sequence[Path], tables: Sequence[DataFrame]) -> None:
    """Refuse runs with different images, settings or training data."""
    first_facts = _facts(runs[0])
    for run, table in zip(runs[1:], tables[1:], strict=True):
        facts = _facts(run)
        differing = []
        for name in facts:
            if name in first_facts and facts[name] != first_facts[name]:
                differing.append(name)
        if not _has_same_rows(table, tables[0]):
            differing.append("rows")
        if differing:
            raise ValueError(
                f"{run} does not repeat {runs[0]}: they differ in {', '.join(sorted(differing))}. "
                "To set different runs side by side: zsad compare RUN RUN …"
            )


def _has_same_rows(table: DataFrame, first: DataFrame) -> bool:
    if table.index.name != first.index.name:
        return False
    if not table.columns.equals(first.columns):
        return False
    return table[COUNTS].equals(first[COUNTS])


def _facts(run: Path) -> dict[str, Any]:
    """Return model and data of a run card; of the first dataset where several were tested."""
    file = run / "run_card.json"
    if not file.is_file():
        of_datasets = sorted(run.glob("*/run_card.json"))
        if not of_datasets:
            return {}
        file = of_datasets[0]
    card = json.loads(file.read_text(encoding="utf-8"))
    config = card["config"]
    facts = {name: config[name] for name in _SAME_SETTINGS if name in config}
    facts["trained_on"] = card.get("trained_on")
    return facts


def _text_table(result: Average, title: str, notes: Sequence[str]) -> TextTable:
    averages = result.table
    table = averages[COUNTS].astype(str)
    table.columns = ["good", "bad"]
    for metric in result.metrics:
        names = [f"{metric}_mean", f"{metric}_deviation", f"{metric}_runs"]
        numbers = averages[names].itertuples(index=False)
        table[metric.replace("_", " ")] = [_number(*row) for row in numbers]
    rows = table.itertuples(name=None)
    heading = [str(averages.index.name), *table.columns]
    return TextTable(heading, list(rows), title=title, notes=notes)


def _number(mean: float, deviation: float, runs: int) -> str:
    if runs == 0:
        return "n/a"
    if runs == 1:
        return f"{mean:.1f}"
    return f"{mean:.1f} ± {deviation:.1f}"


def _mean(values: Iterable[float]) -> float:
    defined = _defined(values)
    return statistics.mean(defined) if defined else math.nan


def _deviation(values: Iterable[float]) -> float:
    """Return the sample deviation, 0 for a single run."""
    defined = _defined(values)
    if len(defined) > 1:
        return statistics.stdev(defined)
    return 0.0 if defined else math.nan


def _defined(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]
