"""The table of results: on screen, as Markdown and as CSV.

Percent with one decimal, as papers print them; the CSV files have four.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from zsad.atomic_write import write_whole
from zsad.reports import text_tables
from zsad.reports.text_tables import TextTable, csv_text, footnote_mark, format_number
from zsad.types import Results

MEAN = "mean"
_REASONS_SHOWN = 3
Notes = Sequence[str]


@dataclass(frozen=True)
class Rows:
    """Kind and grouping of the rows of a table.

    Attributes:
        heading: ``category``, or ``dataset`` where a run tested several.
        groups: The group of each row; every group gets a mean of its own. Empty for one group.
    """

    heading: str = "category"
    groups: Mapping[str, str] = field(default_factory=dict)

    def means(self, results: Results) -> dict[str, Results]:
        """Return the results below each mean: of each group, if there are several; last of all."""
        names = {self.groups.get(row, "") for row in results.values}
        means: dict[str, Results] = {}
        if len(names) > 1:
            for name in sorted(names - {""}):
                means[f"{MEAN} of {name}"] = _only_group(results, self, name)
        means[MEAN] = results
        return means

    def sorted(self, results: Results) -> list[str]:
        """Sort rows by group, and as people do: ``pcb2`` before ``pcb10``."""

        def position(row: str) -> tuple[str, list[tuple[int, str]]]:
            group = self.groups.get(row, "")
            return group, _natural(row)

        return sorted(results.values, key=position)


CATEGORIES = Rows()


def join_datasets(tested: Mapping[str, Results]) -> Results:
    """Return a table with a row for each dataset: the mean of its categories."""
    joined = Results({}, {}, {})
    for name, results in tested.items():
        joined.values[name] = results.mean
        joined.reasons[name] = _undefined_metrics(results)
        joined.images[name] = _totals(results)
    return joined


def metric_label(metric: str) -> str:
    """Write the name of a metric as papers do.

    >>> metric_label("pixel_aupro_200")
    'pixel AUPRO 200'
    """
    kind, _, name = metric.partition("_")
    words = name.replace("_", " ")
    return f"{kind} {words.upper()}"


def screen_table(results: Results, title: str, notes: Notes = (), rows: Rows = CATEGORIES) -> Table:
    """Lay out the results for ``rich.print``, with notes and footnotes below."""
    table = _text_table(results, title, notes, rows)
    return text_tables.screen_table(table)


def markdown_table(results: Results, title: str, notes: Notes = (), rows: Rows = CATEGORIES) -> str:
    """Write the results as Markdown, with notes and footnotes below."""
    table = _text_table(results, title, notes, rows)
    return text_tables.markdown_page(table)


def csv_table(results: Results, notes: Notes = (), rows: Rows = CATEGORIES) -> str:
    """Write the results as CSV: percent with four decimals, empty where undefined; remarks last.

    The remark of a category gives the reasons of its undefined metrics, that of the mean the notes.
    """
    lines = []
    for name in rows.sorted(results):
        line = [name, *results.images[name]]
        line += map(_exact_percent, results.values[name].values())
        remarks = []
        for metric, reason in results.reasons[name].items():
            remarks.append(f"{metric}: {reason}")
        line.append("; ".join(remarks))
        lines.append(line)
    for name, group in rows.means(results).items():
        line = [name, *_totals(group)]
        line += map(_exact_percent, group.mean.values())
        line.append("; ".join(notes) if name == MEAN else "")
        lines.append(line)
    heading = [rows.heading, "normal", "defective"]
    heading += results.metrics
    heading.append("remarks")
    return csv_text(heading, lines)


def intervals_table(results: Results) -> str:
    """Write the confidence intervals as CSV, in percent with four decimals; the means last.

    Empty where there is none, with the reason as a remark.
    """
    lines = []
    for row in CATEGORIES.sorted(results):
        lines += _interval_lines(row, results.intervals.get(row, {}))
        for metric, reason in results.interval_reasons.get(row, {}).items():
            lines.append([row, metric, "", "", reason])
    lines += _interval_lines(MEAN, results.mean_intervals)
    return csv_text(["category", "metric", "low", "high", "remarks"], lines)


def missing_intervals(results: Results) -> str:
    """Return a sentence with the categories that are too small for intervals; empty without any."""
    reasons = []
    for row in CATEGORIES.sorted(results):
        of_row = results.interval_reasons.get(row, {})
        reasons += [f"{row}: {reason}" for reason in dict.fromkeys(of_row.values())]
    if not reasons:
        return ""
    shown = "; ".join(reasons[:_REASONS_SHOWN])
    more = len(reasons) - _REASONS_SHOWN
    rest = f"; and {more} more categories" if more > 0 else ""
    return f"95 % intervals of the means: n/a ({shown}{rest})."


def write_tables(
    results: Results, folder: Path, title: str, notes: Notes = (), rows: Rows = CATEGORIES
) -> tuple[Path, Path]:
    """Write ``results.csv`` and ``results.md`` and return their paths.

    Also writes ``intervals.csv`` if there are confidence intervals, or reasons why not.
    """
    if results.intervals or results.interval_reasons:
        write_whole(folder / "intervals.csv", intervals_table(results))
    table = csv_table(results, notes, rows)
    page = markdown_table(results, title, notes, rows)
    return (write_whole(folder / "results.csv", table), write_whole(folder / "results.md", page))


def _text_table(results: Results, title: str, notes: Notes, rows: Rows) -> TextTable:
    footnotes = _Footnotes()
    body = []
    for row in rows.sorted(results):
        cells = [row, *map(str, results.images[row])]
        reasons = results.reasons[row]
        for metric in results.metrics:
            mark = footnotes.mark(reasons.get(metric))
            cells.append(_percent(results.values[row][metric], mark))
        body.append(cells)
    means = []
    for name, group in rows.means(results).items():
        cells = [name, *map(str, _totals(group))]
        cells += map(_percent, group.mean.values())
        means.append(cells)
    below = footnotes.lines()
    if below:
        below.append(f"The mean of a metric leaves out each {rows.heading} where it is n/a.")
    if results.mean_intervals:
        below.append(_intervals_note(results))
    elif results.interval_reasons:
        below.append(missing_intervals(results))
    heading = [rows.heading, "good", "bad"]
    heading += map(metric_label, results.metrics)
    return TextTable(heading, body, means, title=title, notes=[*below, *notes])


class _Footnotes:
    """The different reasons of undefined metrics, in the order of the table."""

    def __init__(self) -> None:
        self._reasons: list[str] = []

    def mark(self, reason: str | None) -> str:
        """Return the mark of a reason; none without a reason."""
        if reason is None:
            return ""
        if reason not in self._reasons:
            self._reasons.append(reason)
        return footnote_mark(self._reasons.index(reason) + 1)

    def lines(self) -> list[str]:
        """Return each reason behind its mark."""
        lines = []
        for number, reason in enumerate(self._reasons, start=1):
            lines.append(f"{footnote_mark(number)} {reason}")
        return lines


def _intervals_note(results: Results) -> str:
    ranges = []
    for name, interval in results.mean_intervals.items():
        low, high = map(_percent, interval)
        label = metric_label(name)
        ranges.append(f"{label} {low}–{high}")
    joined = ", ".join(ranges)
    return f"95 % intervals of the means, by resampling the images: {joined}."


def _interval_lines(row: str, intervals: Mapping[str, tuple[float, float]]) -> list[list[str]]:
    lines = []
    for metric, interval in intervals.items():
        ends = map(_exact_percent, interval)
        lines.append([row, metric, *ends, ""])
    return lines


def _only_group(results: Results, rows: Rows, group: str) -> Results:
    part = Results({}, {}, {})
    for name in results.values:
        if rows.groups.get(name, "") == group:
            part.values[name] = results.values[name]
            part.reasons[name] = results.reasons[name]
            part.images[name] = results.images[name]
    return part


def _undefined_metrics(results: Results) -> dict[str, str]:
    """Return the metrics that no category of a dataset defines, with the first reason of each."""
    undefined: dict[str, str] = {}
    for metric, mean in results.mean.items():
        if not math.isnan(mean):
            continue
        for reasons in results.reasons.values():
            if metric in reasons:
                undefined.setdefault(metric, reasons[metric])
    return undefined


def _percent(value: float, mark: str = "") -> str:
    return format_number(100 * value, ".1f", undefined=f"n/a{mark}")


def _exact_percent(value: float) -> str:
    return format_number(100 * value, ".4f", undefined="")


def _totals(results: Results) -> tuple[int, int]:
    """Return the numbers of normal and of defective images."""
    normal = 0
    defective = 0
    for counts in results.images.values():
        normal += counts[0]
        defective += counts[1]
    return normal, defective


def _natural(name: str) -> list[tuple[int, str]]:
    """Split a name into its numbers and the text before each.

    >>> _natural("pcb10")
    [(10, 'pcb'), (-1, '')]
    """
    pieces = []
    for text, digits in re.findall(r"([^0-9]*)([0-9]*)", name.lower()):
        number = int(digits) if digits else -1
        pieces.append((number, text))
    return pieces
