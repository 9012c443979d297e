"""Target categories: methods are tested on them. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import (
    Plane,
    blend,
    box,
    bump,
    centred_fraction,
    colour,
    disc,
    dome,
    fraction,
    grid,
    polar,
    rotate_axes,
    smoothstep,
    wave,
)
from zsad.data.synthetic.category import SURFACE_DEFECTS, Category
from zsad.data.synthetic.noise import (
    noise,
    pixel_noise,
    random_per_cell,
    random_per_tile,
    voronoi_cells,
)
from zsad.data.synthetic.scene import (
    Scene,
    object_axes,
    object_coverage,
    object_scene,
    printed_words,
    shading,
    texture_axes,
    texture_scene,
)


def granite(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint polished stone: interlocked crystals of three tones."""
    contrast = appearance.contrast
    numbers, border = voronoi_cells(rng, size, 34 / appearance.scale, 1.0)
    tone = random_per_cell(rng, numbers)
    dark = smoothstep(tone, 0.80, 0.84)
    light = smoothstep(tone, 0.30, 0.10)
    pattern = 0.22 * (tone - 0.5) + 0.06 * noise(rng, size, 60 / appearance.scale)
    body = colour(appearance.base) * (1 + contrast * pattern)
    body = blend(body, colour(appearance.accent), dark * (0.75 * contrast))
    body = blend(body, np.ones_like(body), light * (0.22 * contrast))
    return texture_scene(appearance, body * (0.94 + 0.06 * smoothstep(border, 0, 0.1)))


def brick(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint clinker wall: running bond with recessed mortar."""
    x, y = texture_axes(size, appearance)
    row = y * (7 / appearance.scale) + rng.random()
    offset = 0.5 * (np.floor(row) % 2)
    column = x * (3 / appearance.scale) + offset + rng.random()
    u = centred_fraction(column)
    v = centred_fraction(row)
    bend = 0.02 * noise(rng, size, 18)
    inside = smoothstep(box(u * 2.2, v, (1.04, 0.43), 0.08) + bend, 0.02, -0.02)
    tint = random_per_tile(rng, np.floor(row), np.floor(column), period=64)
    rough = 0.10 * noise(rng, size, 20, 4) + 0.03 * pixel_noise(rng, size, 0.6)
    clay = colour(appearance.base) * (0.86 + appearance.contrast * (0.3 * tint + rough))
    mortar = colour(appearance.accent) * (1 + 0.10 * noise(rng, size, 40, 2))
    wall = blend(mortar, clay, inside)
    return texture_scene(appearance, wall * (1 + 0.35 * shading(inside * 0.010, appearance)))


def herringbone(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint parquet: two directions of short boards, each with its own grain."""
    x, y = grid(size)
    diagonal = appearance.angle + math.pi / 4
    x, y = rotate_axes(x, y, diagonal)
    i = x * (9 / appearance.scale) + rng.random() * 8 + 64
    j = y * (9 / appearance.scale) + rng.random() * 8 + 64
    column = np.floor(i)
    row = np.floor(j)
    part = np.floor(i - row) % 8
    is_across = part < 4
    other_part = (3 - part) % 4
    u = np.where(is_across, part + fraction(i), other_part + fraction(j))
    v = np.where(is_across, fraction(j), fraction(i))
    start = np.where(is_across, column - part, row - other_part).astype(int)
    line = np.where(is_across, row, column).astype(int)
    tint = random_per_tile(rng, start, line + 7 * is_across, period=64)
    to_end = np.minimum(u, 4 - u)
    to_side = np.minimum(v, 1 - v)
    seam = smoothstep(np.minimum(to_end, to_side), 0.0, 0.07)
    grain_across = noise(rng, size, 60, 2, 9, diagonal)
    grain_along = noise(rng, size, 60, 2, 9, appearance.angle - math.pi / 4)
    grain = np.where(is_across, grain_across, grain_along)
    value = 0.82 + appearance.contrast * (0.32 * tint + 0.09 * grain)
    return texture_scene(appearance, colour(appearance.base) * (value * (0.45 + 0.55 * seam)))


def cork(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint pressed granules with dark pores between them."""
    scale = appearance.scale
    numbers, border = voronoi_cells(rng, size, 26 / scale, 1.0)
    tone = random_per_cell(rng, numbers) - 0.5
    pores = smoothstep(noise(rng, size, 30 / scale, 2), 1.5, 2.1) * 0.7
    seam = smoothstep(border, 0.0, 0.16)
    granules = 0.30 * tone + 0.07 * noise(rng, size, 50 / scale, 2)
    value = 0.9 + appearance.contrast * granules + 0.10 * (seam - 1)
    body = colour(appearance.base) * value
    weight = pores * appearance.contrast
    return texture_scene(appearance, blend(body, colour(appearance.accent), weight))


def screw(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a pan-head screw lying on its side."""
    x, y = object_axes(size, appearance)
    head = box(x + 0.30, y, (0.06, 0.13), 0.045)
    is_threaded = smoothstep(x, -0.12, -0.08)
    tooth = np.abs(2 * fraction(x * 22 + 0.2 * np.sign(y)) - 1)
    flank = 0.058 + 0.014 * tooth * is_threaded
    taper = smoothstep(x, 0.36, 0.24)
    shaft = np.maximum(np.abs(y) - flank * taper, np.abs(x - 0.06) - 0.31)
    thread = wave(x * 22 + y * 1.6) * is_threaded * smoothstep(head, 0, 0.01)
    across = np.where(head < 0, y / 0.13, y / 0.06)
    highlight = bump(across, -0.35, 0.3) * 0.55
    shine = highlight + 0.55 * (1 - 0.55 * across * across)
    steel = np.clip(shine, 0.1, 1.3) * (1 - appearance.contrast * 0.42 * thread)
    value = steel + 0.02 * noise(rng, size, 40, 2)
    body = colour(appearance.base) * value.astype(np.float32)
    return object_scene(appearance, body, np.minimum(head, shaft), rng)


def label(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a printed sticker: a colour band, words, and a bar code."""
    x, y = object_axes(size, appearance)
    distance = box(x, y, (0.40, 0.29), 0.03)
    band = object_coverage(box(x, y + 0.215, (0.38, 0.05), 0.01), appearance)
    code_area = object_coverage(box(x + 0.165, y - 0.17, (0.165, 0.065)), appearance)
    code = _bar_code(x) * code_area
    rows = [
        ("MODEL A-207", -0.33, -0.07, 0.062),
        ("24 V   1.5 A", -0.33, 0.03, 0.048),
        ("LOT 8", 0.07, 0.21, 0.06),
    ]
    words = printed_words(size, appearance, rows, pen=0.009)
    paper = colour(appearance.base) * (1 + 0.02 * noise(rng, size, 40, 3))
    paper = blend(paper, colour(appearance.accent), band)
    black = (0.09, 0.09, 0.11)
    return object_scene(appearance, paper, distance, rng, np.maximum(code, words), black)


def _bar_code(x: Plane) -> Plane:
    """Return 1 on the bars of a code that begins at the left of the label, 0 between them."""
    bars = np.array(list("101100101001110101100101"), np.float32)
    index = np.clip((x + 0.33) * 72, 0, len(bars) - 1).astype(int)
    return bars[index]


def star(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a moulded star knob with five lobes and a threaded insert."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    outline = 0.285 + 0.075 * np.cos(turn * (10 * math.pi))
    distance = (radius - outline) * 0.8
    height = dome(distance, 0.10) + 0.05 * smoothstep(radius, 0.17, 0.14)
    value = 0.85 + 0.45 * appearance.contrast * shading(height, appearance, 1.2)
    body = colour(appearance.base) * (value + 0.04 * noise(rng, size, 70))
    shine = 0.2 * np.cos(turn * 4 * math.pi)
    brass = colour(appearance.accent) * (0.8 + 0.25 * wave(radius * 60) + shine)
    insert = object_coverage(disc(x, y, 0.085), appearance)
    bore = object_coverage(disc(x, y, 0.045), appearance)
    body = blend(body, brass.astype(np.float32), insert) * (1 - 0.85 * bore)
    return object_scene(appearance, body, distance, rng)


def fuse(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a glass tube fuse: two metal caps, a wire seen through the glass."""
    x, y = object_axes(size, appearance)
    cap = box(np.abs(x) - 0.29, y, (0.10, 0.15), 0.025)
    tube = box(x, y, (0.30, 0.132))
    across = y * (1 / 0.15)
    caps = colour(appearance.base) * _cap_value(x, across, noise(rng, size, 60, 2))
    wire = object_coverage(np.abs(y - 0.012 * np.sin(x * 9)) - 0.007, appearance)
    reflex = 0.75 * np.exp(-(((across + 0.5) * 9) ** 2))
    gloss = reflex + 0.35 * smoothstep(np.abs(across), 0.55, 0.9)
    glass = colour(appearance.background) * (1.25 - 0.2 * across)
    glass = blend(glass, colour((0.90, 0.95, 0.97)), gloss)
    glass = blend(glass, colour((0.20, 0.18, 0.17)), 0.9 * wire)
    words = printed_words(size, appearance, [("T2A", 0.225, 0.03, 0.058)], pen=0.009)
    metal = object_coverage(cap, appearance)
    body = blend(glass, caps, metal)
    return object_scene(appearance, body, np.minimum(cap, tube), rng, words * metal)


def _cap_value(x: Plane, across: Plane, roughness: Plane) -> Plane:
    """Return the brightness of the metal caps: a highlight, a dark flank and a groove."""
    highlight = 0.7 * np.exp(-(((across + 0.4) * 4.5) ** 2))
    flank = 0.2 * smoothstep(across, 0.3, 0.9)
    shine = 0.62 + highlight - 0.3 * across * across - flank
    groove = 1 - 0.35 * smoothstep(np.abs(np.abs(x) - 0.225), 0.012, 0.004)
    return shine * groove * (1 + 0.03 * roughness)


CATEGORIES = {
    "granite": Category.from_lists(
        granite,
        Appearance((0.64, 0.55, 0.51), (0.17, 0.16, 0.17)),
        "granite, stone slab, polished stone",
        "scratch, crack, hole, stain, colour_spot, worn",
    ),
    "brick": Category.from_lists(
        brick,
        Appearance((0.60, 0.30, 0.22), (0.66, 0.63, 0.58), light_falloff=0.18),
        "brick wall, bricks, masonry",
        "crack, hole, stain, contamination, colour_spot, worn",
    ),
    "herringbone": Category.from_lists(
        herringbone,
        Appearance((0.66, 0.46, 0.28)),
        "parquet, herringbone floor, wooden boards",
        "scratch, crack, hole, stain, dent, fibre, colour_spot",
    ),
    "cork": Category.from_lists(
        cork,
        Appearance((0.72, 0.54, 0.36), (0.28, 0.17, 0.10)),
        "cork, cork sheet, cork board",
        f"{SURFACE_DEFECTS}, crack",
    ),
    "screw": Category.from_lists(
        screw,
        Appearance(
            (0.72, 0.73, 0.75),
            background=(0.80, 0.80, 0.78),
            scale=1.12,
            light_angle=-1.8,
            free_turn=True,
        ),
        "screw, bolt, fastener",
        "scratch, stain, missing_part, bent, contamination, dent",
    ),
    "label": Category.from_lists(
        label,
        Appearance((0.92, 0.91, 0.87), (0.12, 0.30, 0.62), (0.34, 0.36, 0.38)),
        "label, printed label, sticker",
        "scratch, stain, missing_part, misprint, colour_spot, fibre, hole",
    ),
    "star": Category.from_lists(
        star,
        Appearance(
            (0.16, 0.17, 0.19), (0.78, 0.62, 0.30), (0.70, 0.71, 0.72), gain=1.05, free_turn=True
        ),
        "knob, star knob, plastic knob",
        "scratch, crack, hole, missing_part, contamination, worn, dent",
    ),
    "fuse": Category.from_lists(
        fuse,
        Appearance((0.74, 0.75, 0.76), (0.4, 0.4, 0.4), (0.25, 0.36, 0.42)),
        "fuse, glass fuse, electric fuse",
        "scratch, crack, stain, bent, misprint, contamination",
    ),
}
