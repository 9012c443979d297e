"""Tables of a report page, ready for the templates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zsad.reports.html.rendering import percent_range
from zsad.reports.published_numbers import Comparison, PublishedNumber
from zsad.reports.results_table import Rows, metric_label
from zsad.reports.run_page import Intervals, RobustnessTable, RunPage
from zsad.reports.table_cells import Cell, number_cell
from zsad.types import Results

Row = Sequence[Cell]

_PUBLISHED_HEADING = (
    "dataset",
    "category",
    "metric",
    "measured",
    "published",
    "difference",
    "source",
    "remark",
)


@dataclass(frozen=True)
class PageTable:
    """A sortable table.

    Attributes:
        caption: Name of the table, for screen readers.
        heading: Names of the columns.
        body: Rows, sorted by the reader.
        foot: Rows that stay last.
    """

    caption: str
    heading: Sequence[str]
    body: Sequence[Row]
    foot: Sequence[Row] = ()

    def is_numeric(self, column: int) -> bool:
        """Tell whether a column is sorted by numbers."""
        if not self.body:
            return False
        return self.body[0][column].value is not None


def results_table(run: RunPage) -> PageTable:
    """Return the metrics of every row, with the means in the foot."""
    results = run.results
    body = []
    for row in run.rows.sorted(results):
        link = run.links.get(row, "")
        intervals = run.intervals.get(row, {})
        cells = [Cell(row, link=link)]
        cells += _count_cells(results.images[row])
        cells += _metric_cells(results, row, intervals)
        body.append(cells)
    foot = []
    for name, group in run.rows.means(results).items():
        intervals = run.mean_intervals if group is results else {}
        foot.append(_mean_row(name, group, intervals))
    labels = [metric_label(metric) for metric in results.metrics]
    heading = [run.rows.heading, "good", "defective", *labels]
    return PageTable(f"Results per {run.rows.heading}", heading, body, foot)


def robustness_table(table: RobustnessTable) -> PageTable:
    """Return words, whole numbers such as a severity, and numbers in percent as cells."""
    body = []
    for row in table.rows:
        cells = [_plain_cell(value) for value in row]
        body.append(cells)
    return PageTable("Robustness", table.heading, body)


def published_table(rows: Sequence[Comparison]) -> PageTable:
    """Return published numbers beside measured ones; numbers without a counterpart are left out."""
    body = []
    for row in rows:
        if row.published is not None:
            body.append(_published_row(row, row.published))
    return PageTable("Published numbers", _PUBLISHED_HEADING, body)


def undefined_reasons(results: Results, rows: Rows) -> dict[str, list[str]]:
    """Return each reason of undefined values, with the names of its rows."""
    names_of_reason: dict[str, list[str]] = {}
    for row in rows.sorted(results):
        reasons = results.reasons.get(row, {})
        for reason in dict.fromkeys(reasons.values()):
            names_of_reason.setdefault(reason, []).append(row)
    return names_of_reason


def count_images(results: Results) -> tuple[int, int]:
    """Return the numbers of normal and of anomalous images."""
    normal = 0
    anomalous = 0
    for counts in results.images.values():
        normal += counts[0]
        anomalous += counts[1]
    return normal, anomalous


def _metric_cells(results: Results, row: str, intervals: Intervals) -> list[Cell]:
    values = results.values[row]
    reasons = results.reasons.get(row, {})
    no_intervals = results.interval_reasons.get(row, {})
    cells = []
    for metric in results.metrics:
        note = percent_range(intervals.get(metric))
        hint = reasons.get(metric, "")
        if metric in no_intervals:
            note = "interval n/a"
            hint = no_intervals[metric]
        cell = number_cell(100 * values[metric], note=note, hint=hint)
        cells.append(cell)
    return cells


def _mean_row(name: str, group: Results, intervals: Intervals) -> Row:
    cells = [Cell(name)]
    cells += _count_cells(count_images(group))
    for metric, value in group.mean.items():
        note = percent_range(intervals.get(metric))
        cells.append(number_cell(100 * value, note=note))
    return cells


def _count_cells(counts: tuple[int, int]) -> list[Cell]:
    return [_plain_cell(count) for count in counts]


def _published_row(row: Comparison, published: PublishedNumber) -> Row:
    remark = row.remark
    if row.mismatches:
        remark = f"not comparable: {remark}"
    difference = "n/a"
    if not math.isnan(row.difference):
        difference = f"{row.difference:+.1f}"
    return [
        Cell(row.dataset),
        Cell(row.category),
        Cell(metric_label(row.metric)),
        number_cell(row.measured),
        Cell(f"{published.value:g}", published.value),
        Cell(difference, row.difference),
        Cell(published.source),
        Cell(remark),
    ]


def _plain_cell(value: str | int | float) -> Cell:
    if isinstance(value, str):
        return Cell(value)
    if isinstance(value, float):
        return number_cell(value)
    return Cell(f"{value:,}", value)
