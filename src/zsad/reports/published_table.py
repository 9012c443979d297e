"""The table of published numbers beside measured ones, in percent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from zsad.atomic_write import write_whole
from zsad.reports import text_tables
from zsad.reports.published_numbers import Comparison
from zsad.reports.text_tables import TextTable, csv_text, footnote_mark, format_number

Comparisons = Sequence[Comparison]
_COLUMNS = (
    "dataset",
    "category",
    "metric",
    "measured",
    "published",
    "difference",
    "source",
    "remark",
)


def screen_table(rows: Comparisons, title: str) -> Table:
    """Lay out a comparison for ``rich.print``; sources and remarks stand below."""
    return text_tables.screen_table(_text_table(rows, title))


def markdown_table(rows: Comparisons, title: str) -> str:
    """Write a comparison as Markdown, with sources and remarks below."""
    return text_tables.markdown_page(_text_table(rows, title))


def csv_table(rows: Comparisons) -> str:
    """Write a comparison as CSV, empty where nothing is measured, published or comparable."""
    lines = []
    for row in rows:
        measured = format_number(row.measured, ".4f", undefined="")
        difference = format_number(row.difference, ".4f", undefined="")
        value = row.published.value if row.published else ""
        source = row.published.source if row.published else ""
        place = (row.dataset, row.category, row.metric)
        lines.append((*place, measured, value, difference, source, row.remark))
    return csv_text(_COLUMNS, lines)


def write_comparison(rows: Comparisons, folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``published.csv`` and ``published.md`` and return their paths."""
    table = write_whole(folder / "published.csv", csv_table(rows))
    page = write_whole(folder / "published.md", markdown_table(rows, title))
    return table, page


def _text_table(rows: Comparisons, title: str) -> TextTable:
    footnotes = list(dict.fromkeys(_footnote(row) for row in rows if row.published))
    cells = []
    for row in rows:
        published = "n/a"
        if row.published:
            published = f"{row.published.value}{footnote_mark(footnotes.index(_footnote(row)) + 1)}"
        measured = format_number(row.measured, ".1f")
        difference = format_number(row.difference, "+.1f")
        metric = row.metric.replace("_", " ")
        cells.append([row.dataset, row.category, metric, measured, published, difference])
    notes = [f"{footnote_mark(i)} {remark}" for i, remark in enumerate(footnotes, start=1)]
    heading = _COLUMNS[:-2]  # source and remark stand below
    return TextTable(heading, cells, text_columns=3, title=title, notes=notes)


def _footnote(row: Comparison) -> str:
    source = row.published.source if row.published else ""
    if not row.remark:
        return source
    comparable = "not comparable: " if row.mismatches else ""
    return f"{source}; {comparable}{row.remark}"
