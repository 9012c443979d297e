"""The parts of a report page, each from what it shows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zsad.reports.figures.curve_data import Curves, Line, diagrams
from zsad.reports.html.charts import Series, histogram, line_chart
from zsad.reports.html.gallery import cards, sheet
from zsad.reports.html.gallery import restored as restored_pictures
from zsad.reports.html.html_tables import table
from zsad.reports.html.markup import Markup, joined, tag
from zsad.reports.image_scores import ImageScore
from zsad.reports.published_numbers import Comparison
from zsad.reports.results_table import Rows, metric_label
from zsad.reports.run_page import Interval, Intervals
from zsad.reports.table_cells import Cell, number_cell
from zsad.types import Results

_CARD_APART = ("notes", "packages", "config")  # of a run card: shown elsewhere, or folded


def header(title: str, results: Results, rows: Rows, notes: Sequence[str]) -> Markup:
    """Say what was tested, on how much, and what a reader has to know."""
    good, bad = (sum(counts[i] for counts in results.images.values()) for i in (0, 1))
    kind = rows.heading if len(results.images) == 1 else _plural(rows.heading)
    facts = (
        f"{good + bad:,} images ({good:,} good, {bad:,} defective), {len(results.images)} {kind}"
    )
    warnings = [tag("p", note, class_="note", role="note") for note in notes]
    return tag("header", tag("h1", title), tag("p", facts, class_="facts"), *warnings)


def summary(results: Results, rows: Rows, intervals: Intervals) -> Markup:
    """Show the mean of every metric, with its confidence interval where there is one."""
    entries = [
        tag(
            "div",
            tag("dt", metric_label(name)),
            tag("dd", _percent(value), _small(intervals.get(name))),
        )
        for name, value in results.mean.items()
    ]
    several = (
        f"Unweighted means over {_plural(rows.heading)}, percent."
        if len(results.values) > 1
        else "Percent."
    )
    ranges = " Ranges are 95 % confidence intervals, from resampled images; from few images they come out too narrow."
    remark = several + (ranges if intervals else "")
    return _section(
        "Summary", tag("dl", *entries, class_="summary"), tag("p", remark, class_="remark")
    )


def results_table(
    results: Results,
    rows: Rows,
    intervals: Mapping[str, Intervals],
    mean_intervals: Intervals,
    links: Mapping[str, str],
) -> Markup:
    """Show the metrics of every category, means last, and why some are undefined."""
    body = [
        [
            Cell(row, link=links.get(row, "")),
            *_counts(results, row),
            *_values(results, row, intervals.get(row, {})),
        ]
        for row in rows.sorted(results)
    ]
    foot = []
    for name, group in rows.means(results).items():
        known = mean_intervals if group is results else {}
        totals = (sum(counts[i] for counts in group.images.values()) for i in (0, 1))
        means = [
            number_cell(100 * value, note=_range(known.get(metric)))
            for metric, value in group.mean.items()
        ]
        foot.append([Cell(name), *map(_as_it_is, totals), *means])
    heading = [rows.heading, "good", "defective", *map(metric_label, results.metrics)]
    shown = table(f"Results per {rows.heading}", heading, body, foot)
    return _section(f"Per {rows.heading}", shown, _reasons(results, rows))


def panels(
    categories: Sequence[str],
    curves: Mapping[str, Curves],
    mean: Curves,
    scores: Sequence[ImageScore],
    heatmaps: Mapping[str, Path],
    sheets: Mapping[str, Path],
    threshold: float | None,
) -> Markup:
    """Show curves, scores and pictures of the whole run and of each category; a choice at the top shows one of them."""
    drawn = {path: file for path, file in heatmaps.items() if file.is_file()}
    found = {category: file for category, file in sheets.items() if file.is_file()}
    several = len(categories) > 1
    shown = (
        [_panel("", "All categories", _charts(mean, scores, threshold), cards(scores, drawn))]
        if several
        else []
    )
    for category in categories:
        own = [one for one in scores if one.category == category]
        pictures = [] if several else [cards(own, drawn)]
        pictures += [sheet(category, found[category], len(found))] if category in found else []
        shown.append(
            _panel(
                category,
                category,
                _charts(curves.get(category, Curves()), own, threshold),
                *pictures,
            )
        )
    if not any(shown):
        return Markup()
    options = [
        tag("option", "all categories", value=""),
        *(tag("option", each, value=each) for each in categories),
    ]
    choice = tag("label", "Show ", tag("select", *options, id="shown"), class_="choice")
    return _section("Curves, scores and images", choice if several else "", *shown)


def restored(files: Mapping[str, Path]) -> Markup:
    """Show defective images restored to normal."""
    if not files:
        return Markup()
    remark = (
        "The region that the method takes for anomalous, filled from its surroundings, and where that differs from the "
        "image. An invention, not a measurement."
    )
    return _section(
        "Restored to normal", restored_pictures(files), tag("p", remark, class_="remark")
    )


def robustness(
    heading: Sequence[str], rows: Sequence[Sequence[str | int | float]], remark: str
) -> Markup:
    """Show a table of words, of whole numbers such as a severity, and of numbers in percent."""
    body = [
        [number_cell(cell) if isinstance(cell, float) else _as_it_is(cell) for cell in row]
        for row in rows
    ]
    if not body:
        return Markup()
    return _section(
        "Robustness", table("Robustness", heading, body), tag("p", remark, class_="remark")
    )


def published(rows: Sequence[Comparison]) -> Markup:
    """Show what has been published beside what was measured; nothing where nothing has been."""
    body = []
    for row in rows:
        if row.published is None:
            continue
        value, remark = (
            row.published.value,
            f"not comparable: {row.remark}" if row.mismatches else row.remark,
        )
        difference = Cell(
            "n/a" if math.isnan(row.difference) else f"{row.difference:+.1f}", row.difference
        )
        numbers = (number_cell(row.measured), Cell(f"{value:g}", value), difference)
        names = (Cell(row.dataset), Cell(row.category), Cell(metric_label(row.metric)))
        body.append([*names, *numbers, Cell(row.published.source), Cell(remark)])
    if not body:
        return Markup()
    heading = [
        "dataset",
        "category",
        "metric",
        "measured",
        "published",
        "difference",
        "source",
        "remark",
    ]
    return _section("Beside published numbers", table("Published numbers", heading, body))


def run_card(card: Mapping[str, Any]) -> Markup:
    """Show what is needed to repeat a run; versions and configuration are folded."""
    if not card:
        return Markup()
    facts = {
        key: value for key, value in card.items() if key not in _CARD_APART and value is not None
    }
    entries = [
        joined(tag("dt", key.replace("_", " ")), tag("dd", _said(value)))
        for key, value in facts.items()
    ]
    folded = [_folded(key, card[key]) for key in ("packages", "config") if card.get(key)]
    return _section("Run card", tag("dl", *entries, class_="card-facts"), *folded)


def _section(title: str, *content: str) -> Markup:
    return tag("section", tag("h2", title), *content)


def _panel(value: str, title: str, *content: str) -> Markup:
    """Show one choice; nothing where nothing is known."""
    return (
        tag("div", tag("h3", title), *content, class_="panel", data_panel=value)
        if any(content)
        else Markup()
    )


def _charts(curves: Curves, scores: Sequence[ImageScore], threshold: float | None) -> Markup:
    charts = [*_curve_charts(curves), *_score_charts(scores, threshold)]
    return tag("div", *charts, class_="plots") if charts else Markup()


def _curve_charts(curves: Curves) -> list[Markup]:
    return [
        line_chart(
            one.title,
            one.x_name,
            one.y_name,
            [_series(*line) for line in one.lines.items()],
            one.x_limit,
        )
        for one in diagrams(curves)
    ]


def _series(name: str, line: Line) -> Series:
    return Series(name, "first" if name == "images" else "second", line)


def _score_charts(scores: Sequence[ImageScore], threshold: float | None) -> list[Markup]:
    good, bad = (
        [one.score for one in scores if one.is_anomalous is label] for label in (False, True)
    )
    kinds = [Series("good", "first", good), Series("defective", "second", bad)]
    return [histogram("Image scores", "score (logit margin)", kinds, threshold)] if scores else []


def _as_it_is(cell: str | int) -> Cell:
    return Cell(cell) if isinstance(cell, str) else Cell(f"{cell:,}", cell)


def _counts(results: Results, row: str) -> list[Cell]:
    return [_as_it_is(count) for count in results.images[row]]


def _values(results: Results, row: str, intervals: Intervals) -> list[Cell]:
    values, reasons = results.values[row], results.reasons.get(row, {})
    return [
        number_cell(
            100 * values[metric], note=_range(intervals.get(metric)), hint=reasons.get(metric, "")
        )
        for metric in results.metrics
    ]


def _reasons(results: Results, rows: Rows) -> Markup:
    """Say why something is undefined, each reason with the rows that it holds for."""
    held: dict[str, dict[str, None]] = {}
    for row in rows.sorted(results):
        for reason in results.reasons.get(row, {}).values():
            held.setdefault(reason, {})[row] = None
    if not held:
        return Markup()
    lines = [tag("li", f"{', '.join(names)}: {reason}") for reason, names in held.items()]
    remark = f"n/a is undefined; the mean of a metric leaves out each {rows.heading} where it is."
    return tag("div", tag("p", remark), tag("ul", *lines), class_="remark")


def _percent(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{100 * value:.1f}"


def _range(interval: Interval | None) -> str:
    return (
        ""
        if interval is None or math.isnan(interval[0])
        else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"
    )


def _small(interval: Interval | None) -> str:
    shown = _range(interval)
    return tag("small", shown) if shown else ""


def _plural(noun: str) -> str:
    return f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"


def _said(value: Any) -> str:
    """Write a plain value in words."""
    if isinstance(value, Mapping):
        return (
            ", ".join(f"{key.replace('_', ' ')} {_said(item)}" for key, item in value.items())
            or "none"
        )
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_said, value)) or "none"
    return (
        {True: "yes", False: "no", None: "none"}[value]
        if value is None or isinstance(value, bool)
        else str(value)
    )


def _folded(name: str, value: Any) -> Markup:
    text = json.dumps(value, indent=2, default=str, ensure_ascii=False)
    return tag("details", tag("summary", name), tag("pre", text, tabindex=0))
