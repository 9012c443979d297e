"""Brushes of the procedural world: coordinates, noise, distances to shapes, relief and strokes.

Legend: pictures are planar, (3, H, W) float32 in about [0, 1]; planes are (H, W) float32; lengths are in units of the
picture's side unless the name ends in ``_px``, so that one generator serves every resolution.
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
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = (np.ascontiguousarray(axis) for axis in np.meshgrid(line, line))
    x.flags.writeable = y.flags.writeable = False
    return x, y


def rotate_axes(x: Plane, y: Plane, angle: Number) -> tuple[Plane, Plane]:
    """Return the coordinates along and across a direction of ``angle`` radians."""
    c, s = math.cos(angle), math.sin(angle)
    return c * x + s * y, c * y - s * x


def colour(rgb: Rgb) -> ImageArray:
    """Return a colour as (3, 1, 1), ready to be multiplied with a plane."""
    return np.asarray(rgb, dtype=np.float32).reshape(3, 1, 1)


def blend(first: ImageArray, second: ImageArray, weight: Plane) -> ImageArray:
    """Return ``first`` where the weight is 0 and ``second`` where it is 1."""
    return first + (second - first) * weight


def smoothstep(value: Plane, low: Number, high: Number) -> Plane:
    """Return the smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((value - low) * (1.0 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def wave(phase: Plane) -> Plane:
    """Return a sine of period 1, from 0 to 1."""
    return 0.5 + 0.5 * np.sin(phase * (2 * math.pi))


def fraction(value: Plane) -> Plane:
    """Return the part after the decimal point, in [0, 1)."""
    return value - np.floor(value)


def gaussian_blur(image: Plane, sigma_px: Number) -> Plane:
    """Return a Gaussian blur; wide ones work on a smaller copy, where nobody sees the difference."""
    if sigma_px < 0.2:
        return image
    if sigma_px <= 4:
        return cv2.GaussianBlur(image, (0, 0), sigma_px)
    height, width = image.shape
    factor = sigma_px / 2
    small = (max(4, round(width / factor)), max(4, round(height / factor)))
    blurred = cv2.GaussianBlur(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_CUBIC)


def noise(
    rng: np.random.Generator,
    size: int,
    cells: Number,
    octaves: int = 1,
    stretch: Number = 1,
    angle: Number = 0,
) -> Plane:
    """Return smooth zero-mean noise of about unit deviation.

    Args:
        rng: Where the chance comes from.
        size: Side in pixels.
        cells: Lumps per side, across the direction of stretching.
        octaves: Finer layers on top, each of twice the lumps and half the height.
        stretch: How much longer than wide a lump is.
        angle: Direction of the length, radians.
    """
    side = size if angle == 0 else math.ceil(size * 1.42)
    cells *= side / size
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        across = min(max(2, round(cells * 2**octave)), side)
        along = min(max(2, round(cells * 2**octave / stretch)), side)
        lumps = rng.standard_normal((across, along), dtype=np.float32)
        total += cv2.resize(lumps, (side, side), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    total *= 1.3 / math.sqrt(sum(0.25**octave for octave in range(octaves)))
    return total if angle == 0 else rotate_image(total, size, angle)


def rotate_image(image: Plane, size: int, angle: Number) -> Plane:
    """Return the middle ``size`` square of ``image`` after a turn by ``angle`` radians."""
    c, s, half = math.cos(angle), math.sin(angle), image.shape[0] / 2
    inverse = np.array([[c, s, half - size / 2 * (c + s)], [-s, c, half + size / 2 * (s - c)]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, inverse, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)


def pixel_noise(rng: np.random.Generator, size: int, sigma_px: Number = 0) -> Plane:
    """Return zero-mean noise of unit deviation that is independent from pixel to pixel, or nearly."""
    values = rng.standard_normal((size, size), dtype=np.float32)
    return gaussian_blur(values, sigma_px) * (1 + 3.2 * sigma_px)


def voronoi_cells(
    rng: np.random.Generator, size: int, across: Number, jitter: Number = 0.9
) -> tuple[NDArray[Any], Plane]:
    """Return a Voronoi tiling: the number of each pixel's cell and the distance to the cell's border.

    Args:
        rng: Where the chance comes from.
        size: Side in pixels.
        across: Cells per side.
        jitter: 0 for a square grid of seeds, 1 for no order.

    Returns:
        (H, W) numbers from 1, and (H, W) distances in units of one cell's width.
    """
    count = max(3, round(across)) + 2
    pitch = size / (count - 2)
    spots = np.stack(np.meshgrid(np.arange(count), np.arange(count)), -1) + 0.5
    spots = (spots + jitter * (rng.random(spots.shape) - 0.5)) * pitch
    margin = math.ceil(pitch)
    seeds = np.full((size + 2 * margin, size + 2 * margin), 255, np.uint8)
    at = np.clip((spots - pitch + margin).astype(int).reshape(-1, 2), 0, len(seeds) - 1)
    seeds[at[:, 1], at[:, 0]] = 0
    _, numbers = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    inner = (numbers[1:, 1:] == numbers[:-1, 1:]) & (numbers[1:, 1:] == numbers[1:, :-1])
    distance = cv2.distanceTransform(inner.astype(np.uint8), cv2.DIST_L2, 5) / pitch
    window = (slice(margin, margin + size),) * 2
    return numbers[window], distance[window]


def random_per_cell(rng: np.random.Generator, numbers: NDArray[Any]) -> Plane:
    """Return one random value in [0, 1] per cell of a Voronoi tiling."""
    return rng.random(int(numbers.max()) + 1, dtype=np.float32)[numbers]


def coverage(distance: Plane, size_px: Number) -> Plane:
    """Return the coverage of a shape, anti-aliased over one pixel, from the signed distance to its outline."""
    return np.clip(0.5 - distance * size_px, 0, 1)


def disc(x: Plane, y: Plane, radius: Number) -> Plane:
    """Return the signed distance to a circle (negative inside)."""
    return cv2.magnitude(x, y) - radius


def box(x: Plane, y: Plane, half: tuple[float, float], corner: Number = 0) -> Plane:
    """Return the signed distance to a rectangle of rounded corners."""
    dx, dy = np.abs(x) - (half[0] - corner), np.abs(y) - (half[1] - corner)
    outside = cv2.magnitude(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - corner


def polygon(x: Plane, y: Plane, sides: int, apothem: Number) -> Plane:
    """Return the distance to a regular polygon, exact inside and along its sides."""
    angles = [2 * math.pi * k / sides for k in range(sides)]
    return np.max([math.cos(a) * x + math.sin(a) * y for a in angles], axis=0) - apothem


def polar(x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Return the radius and the angle in turns, [0, 1)."""
    radius, angle = cv2.cartToPolar(x, y)
    return radius, angle * (0.5 / math.pi)


def relief(height: Plane, light_angle: Number, size: int) -> Plane:
    """Return how much brighter a surface is for light from direction ``light_angle`` (slope along the light).

    Args:
        height: Heights in units of the picture's side.
        light_angle: Direction to the lamp, radians.
        size: Side in pixels.
    """
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=size / 8)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=size / 8)
    return -(math.cos(light_angle) * dx + math.sin(light_angle) * dy)


def dome(distance: Plane, bevel: Number) -> Plane:
    """Return the height of a part whose edge is rounded over ``bevel``, from the distance to its outline."""
    t = np.clip(1 + distance / bevel, 0, 1)
    return bevel * np.sqrt(1 - t * t)


def strokes(size: int, lines: list[NDArray[np.float64]], width_px: Number) -> Plane:
    """Return the coverage of polylines, drawn at twice the resolution.

    Args:
        size: Side in pixels.
        lines: (N, 2) points each, x and y in pixels.
        width_px: Width of the pen.
    """
    sheet = np.zeros((2 * size, 2 * size), np.uint8)
    points = [np.round(line * 32).astype(np.int32).reshape(-1, 1, 2) for line in lines]
    cv2.polylines(sheet, points, False, 255, max(1, round(2 * width_px)), cv2.LINE_AA, 4)
    small = cv2.resize(sheet, (size, size), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def lettering(size: int, rows: list[tuple[str, float, float, float]], pen: Number = 0.008) -> Plane:
    """Return the coverage of printed words.

    Args:
        size: Side in pixels.
        rows: (words, left, baseline, height of the capitals) each, in units of the side with 0 at the middle.
        pen: Width of the pen.
    """
    sheet = np.zeros((2 * size, 2 * size), np.uint8)
    for words, left, base, height in rows:
        at = (round((left + 0.5) * 2 * size), round((base + 0.5) * 2 * size))
        scale = height * 2 * size / 22
        cv2.putText(
            sheet,
            words,
            at,
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            255,
            max(1, round(pen * 2 * size)),
            cv2.LINE_AA,
        )
    return cv2.resize(sheet, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
