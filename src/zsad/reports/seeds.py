"""Several runs that differ by their seed alone: mean ± deviation of every number in their tables."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zsad.atomic_write import write_whole

_FACTS = ("normal", "defective")  # columns of results.csv that count images
_REMARKS = "remarks"
_SAME = (
    "model",
    "backbone",
    "metrics",
    "image_size",
    "k_shot",
)  # of the configuration, for runs that are comparable
_LEARNED = "trained_on"  # of the card itself


@dataclass(frozen=True)
class Average:
    """The tables of several runs as one.

    Attributes:
        runs: Their folders.
        heading: What the rows are: ``category`` or ``dataset``.
        images: For each row the number of normal and of defective images.
        values: Row → metric → its value in each run, in percent; runs in which it is undefined are left out.
        remarks: What the runs say about themselves, each sentence once.
    """

    runs: tuple[Path, ...]
    heading: str
    images: dict[str, tuple[str, str]]
    values: dict[str, dict[str, list[float]]]
    remarks: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, in the order of the tables."""
        return tuple(next(iter(self.values.values())))


def average(runs: Sequence[Path]) -> Average:
    """Read the ``results.csv`` of runs that repeat one another.

    Raises:
        FileNotFoundError: If a run has no results.
        ValueError: If there are fewer than two, or they are no repetitions: other rows, images, model or data.
    """
    if len(runs) < 2:
        raise ValueError(
            f"expected two runs or more to average, got {len(runs)}: zsad average RUN RUN …"
        )
    tables = [_rows(run) for run in runs]
    _require_alike(runs, tables)
    metrics = [
        name for name in tables[0][0] if name not in (_heading(tables[0]), *_FACTS, _REMARKS)
    ]
    heading = _heading(tables[0])
    values = {
        row[heading]: {
            name: [float(table[at][name]) for table in tables if table[at][name]]
            for name in metrics
        }
        for at, row in enumerate(tables[0])
    }
    images = {row[heading]: (row["normal"], row["defective"]) for row in tables[0]}
    remarks = dict.fromkeys(table[-1][_REMARKS] for table in tables if table[-1][_REMARKS])
    return Average(tuple(runs), heading, images, values, tuple(remarks))


def screen_table(result: Average, title: str) -> Table:
    """Lay the averages out for ``rich.print``."""
    table = Table(
        title=Text(title), caption=Text("\n".join(result.remarks)), box=SIMPLE_HEAD, padding=0
    )
    for name in _headings(result):
        table.add_column(
            Text(name.replace(" ", "\n")), justify="left" if name == result.heading else "right"
        )
    for row in result.values:
        table.add_row(*map(Text, _cells(result, row)))
    return table


def markdown_table(result: Average, title: str) -> str:
    """Write the averages as Markdown."""
    headings = _headings(result)
    lines = [
        headings,
        [":---", *("---:" for _ in headings[1:])],
        *(_cells(result, row) for row in result.values),
    ]
    text = [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    ]
    below = [
        f"Mean ± sample deviation of {len(result.runs)} runs: {', '.join(map(str, result.runs))}.",
        *result.remarks,
    ]
    return "\n".join([f"# {title}", "", *text, "", *(f"- {line}" for line in below), ""])


def csv_table(result: Average) -> str:
    """Write the averages as CSV: for each metric its mean, its deviation and how many runs define it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = [
        f"{name}_{kind}" for name in result.metrics for kind in ("mean", "deviation", "runs")
    ]
    writer.writerow([result.heading, *_FACTS, *columns])
    for row, values in result.values.items():
        cells = [cell for name in result.metrics for cell in _exact(values[name])]
        writer.writerow([row, *result.images[row], *cells])
    return buffer.getvalue()


def write_average(result: Average, folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``average.csv`` and ``average.md`` and return their paths."""
    return (
        write_whole(folder / "average.csv", csv_table(result)),
        write_whole(folder / "average.md", markdown_table(result, title)),
    )


def _rows(run: Path) -> list[dict[str, str]]:
    path = run / "results.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}: {run} is no finished test. A test writes it to runs/test/NAME"
        )
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _heading(table: Sequence[Mapping[str, str]]) -> str:
    return next(iter(table[0]))


def _require_alike(runs: Sequence[Path], tables: Sequence[Sequence[Mapping[str, str]]]) -> None:
    """Refuse to average what was not measured in the same way on the same images."""
    first = {"rows": _shape(tables[0]), **_facts(runs[0])}
    for run, table in zip(runs[1:], tables[1:], strict=True):
        other = {"rows": _shape(table), **_facts(run)}
        differing = [name for name in first.keys() & other.keys() if first[name] != other[name]]
        if differing:
            raise ValueError(
                f"{run} does not repeat {runs[0]}: they differ in {', '.join(sorted(differing))}. "
                "To set different runs side by side, name each of them in a table of its own"
            )


def _shape(table: Sequence[Mapping[str, str]]) -> list[tuple[str, ...]]:
    heading = _heading(table)
    return [tuple(table[0]), *((row[heading], *(row[fact] for fact in _FACTS)) for row in table)]


def _facts(run: Path) -> dict[str, Any]:
    """Return what a run card says about model and data; that of the first dataset where several were tested."""
    cards = (run / "run_card.json", *sorted(run.glob("*/run_card.json")))
    file = next((card for card in cards if card.is_file()), None)
    if file is None:
        return {}
    card = json.loads(file.read_text(encoding="utf-8"))
    said = {**card["config"], _LEARNED: card.get(_LEARNED)}
    return {name: said[name] for name in (*_SAME, _LEARNED) if name in said}


def _headings(result: Average) -> list[str]:
    return [result.heading, "good", "bad", *(name.replace("_", " ") for name in result.metrics)]


def _cells(result: Average, row: str) -> list[str]:
    return [
        row,
        *result.images[row],
        *(_shown(result.values[row][name]) for name in result.metrics),
    ]


def _shown(values: Sequence[float]) -> str:
    if not values:
        return "n/a"
    mean, deviation, _ = _summary(values)
    return f"{mean:.1f} ± {deviation:.1f}" if len(values) > 1 else f"{mean:.1f}"


def _exact(values: Sequence[float]) -> list[str]:
    if not values:
        return ["", "", "0"]
    mean, deviation, count = _summary(values)
    return [f"{mean:.4f}", f"{deviation:.4f}", str(count)]


def _summary(values: Sequence[float]) -> tuple[float, float, int]:
    return (
        statistics.mean(values),
        statistics.stdev(values) if len(values) > 1 else 0.0,
        len(values),
    )
