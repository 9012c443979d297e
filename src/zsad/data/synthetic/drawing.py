"""Pens of the generated world: polylines, polygons and words, drawn at twice the resolution."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from zsad.data.synthetic.canvas import Number, Plane

_SUBPIXEL_BITS = 4
_SUBPIXELS = 2**_SUBPIXEL_BITS  # OpenCV takes points in sixteenths of a pixel
_FONT_HEIGHT = 22  # of the capitals of OpenCV's font at scale 1, in pixels


def strokes(size: int, lines: list[NDArray[np.float64]], width_px: Number) -> Plane:
    """Return the coverage of polylines.

    Args:
        size: Side in pixels.
        lines: (N, 2) points each, x and y in pixels.
        width_px: Width of the pen.
    """
    sheet = _double_sheet(size)
    points = list(map(_fixed_point, lines))
    pen = max(1, round(2 * width_px))
    cv2.polylines(sheet, points, False, 255, pen, cv2.LINE_AA, _SUBPIXEL_BITS)
    return _reduced(sheet, size)


def fill_polygons(size: int, shapes: list[NDArray[np.float64]]) -> Plane:
    """Return the coverage of filled polygons.

    Args:
        size: Side in pixels.
        shapes: (N, 2) points each, x and y in pixels.
    """
    sheet = _double_sheet(size)
    for shape in shapes:
        cv2.fillPoly(sheet, [_fixed_point(shape)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return _reduced(sheet, size)


def lettering(size: int, rows: list[tuple[str, float, float, float]], pen: Number = 0.008) -> Plane:
    """Return the coverage of printed words.

    Args:
        size: Side in pixels.
        rows: (words, left, baseline, height of the capitals) each, in units of the side with 0 at
            the middle.
        pen: Width of the pen.
    """
    sheet = _double_sheet(size)
    side = 2 * size
    for words, left, baseline, height in rows:
        cv2.putText(
            sheet,
            words,
            org=(round((left + 0.5) * side), round((baseline + 0.5) * side)),
            fontFace=cv2.FONT_HERSHEY_SIMPLEX,
            fontScale=height * side / _FONT_HEIGHT,
            color=255,
            thickness=max(1, round(pen * side)),
            lineType=cv2.LINE_AA,
        )
    return _reduced(sheet, size)


def _double_sheet(size: int) -> NDArray[np.uint8]:
    return np.zeros((2 * size, 2 * size), np.uint8)


def _reduced(sheet: NDArray[Any], size: int) -> Plane:
    """Return a sheet at half its resolution, in [0, 1]."""
    small = cv2.resize(sheet, (size, size), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _fixed_point(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return (N, 1, 2) points of the double sheet in OpenCV's fixed-point numbers."""
    scaled = np.round(points * (2 * _SUBPIXELS))
    return scaled.astype(np.int32).reshape(-1, 1, 2)
