"""Loss of performance under changed images or words: as CSV, as Markdown, and for the report."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsad.atomic_write import write_whole
from zsad.reports.results_table import metric_label
from zsad.reports.run_page import RobustnessTable
from zsad.reports.text_tables import Bold, TextTable, csv_text, format_number, markdown_lines

Values = Mapping[str, float]
Measures = dict[str, dict[str, float]]
Cells = list[list[str]]


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
    values: Values


@dataclass(frozen=True)
class Trials:
    """All trials of one method on one dataset.

    Attributes:
        clean: The metrics without any change.
        corrupted: The trials on changed images.
        reworded: The trials with other words; empty for a method without words.
    """

    clean: Values
    corrupted: Sequence[Trial]
    reworded: Sequence[Trial]

    def drop(self, values: Values) -> dict[str, float]:
        """Return the loss of each metric in percentage points; negative for a gain."""
        drops = {}
        for name, clean in self.clean.items():
            drops[name] = 100 * (clean - values[name])
        return drops

    def mean_drops(self) -> Measures:
        """Return for each corruption the drop of each metric, mean over the severities."""
        severities: dict[str, list[Values]] = {}
        for trial in self.corrupted:
            drops = severities.setdefault(trial.change, [])
            drops.append(self.drop(trial.values))
        means: Measures = {}
        for change, drops in severities.items():
            means[change] = {}
            for name in self.clean:
                means[change][name] = statistics.fmean(drop[name] for drop in drops)
        return means

    def spread(self) -> Measures:
        """Return lowest, mean, highest value and deviation of each metric over the wordings."""
        if not self.reworded:
            return {}
        measures = {
            "lowest": min,
            "mean": statistics.fmean,
            "highest": max,
            "standard deviation": _deviation,
        }
        spread: Measures = {measure: {} for measure in measures}
        for name in self.clean:
            values = [trial.values[name] for trial in self.reworded]
            for measure, function in measures.items():
                spread[measure][name] = function(values)
        return spread


def write_robustness(trials: Trials, folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``robustness.csv`` and ``robustness.md`` and return their paths."""
    table = write_whole(folder / "robustness.csv", csv_table(trials))
    page = write_whole(folder / "robustness.md", markdown(trials, title))
    return table, page


def csv_table(trials: Trials) -> str:
    """Write a line per trial: values in percent with four decimals, then drops in points."""
    rows = []
    clean = Trial("clean", 0, trials.clean)
    for trial in (clean, *trials.corrupted, *trials.reworded):
        row = [trial.change, trial.level]
        for value in trial.values.values():
            row.append(_exact(100 * value))
        row += map(_exact, trials.drop(trial.values).values())
        rows.append(row)
    heading = ["change", "level", *trials.clean]
    heading += [f"{name}_drop" for name in trials.clean]
    return csv_text(heading, rows)


def markdown(trials: Trials, title: str) -> str:
    """Write the drops as Markdown: per corruption, per severity, and the spread over wordings."""
    parts = [f"# {title}", ""]
    parts += _lines(trials, [""], [["clean, in percent", *_percents(trials.clean)]])
    if trials.corrupted:
        parts += ["## Drop in points, mean over severities", ""]
        parts += _lines(trials, ["corruption"], _mean_rows(trials))
        parts += ["## Drop in points at each severity", ""]
        parts += _lines(trials, ["corruption", "severity"], _severity_rows(trials))
    if trials.reworded:
        parts += ["## Other words, in percent", ""]
        parts += _lines(trials, ["state", "words"], _wording_rows(trials))
    return "\n".join(parts)


def page_table(trials: Trials) -> RobustnessTable:
    """Return the table of the report: the drop at each severity and with each wording."""
    rows = []
    for trial in (*trials.corrupted, *trials.reworded):
        drops = trials.drop(trial.values)
        rows.append([trial.change, trial.level, *drops.values()])
    heading = ["change", "severity or words"]
    clean = []
    for name, value in trials.clean.items():
        label = metric_label(name)
        heading.append(f"{label} lost")
        clean.append(f"{label} {_percent(value)}")
    remark = f"Percentage points that are lost; without any change: {', '.join(clean)}."
    return RobustnessTable(heading, rows, remark)


def _lines(trials: Trials, names: list[str], rows: Cells) -> list[str]:
    """Return a table in Markdown; its columns are some names and all metrics."""
    metrics = map(metric_label, trials.clean)
    table = TextTable([*names, *metrics], rows)
    return [*markdown_lines(table), ""]


def _mean_rows(trials: Trials) -> Cells:
    rows = []
    for change, drops in trials.mean_drops().items():
        rows.append([change, *_points(drops)])
    return rows


def _severity_rows(trials: Trials) -> Cells:
    rows = []
    for trial in trials.corrupted:
        drops = trials.drop(trial.values)
        rows.append([trial.change, str(trial.level), *_points(drops)])
    return rows


def _wording_rows(trials: Trials) -> Cells:
    rows = []
    for trial in trials.reworded:
        rows.append([trial.change, str(trial.level), *_percents(trial.values)])
    for measure, values in trials.spread().items():
        rows.append([Bold(measure), "", *_percents(values)])
    return rows


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values))  # NaN if a value is NaN; the standard library would raise


def _exact(number: float) -> str:
    return format_number(number, ".4f", undefined="")


def _percent(value: float) -> str:
    return format_number(100 * value, ".1f")


def _percents(values: Values) -> list[str]:
    return list(map(_percent, values.values()))


def _points(drops: Values) -> list[str]:
    return [format_number(drop, "+.1f") for drop in drops.values()]
