"""Coordinates, colours, distances to shapes, and relief of the generated world.

Legend: images are planar, (3, H, W) float32 in about [0, 1]; planes are (H, W) float32; lengths are
in units of the image's side unless the name ends in ``_px``, so that a generator serves every
resolution.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]
ImageArray = NDArray[Any]
Number = int | float
Rgb = tuple[Number, Number, Number]


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[Plane, Plane]:
    """Return x to the right and y downwards of every pixel's centre, in [-0.5, 0.5]."""
    pixels = np.arange(size, dtype=np.float32)
    line = (pixels + 0.5) / size - 0.5
    x, y = map(np.ascontiguousarray, np.meshgrid(line, line))
    x.flags.writeable = False
    y.flags.writeable = False
    return x, y


def rotate_axes(x: Plane, y: Plane, angle: Number) -> tuple[Plane, Plane]:
    """Return the coordinates along and across a direction of ``angle`` radians."""
    c = math.cos(angle)
    s = math.sin(angle)
    return c * x + s * y, c * y - s * x


def rotate_image(image: Plane, size: int, angle: Number) -> Plane:
    """Return the middle ``size`` square of ``image`` after a turn by ``angle`` radians."""
    c = math.cos(angle)
    s = math.sin(angle)
    middle = image.shape[0] / 2
    to_x = [c, s, middle - size / 2 * (c + s)]
    to_y = [-s, c, middle + size / 2 * (s - c)]
    return cv2.warpAffine(
        image,
        np.array([to_x, to_y]),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )


def colour(rgb: Rgb) -> ImageArray:
    """Return a colour as (3, 1, 1), ready to be multiplied with a plane."""
    return np.asarray(rgb, dtype=np.float32).reshape(3, 1, 1)


def blend(first: ImageArray, second: ImageArray, weight: Plane | Number) -> ImageArray:
    """Return ``first`` at a weight of 0 and ``second`` at a weight of 1."""
    return first + (second - first) * weight


def smoothstep(value: Plane, low: Number, high: Number) -> Plane:
    """Return the smooth step from 0 at ``low`` to 1 at ``high``."""
    slope = 1.0 / (high - low)
    t = np.clip((value - low) * slope, 0, 1)
    return t * t * (3 - 2 * t)


def bump(value: Plane, centre: Number, width: Number) -> Plane:
    """Return a Gaussian bell of height 1 at ``centre``."""
    return np.exp(-(((value - centre) / width) ** 2))


def wave(phase: Plane) -> Plane:
    """Return a sine of period 1, from 0 to 1."""
    sine = np.sin(phase * (2 * math.pi))
    return 0.5 + 0.5 * sine


def fraction(value: Plane) -> Plane:
    """Return the part after the decimal point, in [0, 1)."""
    return value - np.floor(value)


def centred_fraction(value: Plane) -> Plane:
    """Return the distance to the middle between two integers, in [-0.5, 0.5)."""
    return fraction(value) - 0.5


def checkerboard(u: Plane, v: Plane) -> Plane:
    """Return about 1 on the even and about -1 on the odd squares of side 1."""
    column_sign = np.cos(np.floor(u) * math.pi)
    row_sign = np.cos(np.floor(v) * math.pi)
    return column_sign * row_sign


def gaussian_blur(image: Plane, sigma_px: Number) -> Plane:
    """Return a Gaussian blur; wide ones work on a smaller copy, which shows no difference."""
    if sigma_px < 0.2:
        return image
    if sigma_px <= 4:
        return cv2.GaussianBlur(image, (0, 0), sigma_px)
    height, width = image.shape
    factor = sigma_px / 2
    small_width = max(4, round(width / factor))
    small_height = max(4, round(height / factor))
    small = cv2.resize(image, (small_width, small_height), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), 2.0)
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_CUBIC)


def coverage(distance: Plane, size_px: Number) -> Plane:
    """Return the coverage of a shape from the signed distance to its outline.

    The outline is anti-aliased over a pixel.
    """
    return np.clip(0.5 - distance * size_px, 0, 1)


def disc(x: Plane, y: Plane, radius: Number) -> Plane:
    """Return the signed distance to a circle (negative inside)."""
    return cv2.magnitude(x, y) - radius


def box(x: Plane, y: Plane, half: tuple[float, float], corner: Number = 0) -> Plane:
    """Return the signed distance to a rectangle of rounded corners."""
    dx = np.abs(x) - (half[0] - corner)
    dy = np.abs(y) - (half[1] - corner)
    outside = cv2.magnitude(np.maximum(dx, 0), np.maximum(dy, 0))
    inside = np.minimum(np.maximum(dx, dy), 0)
    return outside + inside - corner


def polygon(x: Plane, y: Plane, sides: int, apothem: Number) -> Plane:
    """Return the distance to a regular polygon, exact inside and along its sides."""
    heights: list[Plane] = []
    for side in range(sides):
        angle = 2 * math.pi * side / sides
        height, _ = rotate_axes(x, y, angle)
        heights.append(height)
    return np.max(heights, axis=0) - apothem


def polar(x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Return the radius and the angle in turns, [0, 1)."""
    radius, angle = cv2.cartToPolar(x, y)
    return radius, angle * (0.5 / math.pi)


def relief(height: Plane, light_angle: Number) -> Plane:
    """Return the brightening of a surface that is lit from a side: its slope along the light.

    Args:
        height: (H, H) heights in units of the image's side.
        light_angle: Direction to the lamp, radians.
    """
    scale = len(height) / 8
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=scale)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=scale)
    along, _ = rotate_axes(dx, dy, light_angle)
    return -along


def dome(distance: Plane, bevel: Number) -> Plane:
    """Return the height of a part with an edge rounded over ``bevel``.

    Args:
        distance: Signed distance to the outline.
        bevel: Width of the rounded edge.
    """
    t = np.clip(1 + distance / bevel, 0, 1)
    return bevel * np.sqrt(1 - t * t)
