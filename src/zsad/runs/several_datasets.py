"""A test of one dataset after the other, and the table of all; one that was stopped goes on with those not finished."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from zsad.config.renamed_keys import rename_config
from zsad.data.layouts import LAYOUTS
from zsad.reports import published_numbers
from zsad.reports.html.page import write_page
from zsad.reports.results_table import Rows, join_datasets, screen_table, write_tables
from zsad.reports.run_page import RunPage
from zsad.reports.saved_results import load_results
from zsad.runs.results import EvaluationInfo, relative_path
from zsad.types import Results

log = logging.getLogger("zsad")


class Summary:
    """What was measured, dataset by dataset."""

    def __init__(self) -> None:
        self._results: dict[str, Results] = {}
        self._notes: dict[str, Sequence[str]] = {}
        self._published: list[published_numbers.Comparison] = []

    def add(
        self,
        name: str,
        results: Results,
        notes: Sequence[str],
        beside: Sequence[published_numbers.Comparison],
    ) -> None:
        """Add a dataset: its results, what a reader has to know, and what has been published."""
        self._results[name], self._notes[name] = results, notes
        self._published += beside

    def restore(self, name: str, folder: Path, info: EvaluationInfo) -> bool:
        """Add a dataset that was finished before the test of all of them was stopped.

        Returns ``False`` where it was not, or was tested otherwise.
        """
        kept = load_results(folder, info.deciding_settings, rename_config)
        if kept is None:
            return False
        log.info("tested before: %s", relative_path(folder))
        self.add(name, *kept, info.compare_with_published(kept[0]))
        return True

    def write(self, folder: Path, model: str, several: bool) -> None:
        """Show the one table of ``several`` datasets, and published numbers beside measured ones; write both."""
        if several:
            self._write_table(folder)
        if any(row.published for row in self._published):
            title = f"{model}: published and measured"
            published_numbers.write_comparison(self._published, folder, title)
            Console().print(
                published_numbers.screen_table(
                    [row for row in self._published if row.published], title
                )
            )

    def _write_table(self, folder: Path) -> None:
        """Show the table with a mean for each group of datasets; leave it as CSV and Markdown."""
        groups = {
            name: LAYOUTS[name].group if name in LAYOUTS else "others" for name in self._results
        }
        joined, rows, title = join_datasets(self._results), Rows("dataset", groups), "all datasets"
        said = [f"{name}: {note}" for name in self._results for note in self._notes[name]]
        write_tables(joined, folder, title, said, rows)
        links = {name: f"{name}/report.html" for name in self._results}
        write_page(RunPage(title, joined, rows, said, links=links), folder)
        Console().print(screen_table(joined, title, said, rows))
        log.info("written: %s (report.html, results.csv, results.md)", relative_path(folder))
