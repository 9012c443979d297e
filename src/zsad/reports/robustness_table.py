"""Loss of performance under changed images or words: as CSV, as Markdown, and for the report."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsad.atomic_write import write_whole
from zsad.reports.results_table import metric_label
from zsad.reports.run_page import RobustnessTable
from zsad.reports.text_tables import Bold, TextTable, csv_text, format_number, markdown_lines


@dataclass(frozen=True)
class Trial:
    """A test on changed images, or with other words.

    Attributes:
        change: The corruption, such as ``blur``; or the state with other words: ``anomalous``.
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
        clean: The metrics without any change.
        corrupted: The trials on changed images.
        reworded: The trials with other words; empty for a method without words.
    """

    clean: Mapping[str, float]
    corrupted: Sequence[Trial]
    reworded: Sequence[Trial]

    def drop(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the loss of each metric in percentage points; negative for a gain."""
        return {name: 100 * (clean - values[name]) for name, clean in self.clean.items()}

    def mean_drops(self) -> dict[str, dict[str, float]]:
        """Return for each corruption the drop of each metric, mean over the severities."""
        drops: dict[str, list[dict[str, float]]] = {}
        for trial in self.corrupted:
            drops.setdefault(trial.change, []).append(self.drop(trial.values))
        means: dict[str, dict[str, float]] = {}
        for change, severities in drops.items():
            means[change] = {
                name: statistics.fmean(drop[name] for drop in severities) for name in self.clean
            }
        return means

    def spread(self) -> dict[str, dict[str, float]]:
        """Return lowest, mean, highest value and deviation of each metric over the wordings."""
        if not self.reworded:
            return {}
        measures: dict[str, Callable[[Sequence[float]], float]] = {
            "lowest": min,
            "mean": statistics.fmean,
            "highest": max,
            "standard deviation": _deviation,
        }
        spread: dict[str, dict[str, float]] = {measure: {} for measure in measures}
        for name in self.clean:
            values = [trial.values[name] for trial in self.reworded]
            for measure, function in measures.items():
                spread[measure][name] = function(values)
        return spread


def write_robustness(trials: Trials, folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``robustness.csv`` and ``robustness.md`` and return their paths."""
    return (
        write_whole(folder / "robustness.csv", csv_table(trials)),
        write_whole(folder / "robustness.md", markdown(trials, title)),
    )


def csv_table(trials: Trials) -> str:
    """Write a line per trial: values in percent with four decimals, then drops in points."""
    rows = []
    for trial in (Trial("clean", 0, trials.clean), *trials.corrupted, *trials.reworded):
        numbers = [100 * value for value in trial.values.values()]
        numbers += trials.drop(trial.values).values()
        cells = [format_number(number, ".4f", undefined="") for number in numbers]
        rows.append([trial.change, trial.level, *cells])
    drops = [f"{name}_drop" for name in trials.clean]
    return csv_text(["change", "level", *trials.clean, *drops], rows)


def markdown(trials: Trials, title: str) -> str:
    """Write the drops as Markdown: per corruption, per severity, and the spread over wordings."""
    metrics = [metric_label(name) for name in trials.clean]
    clean = TextTable(["", *metrics], [["clean, in percent", *_percents(trials.clean)]])
    lines = [f"# {title}", "", *_lines(clean)]
    if trials.corrupted:
        lines += ["## Drop in points, mean over severities", ""]
        lines += _lines(TextTable(["corruption", *metrics], _mean_rows(trials)))
        lines += ["## Drop in points at each severity", ""]
        lines += _lines(TextTable(["corruption", "severity", *metrics], _severity_rows(trials)))
    if trials.reworded:
        lines += ["## Other words, in percent", ""]
        lines += _lines(TextTable(["state", "words", *metrics], _wording_rows(trials)))
    return "\n".join(lines)


def page_table(trials: Trials) -> RobustnessTable:
    """Return the table of the report: the drop at each severity and with each wording."""
    rows = []
    for trial in (*trials.corrupted, *trials.reworded):
        rows.append([trial.change, trial.level, *trials.drop(trial.values).values()])
    labels = [metric_label(name) for name in trials.clean]
    clean = [
        f"{label} {percent}" for label, percent in zip(labels, _percents(trials.clean), strict=True)
    ]
    heading = ["change", "severity or words", *(f"{label} lost" for label in labels)]
    remark = f"Percentage points that are lost; without any change: {', '.join(clean)}."
    return RobustnessTable(heading, rows, remark)


def _mean_rows(trials: Trials) -> list[list[str]]:
    return [[change, *_points(drop.values())] for change, drop in trials.mean_drops().items()]


def _severity_rows(trials: Trials) -> list[list[str]]:
    rows = []
    for trial in trials.corrupted:
        drops = trials.drop(trial.values).values()
        rows.append([trial.change, str(trial.level), *_points(drops)])
    return rows


def _wording_rows(trials: Trials) -> list[list[str]]:
    rows = []
    for trial in trials.reworded:
        rows.append([trial.change, str(trial.level), *_percents(trial.values)])
    for measure, values in trials.spread().items():
        rows.append([Bold(measure), "", *_percents(values)])
    return rows


def _lines(table: TextTable) -> list[str]:
    return [*markdown_lines(table), ""]


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values))  # NaN if a value is NaN; the standard library would raise


def _percents(values: Mapping[str, float]) -> list[str]:
    return [format_number(100 * value, ".1f") for value in values.values()]


def _points(drops: Iterable[float]) -> list[str]:
    return [format_number(drop, "+.1f") for drop in drops]
