"""Charts as inline SVG. Colours and fonts are those of the page, by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zsad.reports.html.markup import Markup, joined, tag

_WIDTH, _HEIGHT = 320, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 298, 10, 205  # of the plot, in the units of the SVG
_TICKS = 4  # parts of an axis
_BARS = 30


@dataclass(frozen=True, slots=True)
class Series:
    """One line or one histogram of a chart.

    Attributes:
        name: As the legend says it.
        style: Class of the page's style sheet: ``first``, ``second`` or ``mark``.
        values: Heights of a line at even distances, or what a histogram counts. Empty: the legend says so.
    """

    name: str
    style: str
    values: Sequence[float]


def line_chart(
    title: str, x_name: str, y_name: str, lines: Sequence[Series], x_limit: float = 1.0
) -> Markup:
    """Draw lines over an axis from 0 to ``x_limit``; heights go from 0 to 1."""
    drawn = [
        tag("polyline", points=_points(line.values), class_=f"line {line.style}", fill="none")
        for line in lines
        if line.values
    ]
    ticks = [f"{i * x_limit / _TICKS:.3g}" for i in range(_TICKS + 1)]
    heights = [f"{i / _TICKS:.3g}" for i in range(_TICKS + 1)]
    return _chart(title, lines, joined(_axes(x_name, y_name, ticks, heights), *drawn))


def histogram(
    title: str, x_name: str, kinds: Sequence[Series], threshold: float | None = None
) -> Markup:
    """Draw how values are distributed: for each kind the share of its own values that falls into a bin.

    A threshold is a dashed line, and part of the axis.
    """
    marks = [] if threshold is None else [threshold]
    values = [*marks, *(value for kind in kinds for value in kind.values)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    shares = {kind.name: _shares(kind.values, low, high) for kind in kinds if kind.values}
    highest = max((max(share) for share in shares.values()), default=1.0)
    highest = math.ceil(100 / _TICKS * highest) * _TICKS / 100  # so that ticks are whole percents
    bars = [_bars(shares[kind.name], highest, kind.style) for kind in kinds if kind.name in shares]
    ticks = [f"{low + i * (high - low) / _TICKS:.3g}" for i in range(_TICKS + 1)]
    heights = [f"{100 * highest * i / _TICKS:.0f} %" for i in range(_TICKS + 1)]
    lines = [_dashed((mark - low) / (high - low) if high > low else 0.0) for mark in marks]
    named = [*kinds, *(Series(f"threshold {mark:+.2f}", "mark", marks) for mark in marks)]
    return _chart(
        title, named, joined(_axes(x_name, "share of images", ticks, heights), *bars, *lines)
    )


def _chart(title: str, series: Sequence[Series], drawing: Markup) -> Markup:
    picture = tag(
        "svg",
        tag("title", title),
        drawing,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        class_="chart",
    )
    legend = [
        tag(
            "span",
            tag("i", class_=f"key {one.style}"),
            one.name if one.values else f"{one.name}: none",
            class_="entry",
        )
        for one in series
    ]
    return tag("figure", tag("figcaption", tag("b", title), *legend), picture, class_="plot")


def _points(heights: Sequence[float]) -> str:
    """Place the heights of a line.

    >>> _points([0.0, 1.0])
    '52,205 298,10'
    """
    step = (_RIGHT - _LEFT) / (len(heights) - 1)
    return " ".join(f"{_LEFT + i * step:.4g},{_up(height):.4g}" for i, height in enumerate(heights))


def _up(height: float) -> float:
    return _BOTTOM - height * (_BOTTOM - _TOP)


def _bars(shares: Sequence[float], highest: float, style: str) -> Markup:
    width = (_RIGHT - _LEFT) / len(shares)
    bars = (
        tag(
            "rect",
            x=f"{_LEFT + i * width:.4g}",
            y=f"{_up(share / highest):.4g}",
            width=f"{width:.4g}",
            height=f"{_BOTTOM - _up(share / highest):.4g}",
        )
        for i, share in enumerate(shares)
        if share
    )
    return tag("g", *bars, class_=f"bars {style}")


def _dashed(place: float) -> Markup:
    x = f"{_LEFT + place * (_RIGHT - _LEFT):.4g}"
    return tag("line", x1=x, x2=x, y1=_TOP, y2=_BOTTOM, class_="mark")


def _shares(values: Sequence[float], low: float, high: float) -> list[float]:
    """Return the share of values in each of even bins; equal values make one bin."""
    counts, width = [0] * _BARS, (high - low) / _BARS
    for value in values:
        counts[min(_BARS - 1, int((value - low) / width)) if width else 0] += 1
    return [count / len(values) for count in counts]


def _axes(x_name: str, y_name: str, x_ticks: Sequence[str], y_ticks: Sequence[str]) -> Markup:
    parts = []
    for i, (x_tick, y_tick) in enumerate(zip(x_ticks, y_ticks, strict=True)):
        x, y = _LEFT + i * (_RIGHT - _LEFT) / _TICKS, _up(i / _TICKS)
        parts += [
            tag("line", x1=x, x2=x, y1=_TOP, y2=_BOTTOM, class_="grid"),
            tag("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid"),
            tag("text", x_tick, x=x, y=_BOTTOM + 17, text_anchor="middle"),
            tag("text", y_tick, x=_LEFT - 5, y=y + 4, text_anchor="end"),
        ]
    middle = (_LEFT + _RIGHT) / 2
    parts.append(tag("text", x_name, x=middle, y=_HEIGHT - 6, text_anchor="middle", class_="name"))
    turned = f"rotate(-90 11 {(_TOP + _BOTTOM) / 2})"
    parts.append(
        tag(
            "text",
            y_name,
            x=11,
            y=(_TOP + _BOTTOM) / 2,
            transform=turned,
            text_anchor="middle",
            class_="name",
        )
    )
    return joined(*parts)
