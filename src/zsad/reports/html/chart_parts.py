"""Parts of a chart, in the units of its SVG: the templates draw them as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PlotArea:
    """Size of a chart, and the edges of its plot, in units of the SVG."""

    width: int = 320
    height: int = 250
    left: int = 52
    right: int = 298
    top: int = 10
    bottom: int = 205

    @property
    def plot_width(self) -> int:
        """Width of the plot, without labels."""
        return self.right - self.left

    @property
    def plot_height(self) -> int:
        """Height of the plot, without labels."""
        return self.bottom - self.top

    def x(self, share: float) -> float:
        """Return the position of a share of the lower axis."""
        return self.left + share * self.plot_width

    def y(self, share: float) -> float:
        """Return the position of a share of the left axis."""
        return self.bottom - share * self.plot_height


AREA = PlotArea()


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
