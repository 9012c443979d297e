"""The page of a comparison of runs."""

from __future__ import annotations

from collections.abc import Sequence

from zsad.reports.html.page_tables import PageTable
from zsad.reports.html.rendering import render
from zsad.reports.table_cells import COMPARISON_TITLE, CellTable


def render_comparison(tables: Sequence[CellTable]) -> str:
    """Render a comparison of runs as HTML: a table for each set of test images."""
    sections = []
    for table in tables:
        page_table = PageTable(table.title, table.heading, table.rows)
        sections.append((page_table, table.notes))
    return render("comparison.html", COMPARISON_TITLE, tables=sections)
