"""The report of a run: one HTML page that needs no server, no network and no other file."""

from __future__ import annotations

from pathlib import Path

from zsad.atomic_write import write_whole
from zsad.reports.html.embedded_images import restoration_cards
from zsad.reports.html.page_tables import (
    count_images,
    published_table,
    results_table,
    robustness_table,
    undefined_reasons,
)
from zsad.reports.html.panels import build_panels
from zsad.reports.html.rendering import render
from zsad.reports.results_table import missing_intervals
from zsad.reports.run_page import REPORT_FILE, RobustnessTable, RunPage

_FOLDED_FACTS = ("packages", "config")  # of a run card
_HIDDEN_FACTS = ("notes",)  # shown at the top of the page


def render_page(run: RunPage) -> str:
    """Render the report of a run as HTML."""
    good, defective = count_images(run.results)
    apart = (*_FOLDED_FACTS, *_HIDDEN_FACTS)
    facts = {key: value for key, value in run.card.items() if key not in apart}
    folded = {key: run.card[key] for key in _FOLDED_FACTS if run.card.get(key)}
    return render(
        "run_page.html",
        run.title,
        run=run,
        good=good,
        defective=defective,
        results_table=results_table(run),
        missing_intervals=missing_intervals(run.results),
        undefined_reasons=undefined_reasons(run.results, run.rows),
        categories=run.rows.sorted(run.results),
        panels=build_panels(run),
        restorations=restoration_cards(run.restored),
        robustness_table=robustness_table(run.robustness or RobustnessTable((), ())),
        published_table=published_table(run.published),
        card_facts=facts,
        folded_facts=folded,
    )


def write_page(run: RunPage, folder: Path) -> Path:
    """Write the report and return its path."""
    return write_whole(folder / REPORT_FILE, render_page(run))
