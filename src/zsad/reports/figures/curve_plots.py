"""Curves as RGB images, for loggers that show no SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zsad.reports.figures.curve_data import Diagram, Line
from zsad.reports.figures.rgb_arrays import BACKGROUND, INK, Colour, RGBArray

Point = tuple[float, float]

_SIDE = 360.0  # of the square that the axes enclose
_LEFT = 64.0
_TOP = 34.0
_RIGHT = _LEFT + _SIDE
_BOTTOM = _TOP + _SIDE
_WIDTH = int(_RIGHT + 20)
_HEIGHT = int(_BOTTOM + 52)
_NAME_LEFT = _LEFT + _SIDE / 3
_HEADER_TOP = 8.0
_X_LABEL_TOP = _BOTTOM + 6
_X_NAME_TOP = _BOTTOM + 28
_Y_LABEL_LEFT = _LEFT - 38
_LEGEND_LEFT = _RIGHT - 110
_LEGEND_LINE = 24
_TEXT_PX = 13
_TICKS = 4
_SUPERSAMPLING = 2  # drawn so many times larger, then reduced: smooth lines

_GRID: Colour = (222, 222, 222)
_BLUE: Colour = (31, 95, 168)
_ORANGE: Colour = (200, 90, 20)
_GREEN: Colour = (60, 140, 60)
_COLOURS = (_BLUE, _ORANGE, _GREEN)


def draw_diagram(diagram: Diagram) -> RGBArray:
    """Draw a diagram; a curve that is undefined stands in the legend alone."""
    size = (_WIDTH * _SUPERSAMPLING, _HEIGHT * _SUPERSAMPLING)
    canvas = Image.new("RGB", size, BACKGROUND)
    pen = _Pen(ImageDraw.Draw(canvas))
    _draw_axes(pen, diagram)
    lines = diagram.lines.values()
    for colour, line in zip(_COLOURS, lines, strict=False):
        if not line:
            continue
        corners = _corners(line)
        pen.draw_line(corners, colour, width=2)
    pen.write(_LEFT, _HEADER_TOP, diagram.title)
    _write_legend(pen, diagram)
    reduced = canvas.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
    return np.asarray(reduced)


class _Pen:
    """Draws onto a supersampled canvas, with positions in pixels of the final image."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw
        self._font = ImageFont.load_default(_TEXT_PX * _SUPERSAMPLING)

    def draw_line(self, corners: Sequence[Point], colour: Colour, width: int) -> None:
        scaled = []
        for x, y in corners:
            corner = (x * _SUPERSAMPLING, y * _SUPERSAMPLING)
            scaled.append(corner)
        width *= _SUPERSAMPLING
        self._draw.line(scaled, fill=colour, width=width, joint="curve")

    def write(self, left: float, top: float, text: str, colour: Colour = INK) -> None:
        x = math.floor(left * _SUPERSAMPLING)
        y = math.floor(top * _SUPERSAMPLING)
        self._draw.text((x, y), text, fill=colour, font=self._font)


def _draw_axes(pen: _Pen, diagram: Diagram) -> None:
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        x = _LEFT + share * _SIDE
        y = _TOP + (1 - share) * _SIDE
        vertical = [(x, _TOP), (x, _BOTTOM)]
        horizontal = [(_LEFT, y), (_RIGHT, y)]
        pen.draw_line(vertical, _GRID, width=1)
        pen.draw_line(horizontal, _GRID, width=1)
        value = share * diagram.x_limit
        x_label = f"{value:.3g}"
        y_label = f"{share:.3g}"
        pen.write(x - 12, _X_LABEL_TOP, x_label)
        pen.write(_Y_LABEL_LEFT, y - _TEXT_PX / 2, y_label)
    y_name = f"{diagram.y_name} (upwards)"
    pen.write(_NAME_LEFT, _X_NAME_TOP, diagram.x_name)
    pen.write(_NAME_LEFT, _HEADER_TOP, y_name)


def _write_legend(pen: _Pen, diagram: Diagram) -> None:
    """Write the names of the curves into the lower right corner, from below upwards."""
    top = _BOTTOM
    for colour, name in zip(_COLOURS, diagram.lines, strict=False):
        top -= _LEGEND_LINE
        text = name
        if not diagram.lines[name]:
            text += ": none"
        pen.write(_LEGEND_LEFT, top, text, colour)


def _corners(line: Line) -> list[Point]:
    step = _SIDE / (len(line) - 1)
    corners = []
    for i, height in enumerate(line):
        x = _LEFT + i * step
        y = _TOP + (1 - height) * _SIDE
        corners.append((x, y))
    return corners
