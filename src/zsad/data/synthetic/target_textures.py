"""Textures of the target world. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import (
    blend,
    box,
    centred_fraction,
    colour,
    fraction,
    grid,
    rotate_axes,
    smoothstep,
)
from zsad.data.synthetic.noise import (
    noise,
    pixel_noise,
    random_per_cell,
    random_per_tile,
    voronoi_cells,
)
from zsad.data.synthetic.scene import Scene, shading, texture_axes, texture_scene


def granite(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint polished stone: interlocked crystals of three tones."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    numbers, border = voronoi_cells(rng, size, across=34 / scale, jitter=1.0)
    tone = random_per_cell(rng, numbers)
    dark = smoothstep(tone, 0.80, 0.84)
    light = smoothstep(tone, 0.30, 0.10)
    lumps = noise(rng, size, cells=60 / scale)
    pattern = 0.22 * (tone - 0.5) + 0.06 * lumps
    body = base * (1 + contrast * pattern)
    body = blend(body, accent, dark * (0.75 * contrast))
    body = blend(body, np.ones_like(body), light * (0.22 * contrast))
    inside = smoothstep(border, 0, 0.1)
    return texture_scene(appearance, body * (0.94 + 0.06 * inside))


def brick(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint clinker wall: running bond with recessed mortar."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = texture_axes(size, appearance)
    row = y * (7 / scale) + rng.random()
    offset = 0.5 * (np.floor(row) % 2)
    column = x * (3 / scale) + offset
    column = column + rng.random()
    u = centred_fraction(column)
    v = centred_fraction(row)
    bend = noise(rng, size, cells=18)
    outline = box(u * 2.2, v, (1.04, 0.43), corner=0.08)
    inside = smoothstep(outline + 0.02 * bend, 0.02, -0.02)
    tint = random_per_tile(rng, np.floor(row), np.floor(column), period=64)
    lumps = noise(rng, size, cells=20, octaves=4)
    grit = pixel_noise(rng, size, sigma_px=0.6)
    rough = 0.10 * lumps + 0.03 * grit
    pattern = 0.3 * tint + rough
    clay = base * (0.86 + contrast * pattern)
    sand = noise(rng, size, cells=40, octaves=2)
    mortar = accent * (1 + 0.10 * sand)
    wall = blend(mortar, clay, inside)
    light = shading(inside * 0.010, appearance)
    return texture_scene(appearance, wall * (1 + 0.35 * light))


def herringbone(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint parquet: two directions of short boards, each with its own grain."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = grid(size)
    diagonal = appearance.angle + math.pi / 4
    x, y = rotate_axes(x, y, diagonal)
    i = x * (9 / scale) + rng.random() * 8
    j = y * (9 / scale) + rng.random() * 8
    i = i + 64
    j = j + 64
    column = np.floor(i)
    row = np.floor(j)
    part = np.floor(i - row) % 8
    is_across = part < 4
    other_part = (3 - part) % 4
    along_i = fraction(i)
    along_j = fraction(j)
    u = np.where(is_across, part + along_i, other_part + along_j)
    v = np.where(is_across, along_j, along_i)
    start = np.where(is_across, column - part, row - other_part)
    line = np.where(is_across, row, column).astype(int)
    line = line + 7 * is_across
    tint = random_per_tile(rng, start, line, period=64)
    to_end = np.minimum(u, 4 - u)
    to_side = np.minimum(v, 1 - v)
    seam = smoothstep(np.minimum(to_end, to_side), 0.0, 0.07)
    grain_across = noise(rng, size, cells=60, octaves=2, stretch=9, angle=diagonal)
    other_diagonal = appearance.angle - math.pi / 4
    grain_along = noise(rng, size, cells=60, octaves=2, stretch=9, angle=other_diagonal)
    grain = np.where(is_across, grain_across, grain_along)
    pattern = 0.32 * tint + 0.09 * grain
    value = 0.82 + contrast * pattern
    value = value * (0.45 + 0.55 * seam)
    return texture_scene(appearance, base * value)


def cork(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint pressed granules with dark pores between them."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    numbers, border = voronoi_cells(rng, size, across=26 / scale, jitter=1.0)
    tone = random_per_cell(rng, numbers) - 0.5
    specks = noise(rng, size, cells=30 / scale, octaves=2)
    pores = smoothstep(specks, 1.5, 2.1) * 0.7
    seam = smoothstep(border, 0.0, 0.16)
    lumps = noise(rng, size, cells=50 / scale, octaves=2)
    granules = 0.30 * tone + 0.07 * lumps
    value = 0.9 + contrast * granules
    value = value + 0.10 * (seam - 1)
    body = blend(base * value, accent, pores * contrast)
    return texture_scene(appearance, body)
