"""The report of a run: one HTML page that needs nothing but itself, no server, no network, no other file."""

from __future__ import annotations

from pathlib import Path

from zsad.atomic_write import write_whole
from zsad.reports.figures.curve_data import mean_curves
from zsad.reports.html import sections
from zsad.reports.html.markup import Markup, joined, tag
from zsad.reports.run_page import REPORT_FILE, RobustnessTable, RunPage

# What the page may load: pictures inside of it, and nothing else. Browsers hold it to that.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(run: RunPage) -> str:
    """Write the report of a run as HTML."""
    names = run.rows.sorted(run.results)
    drawn = {name: run.curves[name] for name in names if name in run.curves}
    table = run.robustness or RobustnessTable((), ())
    parts = (
        sections.header(run.title, run.results, run.rows, run.notes),
        sections.summary(run.results, run.rows, run.mean_intervals),
        sections.results_table(run.results, run.rows, run.intervals, run.mean_intervals, run.links),
        sections.panels(
            names, drawn, mean_curves(drawn), run.scores, run.heatmaps, run.sheets, run.threshold
        ),
        sections.restored(run.restored),
        sections.robustness(table.heading, table.rows, table.remark),
        sections.published(run.published),
        sections.run_card(run.card),
    )
    return document(run.title, *parts)


def write_page(run: RunPage, folder: Path) -> Path:
    """Write the report and return its path."""
    return write_whole(folder / REPORT_FILE, page(run))


def document(title: str, *content: str) -> str:
    """Make a page of its own: with style, script and a policy that forbids to load anything."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", _part("page.css")),
    )
    body = tag("body", tag("main", *content), tag("script", _part("page.js")))
    return joined(Markup("<!DOCTYPE html>\n"), tag("html", head, body, lang="en"), Markup("\n"))


def _part(name: str) -> Markup:
    return Markup(Path(__file__).with_name(name).read_text(encoding="utf-8"))
