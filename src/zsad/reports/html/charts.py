"""Charts of a report page: curves and histograms laid out for the templates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zsad.reports.figures.curve_data import Diagram
from zsad.reports.html.chart_parts import AREA, Bar, BarGroup, Chart, LegendEntry, Polyline, Tick

_TICKS = 4  # parts of an axis
_SHARES_OF_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LABELS_OF_SHARES = ("0", "0.25", "0.5", "0.75", "1")
_BINS = 30


@dataclass(frozen=True, slots=True)
class Series:
    """A line or a histogram of a chart.

    Attributes:
        name: Text of the legend.
        style: Class of the page's style sheet: ``first``, ``second`` or ``mark``.
        values: Heights of a line at even distances, or the values that a histogram counts. Without
            any, the legend says so.
    """

    name: str
    style: str
    values: Sequence[float]


def line_chart(diagram: Diagram, series: Sequence[Series]) -> Chart:
    """Lay out the lines of a diagram."""
    lines = []
    for one in series:
        if one.values:
            points = _points(one.values)
            lines.append(Polyline(points, one.style))
    return Chart(
        title=diagram.title,
        x_name=diagram.x_name,
        y_name=diagram.y_name,
        x_ticks=_x_ticks(0.0, diagram.x_limit),
        y_ticks=_y_ticks(_LABELS_OF_SHARES),
        legend=_legend(series),
        lines=lines,
    )


def histogram(
    title: str, x_name: str, series: Sequence[Series], threshold: float | None = None
) -> Chart:
    """Lay out histograms: for each series the share of its own values in each bin.

    A threshold is a dashed line, and part of the axis.
    """
    drawn = [one for one in series if one.values]
    marks = [] if threshold is None else [threshold]
    low, high = _value_range(drawn, marks)
    shares = [_bin_shares(one.values, low, high) for one in drawn]
    limit = _axis_limit(shares)
    bars = []
    for one, heights in zip(drawn, shares, strict=True):
        group = BarGroup(_bars(heights, limit), one.style)
        bars.append(group)
    legend = _legend(series)
    positions = []
    for mark in marks:
        share = 0.0
        if high > low:
            share = (mark - low) / (high - low)
        positions.append(f"{AREA.x(share):.4g}")
        legend.append(LegendEntry(f"threshold {mark:+.2f}", "mark"))
    labels = [f"{100 * limit * share:.0f} %" for share in _SHARES_OF_TICKS]
    return Chart(
        title=title,
        x_name=x_name,
        y_name="share of images",
        x_ticks=_x_ticks(low, high),
        y_ticks=_y_ticks(labels),
        legend=legend,
        bars=bars,
        marks=positions,
    )


def _value_range(series: Sequence[Series], marks: Sequence[float]) -> tuple[float, float]:
    values = list(marks)
    for one in series:
        values += one.values
    return min(values, default=0.0), max(values, default=1.0)


def _axis_limit(shares: Sequence[Sequence[float]]) -> float:
    """Return the upper end of the left axis, chosen so that its ticks are whole percents."""
    highest = 1.0
    if shares:
        highest = max(map(max, shares))
    percents_per_tick = math.ceil(100 / _TICKS * highest)
    return percents_per_tick * _TICKS / 100


def _bin_shares(values: Sequence[float], low: float, high: float) -> list[float]:
    """Return the share of values in each of even bins; equal values make one bin."""
    width = (high - low) / _BINS
    counts = [0] * _BINS
    for value in values:
        index = 0
        if width:
            index = int((value - low) / width)
        counts[min(_BINS - 1, index)] += 1
    return [count / len(values) for count in counts]


def _bars(shares: Sequence[float], limit: float) -> list[Bar]:
    width = AREA.plot_width / len(shares)
    bars = []
    for i, share in enumerate(shares):
        if not share:
            continue
        left = AREA.left + i * width
        top = AREA.y(share / limit)
        bar = Bar(
            x=f"{left:.4g}", y=f"{top:.4g}", width=f"{width:.4g}", height=f"{AREA.bottom - top:.4g}"
        )
        bars.append(bar)
    return bars


def _points(heights: Sequence[float]) -> str:
    """Write the points of a line.

    >>> _points([0.0, 1.0])
    '52,205 298,10'
    """
    step = AREA.plot_width / (len(heights) - 1)
    points = []
    for i, height in enumerate(heights):
        x = AREA.left + i * step
        y = AREA.y(height)
        points.append(f"{x:.4g},{y:.4g}")
    return " ".join(points)


def _legend(series: Sequence[Series]) -> list[LegendEntry]:
    entries = []
    for one in series:
        text = one.name
        if not one.values:
            text += ": none"
        entries.append(LegendEntry(text, one.style))
    return entries


def _x_ticks(low: float, high: float) -> list[Tick]:
    ticks = []
    for i in range(_TICKS + 1):
        position = AREA.left + i * AREA.plot_width / _TICKS
        value = low + i * (high - low) / _TICKS
        ticks.append(Tick(position, f"{value:.3g}"))
    return ticks


def _y_ticks(labels: Sequence[str]) -> list[Tick]:
    ticks = []
    for share, label in zip(_SHARES_OF_TICKS, labels, strict=True):
        ticks.append(Tick(AREA.y(share), label))
    return ticks
