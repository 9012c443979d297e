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
from zsad.reports.text_tables import TextTable, footnote_mark, format_number
from zsad.types import Results

MEAN = "mean"


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
        groups = sorted({self.groups.get(row, "") for row in results.values})
        means: dict[str, Results] = {}
        for group in groups:
            if group and len(groups) > 1:
                means[f"{MEAN} of {group}"] = _only_group(results, self, group)
        means[MEAN] = results
        return means

    def sorted(self, results: Results) -> list[str]:
        """Sort rows by group, and as people do: ``pcb2`` before ``pcb10``."""
        return sorted(results.values, key=lambda row: (self.groups.get(row, ""), _natural(row)))


CATEGORIES = Rows()


def join_datasets(tested: Mapping[str, Results]) -> Results:
    """Return a table with a row for each dataset: the mean of its categories."""
    return Results(
        values={name: results.mean for name, results in tested.items()},
        reasons={name: _undefined_metrics(results) for name, results in tested.items()},
        images={name: _totals(results) for name, results in tested.items()},
    )


def metric_label(metric: str) -> str:
    """Write the name of a metric as papers do.

    >>> metric_label("pixel_aupro_200")
    'pixel AUPRO 200'
    """
    kind, _, name = metric.partition("_")
    return f"{kind} {name.replace('_', ' ').upper()}"


def screen_table(
    results: Results, title: str, notes: Sequence[str] = (), rows: Rows = CATEGORIES
) -> Table:
    """Lay out the results for ``rich.print``, with notes and footnotes below."""
    return text_tables.screen_table(_text_table(results, title, notes, rows))


def markdown_table(
    results: Results, title: str, notes: Sequence[str] = (), rows: Rows = CATEGORIES
) -> str:
    """Write the results as Markdown, with notes and footnotes below."""
    return text_tables.markdown_page(_text_table(results, title, notes, rows))


def csv_table(results: Results, notes: Sequence[str] = (), rows: Rows = CATEGORIES) -> str:
    """Write the results as CSV: percent with four decimals, empty where undefined; remarks last.

    The remark of a category gives the reasons of its undefined metrics; that of the mean, the notes.
    """
    lines: list[list[object]] = []
    for row in rows.sorted(results):
        values = [_exact_percent(results.values[row][name]) for name in results.metrics]
        reasons = [f"{name}: {reason}" for name, reason in results.reasons[row].items()]
        lines.append([row, *results.images[row], *values, "; ".join(reasons)])
    for name, group in rows.means(results).items():
        values = [_exact_percent(value) for value in group.mean.values()]
        remark = "; ".join(notes) if name == MEAN else ""
        lines.append([name, *_totals(group), *values, remark])
    heading = [rows.heading, "normal", "defective", *results.metrics, "remarks"]
    return text_tables.csv_text(heading, lines)


def intervals_table(results: Results) -> str:
    """Write the confidence intervals as CSV, in percent with four decimals; the means last."""
    intervals = {row: results.intervals.get(row, {}) for row in CATEGORIES.sorted(results)}
    intervals[MEAN] = results.mean_intervals
    lines = []
    for row, metrics in intervals.items():
        for metric, (low, high) in metrics.items():
            lines.append((row, metric, _exact_percent(low), _exact_percent(high)))
    return text_tables.csv_text(["category", "metric", "low", "high"], lines)


def write_tables(
    results: Results, folder: Path, title: str, notes: Sequence[str] = (), rows: Rows = CATEGORIES
) -> tuple[Path, Path]:
    """Write ``results.csv`` and ``results.md`` and return their paths.

    Also writes ``intervals.csv`` if there are confidence intervals.
    """
    if results.mean_intervals:
        write_whole(folder / "intervals.csv", intervals_table(results))
    return (
        write_whole(folder / "results.csv", csv_table(results, notes, rows)),
        write_whole(folder / "results.md", markdown_table(results, title, notes, rows)),
    )


def _text_table(results: Results, title: str, notes: Sequence[str], rows: Rows) -> TextTable:
    reasons = _different_reasons(results, rows)
    body = []
    for row in rows.sorted(results):
        cells = [row, *map(str, results.images[row])]
        for metric in results.metrics:
            reason = results.reasons[row].get(metric)
            mark = "" if reason is None else footnote_mark(reasons.index(reason) + 1)
            cells.append(_percent(results.values[row][metric], mark))
        body.append(cells)
    means = []
    for name, group in rows.means(results).items():
        counts = map(str, _totals(group))
        means.append([name, *counts, *map(_percent, group.mean.values())])
    return TextTable(
        title=title,
        heading=[rows.heading, "good", "bad", *map(metric_label, results.metrics)],
        rows=body,
        means=means,
        notes=[*_footnotes(results, reasons, rows), *notes],
    )


def _footnotes(results: Results, reasons: Sequence[str], rows: Rows) -> list[str]:
    lines = [f"{footnote_mark(i)} {reason}" for i, reason in enumerate(reasons, start=1)]
    if reasons:
        lines.append(f"The mean of a metric leaves out each {rows.heading} where it is n/a.")
    if results.mean_intervals:
        ranges = []
        for name, (low, high) in results.mean_intervals.items():
            ranges.append(f"{metric_label(name)} {100 * low:.1f}–{100 * high:.1f}")
        lines.append(f"95 % intervals of the means, by resampling the images: {', '.join(ranges)}.")
    return lines


def _different_reasons(results: Results, rows: Rows) -> list[str]:
    """Return each reason once, in the order of the table."""
    reasons: list[str] = []
    for row in rows.sorted(results):
        for metric in results.metrics:
            reason = results.reasons[row].get(metric)
            if reason is not None and reason not in reasons:
                reasons.append(reason)
    return reasons


def _only_group(results: Results, rows: Rows, group: str) -> Results:
    names = [name for name in results.values if rows.groups.get(name, "") == group]
    return Results(
        values={name: results.values[name] for name in names},
        reasons={name: results.reasons[name] for name in names},
        images={name: results.images[name] for name in names},
    )


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
    counts = results.images.values()
    return sum(normal for normal, _ in counts), sum(defective for _, defective in counts)


def _natural(name: str) -> list[tuple[int, str]]:
    """Split a name into its numbers and the text before each.

    >>> _natural("pcb10")
    [(10, 'pcb'), (-1, '')]
    """
    pieces = []
    for text, number in re.findall(r"([^0-9]*)([0-9]*)", name.lower()):
        pieces.append((int(number) if number else -1, text))
    return pieces
