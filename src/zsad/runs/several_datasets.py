"""Summary of a test on several datasets: one table of all, and published numbers beside it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from zsad.config.renamed_keys import rename_config
from zsad.data.layouts import LAYOUTS
from zsad.reports import published_table
from zsad.reports.html.page import write_page
from zsad.reports.published_numbers import Comparison
from zsad.reports.results_table import Rows, join_datasets, screen_table, write_tables
from zsad.reports.run_page import RunPage
from zsad.reports.saved_results import load_results
from zsad.runs.evaluation_info import EvaluationInfo
from zsad.types import Results

log = logging.getLogger("zsad")


class Summary:
    """Results of a test, dataset by dataset."""

    def __init__(self) -> None:
        self._results: dict[str, Results] = {}
        self._notes: dict[str, Sequence[str]] = {}
        self._published: list[Comparison] = []

    def add(
        self, name: str, results: Results, notes: Sequence[str], published: Sequence[Comparison]
    ) -> None:
        """Add a dataset: its results, notes for their readers, and published numbers."""
        self._results[name] = results
        self._notes[name] = notes
        self._published += published

    def restore(self, name: str, folder: Path, info: EvaluationInfo) -> bool:
        """Add a dataset that an earlier, stopped start of the test has finished.

        Returns ``False`` if it was not finished, or tested with other settings.
        """
        saved = load_results(folder, info.deciding_settings, rename_config)
        if saved is None:
            return False
        log.info("tested before: %s", os.path.relpath(folder))
        results, notes = saved
        self.add(name, results, notes, info.compare_with_published(results))
        return True

    def write(self, folder: Path, model: str, *, has_several: bool) -> None:
        """Show and write the table of several datasets, and published numbers beside it."""
        if has_several:
            self._write_table(folder)
        published = [row for row in self._published if row.published]
        if published:
            title = f"{model}: published and measured"
            published_table.write_comparison(self._published, folder, title)
            Console().print(published_table.screen_table(published, title))

    def _write_table(self, folder: Path) -> None:
        """Write the table of all datasets, with a mean for each group of them."""
        groups = {}
        notes = []
        links = {}
        for name in self._results:
            groups[name] = LAYOUTS[name].group if name in LAYOUTS else "others"
            notes += [f"{name}: {note}" for note in self._notes[name]]
            links[name] = f"{name}/report.html"
        title = "all datasets"
        rows = Rows("dataset", groups)
        joined = join_datasets(self._results)
        write_tables(joined, folder, title, notes, rows)
        write_page(RunPage(title, joined, rows, notes, links=links), folder)
        Console().print(screen_table(joined, title, notes, rows))
        log.info("written: %s (report.html, results.csv, results.md)", os.path.relpath(folder))
