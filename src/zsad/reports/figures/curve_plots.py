"""Curves as pictures, for loggers that show no SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zsad.reports.figures.curve_data import Diagram, Line
from zsad.reports.figures.overlays import BACKGROUND, INK, Picture

_SIDE = 360.0  # of the square that the axes enclose
_LEFT, _TOP, _RIGHT, _BOTTOM = 64.0, 34.0, 20.0, 52.0
_TEXT_PX = 13
_GRID = (222, 222, 222)
_COLOURS = ((31, 95, 168), (200, 90, 20), (60, 140, 60))
_TICKS = 4
_FINER = 2  # drawn so many times larger, then reduced: smooth lines


def picture(diagram: Diagram) -> Picture:
    """Draw a diagram; a curve that is undefined stands in the legend alone."""
    size = (int(_LEFT + _SIDE + _RIGHT), int(_TOP + _SIDE + _BOTTOM))
    canvas = Image.new("RGB", (size[0] * _FINER, size[1] * _FINER), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    _axes(draw, diagram)
    for colour, line in zip(_COLOURS, diagram.lines.values(), strict=False):
        if line:
            draw.line(_corners(line), fill=colour, width=2 * _FINER, joint="curve")
    _write(draw, (_LEFT, 8.0), diagram.title, INK)
    for row, (colour, (name, line)) in enumerate(
        zip(_COLOURS, diagram.lines.items(), strict=False)
    ):
        _write(
            draw,
            (_LEFT + _SIDE - 110, _TOP + _SIDE - 24 * (row + 1)),
            name if line else f"{name}: none",
            colour,
        )
    return np.asarray(canvas.resize(size, Image.Resampling.LANCZOS))


def _axes(draw: ImageDraw.ImageDraw, diagram: Diagram) -> None:
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        x, y = _LEFT + share * _SIDE, _TOP + (1 - share) * _SIDE
        draw.line(_scaled([(x, _TOP), (x, _TOP + _SIDE)]), fill=_GRID, width=_FINER)
        draw.line(_scaled([(_LEFT, y), (_LEFT + _SIDE, y)]), fill=_GRID, width=_FINER)
        _write(draw, (x - 12, _TOP + _SIDE + 6), f"{share * diagram.x_limit:.3g}", INK)
        _write(draw, (_LEFT - 38, y - _TEXT_PX / 2), f"{share:.3g}", INK)
    _write(draw, (_LEFT + _SIDE / 3, _TOP + _SIDE + 28), diagram.x_name, INK)
    _write(draw, (_LEFT + _SIDE / 3, 8.0), f"{diagram.y_name} (upwards)", INK)


def _corners(line: Line) -> list[tuple[float, float]]:
    step = _SIDE / (len(line) - 1)
    return _scaled(
        [(_LEFT + i * step, _TOP + (1 - height) * _SIDE) for i, height in enumerate(line)]
    )


def _scaled(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x * _FINER, y * _FINER) for x, y in corners]


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: tuple[int, int, int]
) -> None:
    x, y = (math.floor(value * _FINER) for value in place)
    draw.text((x, y), text, fill=colour, font=ImageFont.load_default(_TEXT_PX * _FINER))
