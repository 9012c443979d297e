"""The report of a run: one HTML page that needs nothing but itself, no server, no network, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zsad.files import write_whole
from zsad.reports import sections
from zsad.reports.image_scores import ImageScore
from zsad.reports.lines import Curves, mean_curves
from zsad.reports.markup import Markup, joined, tag
from zsad.reports.published import Comparison
from zsad.reports.sections import Intervals
from zsad.reports.tables import CATEGORIES, Rows
from zsad.types import Results

FILE = "report.html"
# What the page may load: pictures inside of it, and nothing else. Browsers hold it to that.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class RobustnessTable:
    """How results change with the images.

    Attributes:
        heading: Names of the columns.
        rows: Words, whole numbers such as a severity, and as floats numbers in percent; NaN where undefined.
        remark: What the numbers are.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    remark: str = ""


@dataclass(frozen=True)
class RunPage:
    """What a run knows, as far as it does; the page leaves out what is not there.

    Attributes:
        title: What was tested on what.
        results: The metrics per category.
        rows: What the rows of the results are.
        notes: What a reader has to know, such as that a test is not zero-shot.
        intervals: Category → metric → 95 % confidence interval, in [0, 1].
        mean_intervals: The same of the means.
        curves: The curves of each category.
        scores: The scores of single images.
        heatmaps: Path of an image → the heat map that was written of it.
        sheets: Category → its contact sheet.
        restored: Path of an image → the picture of its restoration to normal.
        threshold: Score from which on an image is called defective.
        robustness: How results change with the images.
        published: Published numbers beside measured ones.
        card: The run card.
        links: Row → the page that tells more about it, relative to this one.
    """

    title: str
    results: Results
    rows: Rows = CATEGORIES
    notes: Sequence[str] = ()
    intervals: Mapping[str, Intervals] = field(default_factory=dict)
    mean_intervals: Intervals = field(default_factory=dict)
    curves: Mapping[str, Curves] = field(default_factory=dict)
    scores: Sequence[ImageScore] = ()
    heatmaps: Mapping[str, Path] = field(default_factory=dict)
    sheets: Mapping[str, Path] = field(default_factory=dict)
    restored: Mapping[str, Path] = field(default_factory=dict)
    threshold: float | None = None
    robustness: RobustnessTable | None = None
    published: Sequence[Comparison] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


def page(run: RunPage) -> str:
    """Write the report of a run as HTML."""
    names = run.rows.sorted(run.results)
    drawn = {name: run.curves[name] for name in names if name in run.curves}
    table = run.robustness or RobustnessTable((), ())
    parts = (
        sections.header(run.title, run.results, run.rows, run.notes),
        sections.summary(run.results, run.rows, run.mean_intervals),
        sections.results_table(run.results, run.rows, run.intervals, run.mean_intervals, run.links),
        sections.panels(names, drawn, mean_curves(drawn), run.scores, run.heatmaps, run.sheets, run.threshold),
        sections.restored(run.restored),
        sections.robustness(table.heading, table.rows, table.remark),
        sections.published(run.published),
        sections.run_card(run.card),
    )
    return document(run.title, *parts)


def write_page(run: RunPage, folder: Path) -> Path:
    """Write the report and return its path."""
    return write_whole(folder / FILE, page(run))


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
