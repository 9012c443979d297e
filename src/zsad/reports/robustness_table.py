"""How much of the results is lost when images or words change: as CSV, as Markdown, and for the report."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsad.atomic_write import write_whole
from zsad.reports.run_page import RobustnessTable, metric_label


@dataclass(frozen=True)
class Trial:
    """A test on changed images, or with other words.

    Attributes:
        change: What was changed: ``blur``, ``rotation``; or the state whose words were, ``anomalous``.
        level: The severity, or the words.
        values: The mean of each metric over the categories, in [0, 1]; NaN where undefined.
    """

    change: str
    level: int | str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Trials:
    """All trials of one method on one dataset.

    Attributes:
        clean: What is reached without any change.
        corrupted: The trials on changed images.
        reworded: The trials with other words; none where a method has none, or they were left alone.
    """

    clean: Mapping[str, float]
    corrupted: Sequence[Trial]
    reworded: Sequence[Trial]

    def drop(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return what is lost of each metric, in percentage points; negative where something is won."""
        return {name: 100 * (clean - values[name]) for name, clean in self.clean.items()}

    def mean_drops(self) -> dict[str, dict[str, float]]:
        """Return for each corruption the drop of each metric, mean over the severities."""
        drops: dict[str, list[dict[str, float]]] = {}
        for trial in self.corrupted:
            drops.setdefault(trial.change, []).append(self.drop(trial.values))
        return {
            change: {name: statistics.fmean(drop[name] for drop in rows) for name in self.clean}
            for change, rows in drops.items()
        }

    def spread(self) -> dict[str, dict[str, float]]:
        """Return lowest, mean, highest value and standard deviation of each metric over the wordings."""
        columns = {name: [trial.values[name] for trial in self.reworded] for name in self.clean}
        measures = {
            "lowest": min,
            "mean": statistics.fmean,
            "highest": max,
            "standard deviation": _deviation,
        }
        if not self.reworded:
            return {}
        return {
            measure: {n: take(v) for n, v in columns.items()} for measure, take in measures.items()
        }


def write_robustness(trials: Trials, folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``robustness.csv`` and ``robustness.md`` and return their paths."""
    return (
        write_whole(folder / "robustness.csv", csv_table(trials)),
        write_whole(folder / "robustness.md", markdown(trials, title)),
    )


def csv_table(trials: Trials) -> str:
    """Write a line per trial: values in percent with four decimals, then what is lost, in percentage points."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["change", "level", *trials.clean, *(f"{name}_drop" for name in trials.clean)])
    for trial in (Trial("clean", 0, trials.clean), *trials.corrupted, *trials.reworded):
        numbers = [
            *(100 * value for value in trial.values.values()),
            *trials.drop(trial.values).values(),
        ]
        writer.writerow(
            [trial.change, trial.level, *("" if math.isnan(n) else f"{n:.4f}" for n in numbers)]
        )
    return buffer.getvalue()


def markdown(trials: Trials, title: str) -> str:
    """Write the drops as Markdown: per corruption, per severity, and the spread over wordings."""
    names = [metric_label(name) for name in trials.clean]
    parts = [
        f"# {title}",
        "",
        *_table(["", *names], [["clean, in percent", *_percents(trials.clean)]]),
    ]
    if trials.corrupted:
        mean = [
            [change, *map(_points, drop.values())] for change, drop in trials.mean_drops().items()
        ]
        each = [
            [t.change, str(t.level), *map(_points, trials.drop(t.values).values())]
            for t in trials.corrupted
        ]
        parts += [
            "## Drop in points, mean over severities",
            "",
            *_table(["corruption", *names], mean),
        ]
        parts += [
            "## Drop in points at each severity",
            "",
            *_table(["corruption", "severity", *names], each),
        ]
    if trials.reworded:
        words = [[t.change, str(t.level), *_percents(t.values)] for t in trials.reworded]
        words += [
            [f"**{measure}**", "", *_percents(values)]
            for measure, values in trials.spread().items()
        ]
        parts += ["## Other words, in percent", "", *_table(["state", "words", *names], words)]
    return "\n".join(parts)


def page_table(trials: Trials) -> RobustnessTable:
    """Return the table of the report: what is lost at each severity and with each wording."""
    rows = [
        [trial.change, trial.level, *trials.drop(trial.values).values()]
        for trial in (*trials.corrupted, *trials.reworded)
    ]
    clean = ", ".join(
        f"{metric_label(name)} {_cell(100 * value)}" for name, value in trials.clean.items()
    )
    heading = [
        "change",
        "severity or words",
        *(f"{metric_label(name)} lost" for name in trials.clean),
    ]
    return RobustnessTable(
        heading, rows, f"Percentage points that are lost; without any change: {clean}."
    )


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heading = list(heading)
    lines = [heading, [":---", *("---:" for _ in heading[1:])], *rows]
    return [*(f"| {' | '.join(map(_escaped, line))} |" for line in lines), ""]


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values))  # NaN where one is; the standard library's would stop


def _percents(values: Mapping[str, float]) -> list[str]:
    return [_cell(100 * value) for value in values.values()]


def _cell(number: float) -> str:
    return "n/a" if math.isnan(number) else f"{number:.1f}"


def _points(number: float) -> str:
    return "n/a" if math.isnan(number) else f"{number:+.1f}"
