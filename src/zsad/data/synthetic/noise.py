"""Random planes of the generated world: smooth noise, sensor noise, cells and tiles."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zsad.data.synthetic.canvas import Number, Plane, gaussian_blur, rotate_image


def noise(
    rng: Generator,
    size: int,
    cells: Number,
    octaves: int = 1,
    stretch: Number = 1,
    angle: Number = 0,
) -> Plane:
    """Return smooth zero-mean noise of about unit deviation.

    Args:
        rng: Random stream.
        size: Side in pixels.
        cells: Lumps per side, across the direction of stretching.
        octaves: Finer layers on top, each of twice the lumps and half the height.
        stretch: Length of a lump over its width.
        angle: Direction of the length, radians.
    """
    side = size if angle == 0 else math.ceil(size * 1.42)
    cells *= side / size
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        across = _lumps(cells * 2**octave, side)
        along = _lumps(cells * 2**octave / stretch, side)
        lumps = rng.standard_normal((across, along), dtype=np.float32)
        layer = cv2.resize(lumps, (side, side), interpolation=cv2.INTER_CUBIC)
        total += layer * 0.5**octave
    variance = sum(0.25**octave for octave in range(octaves))
    total *= 1.3 / math.sqrt(variance)
    return total if angle == 0 else rotate_image(total, size, angle)


def _lumps(count: Number, side: int) -> int:
    return min(max(2, round(count)), side)


def pixel_noise(rng: Generator, size: int, sigma_px: Number = 0) -> Plane:
    """Return zero-mean noise of unit deviation, nearly independent from pixel to pixel.

    Args:
        rng: Random stream.
        size: Side in pixels.
        sigma_px: Deviation of the blur.
    """
    values = rng.standard_normal((size, size), dtype=np.float32)
    return gaussian_blur(values, sigma_px) * (1 + 3.2 * sigma_px)


def voronoi_cells(
    rng: Generator, size: int, across: Number, jitter: Number = 0.9
) -> tuple[NDArray[Any], Plane]:
    """Return a Voronoi tiling.

    Args:
        rng: Random stream.
        size: Side in pixels.
        across: Cells per side.
        jitter: 0 for a square grid of seeds, 1 for no order.

    Returns:
        (H, W) number of each pixel's cell, from 1, and (H, W) distance to the border of the cell,
        in units of a cell's width.
    """
    count = max(3, round(across)) + 2
    pitch = size / (count - 2)
    margin = math.ceil(pitch)
    seeds = _cell_seeds(rng, count, jitter) * pitch
    side = size + 2 * margin
    pixels = (seeds - pitch + margin).astype(int)
    pixels = np.clip(pixels.reshape(-1, 2), 0, side - 1)
    columns, rows = pixels.T
    sheet = np.full((side, side), 255, np.uint8)
    sheet[rows, columns] = 0
    _, numbers = cv2.distanceTransformWithLabels(
        sheet, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    here = numbers[1:, 1:]
    above = numbers[:-1, 1:]
    left = numbers[1:, :-1]
    is_inner = (here == above) & (here == left)
    distance = cv2.distanceTransform(is_inner.astype(np.uint8), cv2.DIST_L2, 5)
    distance = distance / pitch
    window = slice(margin, margin + size)
    return numbers[window, window], distance[window, window]


def _cell_seeds(rng: Generator, count: int, jitter: Number) -> NDArray[np.float64]:
    """Return (count, count, 2) points, x and y in units of a cell's width."""
    line = np.arange(count)
    x, y = np.meshgrid(line, line)
    middles = np.stack([x, y], -1) + 0.5
    offsets = rng.random(middles.shape) - 0.5
    return middles + jitter * offsets


def random_per_cell(rng: Generator, numbers: NDArray[Any]) -> Plane:
    """Return a random value in [0, 1] per cell of a Voronoi tiling."""
    count = int(numbers.max()) + 1
    return rng.random(count, dtype=np.float32)[numbers]


def random_per_tile(rng: Generator, rows: Plane, columns: Plane, period: int) -> Plane:
    """Return a random value in [0, 1] per tile of a grid, which repeats after ``period`` tiles.

    Args:
        rng: Random stream.
        rows: (H, W) row of each pixel's tile, whole numbers.
        columns: (H, W) column of each pixel's tile.
        period: Tiles per direction with values of their own.
    """
    values = rng.random((period, period), dtype=np.float32)
    row = rows.astype(int) % period
    column = columns.astype(int) % period
    return values[row, column]
