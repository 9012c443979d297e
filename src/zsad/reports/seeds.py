"""Runs that differ by their seed alone: mean ± deviation of every number in their tables."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
from rich.table import Table

from zsad.atomic_write import write_whole
from zsad.reports import text_tables
from zsad.reports.read_runs import COUNTS, metrics_of, read_table
from zsad.reports.text_tables import TextTable

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
    table: pandas.DataFrame
    remarks: tuple[str, ...]


def average(runs: Sequence[Path]) -> Average:
    """Average the ``results.csv`` of runs that repeat one another.

    Raises:
        FileNotFoundError: A run without results.
        ValueError: Fewer than two runs, or no repetitions: other rows, images, model or data.
    """
    if len(runs) < 2:
        raise ValueError(
            f"expected two runs or more to average, got {len(runs)}: zsad average RUN RUN …"
        )
    tables = [read_table(run) for run in runs]
    _require_repetitions(runs, tables)
    metrics = metrics_of(tables[0])
    rows = pandas.concat(tables).groupby(level=0, sort=False)
    averages = tables[0].loc[:, COUNTS].copy()
    for metric in metrics:
        averages[f"{metric}_mean"] = rows[metric].agg(_mean)
        averages[f"{metric}_deviation"] = rows[metric].agg(_deviation)
        averages[f"{metric}_runs"] = rows[metric].count()
    notes = [table["remarks"].iloc[-1] for table in tables]
    remarks = dict.fromkeys(note for note in notes if note)
    return Average(tuple(runs), tuple(metrics), averages, tuple(remarks))


def screen_table(result: Average, title: str) -> Table:
    """Lay the averages out for ``rich.print``."""
    return text_tables.screen_table(_text_table(result, title, result.remarks))


def markdown_table(result: Average, title: str) -> str:
    """Write the averages as Markdown."""
    runs = ", ".join(map(str, result.runs))
    origin = f"Mean ± sample deviation of {len(result.runs)} runs: {runs}."
    return text_tables.markdown_page(_text_table(result, title, [origin, *result.remarks]))


def csv_table(result: Average) -> str:
    """Write the averages as CSV, in percent with four decimals."""
    return result.table.to_csv(float_format="%.4f", lineterminator="\n")


def write_average(result: Average, folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``average.csv`` and ``average.md`` and return their paths."""
    return (
        write_whole(folder / "average.csv", csv_table(result)),
        write_whole(folder / "average.md", markdown_table(result, title)),
    )


def _require_repetitions(runs: Sequence[Path], tables: Sequence[pandas.DataFrame]) -> None:
    """Refuse runs with different images, settings or training data."""
    first_facts = _facts(runs[0])
    for run, table in zip(runs[1:], tables[1:], strict=True):
        facts = _facts(run)
        common = first_facts.keys() & facts.keys()
        differing = [name for name in common if first_facts[name] != facts[name]]
        if not _has_same_rows(table, tables[0]):
            differing.append("rows")
        if differing:
            raise ValueError(
                f"{run} does not repeat {runs[0]}: they differ in {', '.join(sorted(differing))}. "
                "To set different runs side by side, name each of them in a table of its own"
            )


def _has_same_rows(table: pandas.DataFrame, first: pandas.DataFrame) -> bool:
    has_same_columns = list(table.columns) == list(first.columns)
    has_same_heading = table.index.name == first.index.name
    return has_same_columns and has_same_heading and table[COUNTS].equals(first[COUNTS])


def _facts(run: Path) -> dict[str, Any]:
    """Return model and data of a run card; of the first dataset where several were tested."""
    cards = [run / "run_card.json", *sorted(run.glob("*/run_card.json"))]
    cards = [card for card in cards if card.is_file()]
    if not cards:
        return {}
    card = json.loads(cards[0].read_text(encoding="utf-8"))
    facts = {name: card["config"][name] for name in _SAME_SETTINGS if name in card["config"]}
    facts["trained_on"] = card.get("trained_on")
    return facts


def _text_table(result: Average, title: str, notes: Sequence[str]) -> TextTable:
    names = [metric.replace("_", " ") for metric in result.metrics]
    rows = []
    for row in result.table.reset_index().to_dict("records"):
        counts = [str(row[count]) for count in COUNTS]
        numbers = [_number(row, metric) for metric in result.metrics]
        rows.append([row[result.table.index.name], *counts, *numbers])
    heading = [str(result.table.index.name), "good", "bad", *names]
    return TextTable(heading, rows, title=title, notes=notes)


def _number(row: dict[Any, Any], metric: str) -> str:
    if row[f"{metric}_runs"] == 0:
        return "n/a"
    mean = f"{row[f'{metric}_mean']:.1f}"
    return mean if row[f"{metric}_runs"] == 1 else f"{mean} ± {row[f'{metric}_deviation']:.1f}"


def _mean(values: pandas.Series) -> float:
    defined = values.dropna().tolist()
    return statistics.mean(defined) if defined else math.nan


def _deviation(values: pandas.Series) -> float:
    """Return the sample deviation, 0 for a single run."""
    defined = values.dropna().tolist()
    if len(defined) > 1:
        return statistics.stdev(defined)
    return 0.0 if defined else math.nan
