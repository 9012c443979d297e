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
_RIGHT = 20.0
_BOTTOM = 52.0
_TEXT_PX = 13
_GRID: Colour = (222, 222, 222)
_COLOURS: tuple[Colour, ...] = ((31, 95, 168), (200, 90, 20), (60, 140, 60))
_TICKS = 4
_SUPERSAMPLING = 2  # drawn so many times larger, then reduced: smooth lines


def draw_diagram(diagram: Diagram) -> RGBArray:
    """Draw a diagram; a curve that is undefined stands in the legend alone."""
    width = int(_LEFT + _SIDE + _RIGHT)
    height = int(_TOP + _SIDE + _BOTTOM)
    canvas = Image.new("RGB", (width * _SUPERSAMPLING, height * _SUPERSAMPLING), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    _draw_axes(draw, diagram)
    for colour, line in zip(_COLOURS, diagram.lines.values(), strict=False):
        if line:
            draw.line(_corners(line), fill=colour, width=2 * _SUPERSAMPLING, joint="curve")
    _write(draw, (_LEFT, 8.0), diagram.title, INK)
    _write_legend(draw, diagram)
    return np.asarray(canvas.resize((width, height), Image.Resampling.LANCZOS))


def _draw_axes(draw: ImageDraw.ImageDraw, diagram: Diagram) -> None:
    right = _LEFT + _SIDE
    bottom = _TOP + _SIDE
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        x = _LEFT + share * _SIDE
        y = _TOP + (1 - share) * _SIDE
        draw.line(_scaled([(x, _TOP), (x, bottom)]), fill=_GRID, width=_SUPERSAMPLING)
        draw.line(_scaled([(_LEFT, y), (right, y)]), fill=_GRID, width=_SUPERSAMPLING)
        _write(draw, (x - 12, bottom + 6), f"{share * diagram.x_limit:.3g}", INK)
        _write(draw, (_LEFT - 38, y - _TEXT_PX / 2), f"{share:.3g}", INK)
    _write(draw, (_LEFT + _SIDE / 3, bottom + 28), diagram.x_name, INK)
    _write(draw, (_LEFT + _SIDE / 3, 8.0), f"{diagram.y_name} (upwards)", INK)


def _write_legend(draw: ImageDraw.ImageDraw, diagram: Diagram) -> None:
    """Write the names of the curves into the lower right corner, from below upwards."""
    x = _LEFT + _SIDE - 110
    y = _TOP + _SIDE
    for colour, (name, line) in zip(_COLOURS, diagram.lines.items(), strict=False):
        y -= 24
        text = name if line else f"{name}: none"
        _write(draw, (x, y), text, colour)


def _corners(line: Line) -> list[Point]:
    step = _SIDE / (len(line) - 1)
    corners = [(_LEFT + i * step, _TOP + (1 - height) * _SIDE) for i, height in enumerate(line)]
    return _scaled(corners)


def _scaled(corners: Sequence[Point]) -> list[Point]:
    return [(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in corners]


def _write(draw: ImageDraw.ImageDraw, position: Point, text: str, colour: Colour) -> None:
    x = math.floor(position[0] * _SUPERSAMPLING)
    y = math.floor(position[1] * _SUPERSAMPLING)
    font = ImageFont.load_default(_TEXT_PX * _SUPERSAMPLING)
    draw.text((x, y), text, fill=colour, font=font)
