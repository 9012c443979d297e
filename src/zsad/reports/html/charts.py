"""Charts of a report page: the geometry that the templates draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

_TICKS = 4  # parts of an axis
_BINS = 30


@dataclass(frozen=True, slots=True)
class PlotArea:
    """Size of a chart, and the edges of its plot, in units of the SVG."""

    width: int = 320
    height: int = 250
    left: int = 52
    right: int = 298
    top: int = 10
    bottom: int = 205

    def x(self, share: float) -> float:
        """Return the position of a share of the lower axis."""
        return self.left + share * (self.right - self.left)

    def y(self, share: float) -> float:
        """Return the position of a share of the left axis."""
        return self.bottom - share * (self.bottom - self.top)


AREA = PlotArea()


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


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """Text of a legend, with the class of its colour."""

    text: str
    style: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A position on an axis, with its label."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Polyline:
    """A line through points, as SVG writes them."""

    points: str
    style: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, as SVG writes it."""

    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class BarGroup:
    """The bars of one histogram."""

    bars: Sequence[Bar]
    style: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with two axes.

    Attributes:
        title: Title above the chart.
        x_name: Name of the lower axis.
        y_name: Name of the left axis.
        x_ticks: Ticks of the lower axis.
        y_ticks: Ticks of the left axis.
        legend: Entries of the legend.
        lines: Curves.
        bars: Histograms.
        marks: Positions of dashed vertical lines.
        area: Size and edges.
    """

    title: str
    x_name: str
    y_name: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    legend: Sequence[LegendEntry]
    lines: Sequence[Polyline] = field(default_factory=list)
    bars: Sequence[BarGroup] = field(default_factory=list)
    marks: Sequence[str] = field(default_factory=list)
    area: PlotArea = AREA


def line_chart(
    title: str, x_name: str, y_name: str, series: Sequence[Series], x_limit: float = 1.0
) -> Chart:
    """Lay out lines over an axis from 0 to ``x_limit``; heights go from 0 to 1."""
    lines = []
    for one in series:
        if one.values:
            lines.append(Polyline(_points(one.values), one.style))
    return Chart(
        title=title,
        x_name=x_name,
        y_name=y_name,
        x_ticks=_x_ticks(0.0, x_limit),
        y_ticks=_y_ticks([f"{share:.3g}" for share in _tick_shares()]),
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
    highest = _axis_limit(shares)
    bars = []
    for one, heights in zip(drawn, shares, strict=True):
        bars.append(BarGroup(_bars(heights, highest), one.style))
    legend = _legend(series)
    positions = []
    for mark in marks:
        share = (mark - low) / (high - low) if high > low else 0.0
        positions.append(f"{AREA.x(share):.4g}")
        legend.append(LegendEntry(f"threshold {mark:+.2f}", "mark"))
    return Chart(
        title=title,
        x_name=x_name,
        y_name="share of images",
        x_ticks=_x_ticks(low, high),
        y_ticks=_y_ticks([f"{100 * highest * share:.0f} %" for share in _tick_shares()]),
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
    highest = max((max(heights) for heights in shares), default=1.0)
    return math.ceil(100 / _TICKS * highest) * _TICKS / 100


def _bin_shares(values: Sequence[float], low: float, high: float) -> list[float]:
    """Return the share of values in each of even bins; equal values make one bin."""
    width = (high - low) / _BINS
    counts = [0] * _BINS
    for value in values:
        index = int((value - low) / width) if width else 0
        counts[min(_BINS - 1, index)] += 1
    return [count / len(values) for count in counts]


def _bars(shares: Sequence[float], highest: float) -> list[Bar]:
    width = (AREA.right - AREA.left) / len(shares)
    bars = []
    for i, share in enumerate(shares):
        if not share:
            continue
        top = AREA.y(share / highest)
        bar = Bar(
            x=f"{AREA.left + i * width:.4g}",
            y=f"{top:.4g}",
            width=f"{width:.4g}",
            height=f"{AREA.bottom - top:.4g}",
        )
        bars.append(bar)
    return bars


def _points(heights: Sequence[float]) -> str:
    """Write the points of a line.

    >>> _points([0.0, 1.0])
    '52,205 298,10'
    """
    step = (AREA.right - AREA.left) / (len(heights) - 1)
    points = []
    for i, height in enumerate(heights):
        x = AREA.left + i * step
        points.append(f"{x:.4g},{AREA.y(height):.4g}")
    return " ".join(points)


def _legend(series: Sequence[Series]) -> list[LegendEntry]:
    entries = []
    for one in series:
        text = one.name if one.values else f"{one.name}: none"
        entries.append(LegendEntry(text, one.style))
    return entries


def _tick_shares() -> list[float]:
    return [i / _TICKS for i in range(_TICKS + 1)]


def _x_ticks(low: float, high: float) -> list[Tick]:
    ticks = []
    for i in range(_TICKS + 1):
        position = AREA.left + i * (AREA.right - AREA.left) / _TICKS
        value = low + i * (high - low) / _TICKS
        ticks.append(Tick(position, f"{value:.3g}"))
    return ticks


def _y_ticks(labels: Sequence[str]) -> list[Tick]:
    shares = _tick_shares()
    return [Tick(AREA.y(share), label) for share, label in zip(shares, labels, strict=True)]
