"""The target categories: what a method is tested on. No other world uses these generators."""

from __future__ import annotations

import math

import numpy as np

from zsad.data.synthetic.canvas import (
    blend,
    box,
    colour,
    coverage,
    disc,
    dome,
    fraction,
    grid,
    lettering,
    noise,
    pixel_noise,
    polar,
    random_per_cell,
    relief,
    rotate_axes,
    smoothstep,
    voronoi_cells,
    wave,
)
from zsad.data.synthetic.category import SURFACE_DEFECTS, Category
from zsad.data.synthetic.scene import (
    Appearance,
    Scene,
    object_axes,
    object_scene,
    pose_drawing,
    texture_scene,
)


def granite(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint polished stone: interlocked crystals of three tones."""
    numbers, border = voronoi_cells(rng, size, 34 / appearance.scale, 1.0)
    tone = random_per_cell(rng, numbers)
    dark, light = smoothstep(tone, 0.80, 0.84), smoothstep(tone, 0.30, 0.10)
    body = colour(appearance.base) * (
        1
        + appearance.contrast
        * (0.22 * (tone - 0.5) + 0.06 * noise(rng, size, 60 / appearance.scale))
    )
    body = blend(body, colour(appearance.accent), dark * (0.75 * appearance.contrast))
    return texture_scene(
        appearance,
        blend(body, np.ones_like(body), light * (0.22 * appearance.contrast))
        * (0.94 + 0.06 * smoothstep(border, 0, 0.1)),
    )


def brick(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint clinker wall: running bond with recessed mortar."""
    x, y = rotate_axes(*grid(size), appearance.angle)
    row = y * (7 / appearance.scale) + rng.random()
    column = x * (3 / appearance.scale) + 0.5 * (np.floor(row) % 2) + rng.random()
    u, v = fraction(column) - 0.5, fraction(row) - 0.5
    bend = 0.02 * noise(rng, size, 18)
    inside = smoothstep(box(u * 2.2, v, (1.04, 0.43), 0.08) + bend, 0.02, -0.02)
    tint = rng.random((64, 64), dtype=np.float32)[
        np.floor(row).astype(int) % 64, np.floor(column).astype(int) % 64
    ]
    rough = 0.10 * noise(rng, size, 20, 4) + 0.03 * pixel_noise(rng, size, 0.6)
    clay = colour(appearance.base) * (0.86 + appearance.contrast * (0.3 * tint + rough))
    mortar = colour(appearance.accent) * (1 + 0.10 * noise(rng, size, 40, 2))
    edge = relief(inside * 0.010, appearance.light_angle, size)
    return texture_scene(
        appearance, blend(mortar, clay, inside) * (1 + 0.35 * np.clip(edge, -1, 1))
    )


def herringbone(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint parquet: two directions of short boards, each with its own grain."""
    x, y = rotate_axes(*grid(size), appearance.angle + math.pi / 4)
    i, j = (
        x * (9 / appearance.scale) + rng.random() * 8 + 64,
        y * (9 / appearance.scale) + rng.random() * 8 + 64,
    )
    part = np.floor(i - np.floor(j)) % 8
    across = part < 4
    u = np.where(across, (part + fraction(i)), ((3 - part) % 4 + fraction(j)))
    v = np.where(across, fraction(j), fraction(i))
    start = np.where(across, np.floor(i) - part, np.floor(j) - (3 - part) % 4).astype(int)
    line = np.where(across, np.floor(j), np.floor(i)).astype(int)
    tint = rng.random((64, 64), dtype=np.float32)[start % 64, (line + 7 * across) % 64]
    seam = smoothstep(np.minimum(np.minimum(u, 4 - u), np.minimum(v, 1 - v)), 0.0, 0.07)
    grain_along = np.where(
        across,
        noise(rng, size, 60, 2, 9, appearance.angle + math.pi / 4),
        noise(rng, size, 60, 2, 9, appearance.angle - math.pi / 4),
    )
    value = 0.82 + appearance.contrast * (0.32 * tint + 0.09 * grain_along)
    return texture_scene(appearance, colour(appearance.base) * (value * (0.45 + 0.55 * seam)))


def cork(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint pressed granules with dark pores between them."""
    numbers, border = voronoi_cells(rng, size, 26 / appearance.scale, 1.0)
    tone = random_per_cell(rng, numbers) - 0.5
    pores = smoothstep(noise(rng, size, 30 / appearance.scale, 2), 1.5, 2.1) * 0.7
    seam = smoothstep(border, 0.0, 0.16)
    value = (
        0.9
        + appearance.contrast * (0.30 * tone + 0.07 * noise(rng, size, 50 / appearance.scale, 2))
        + 0.10 * (seam - 1)
    )
    return texture_scene(
        appearance,
        blend(
            colour(appearance.base) * value, colour(appearance.accent), pores * appearance.contrast
        ),
    )


def screw(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a pan-head screw lying on its side."""
    x, y = object_axes(size, appearance)
    head = box(x + 0.30, y, (0.06, 0.13), 0.045)
    flank = 0.058 + 0.014 * np.abs(2 * fraction(x * 22 + 0.2 * np.sign(y)) - 1) * smoothstep(
        x, -0.12, -0.08
    )
    taper = smoothstep(x, 0.36, 0.24)
    shaft = np.maximum(np.abs(y) - flank * taper, np.abs(x - 0.06) - 0.31)
    distance = np.minimum(head, shaft)
    thread = wave(x * 22 + y * 1.6) * smoothstep(x, -0.12, -0.08) * smoothstep(head, 0, 0.01)
    across = np.where(head < 0, y / 0.13, y / 0.06)
    shine = np.exp(-(((across + 0.35) / 0.3) ** 2)) * 0.55 + 0.55 * (1 - 0.55 * across * across)
    value = np.clip(shine, 0.1, 1.3) * (1 - appearance.contrast * 0.42 * thread) + 0.02 * noise(
        rng, size, 40, 2
    )
    return object_scene(
        appearance,
        colour(appearance.base) * value.astype(np.float32),
        coverage(distance, size * appearance.scale),
        rng,
    )


def label(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a printed sticker: a colour band, words, and a bar code."""
    x, y = object_axes(size, appearance)
    part = coverage(box(x, y, (0.40, 0.29), 0.03), size * appearance.scale)
    band = coverage(box(x, y + 0.215, (0.38, 0.05), 0.01), size * appearance.scale)
    bars = np.array(
        [1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1], np.float32
    )
    index = np.clip((x + 0.33) * 72, 0, len(bars) - 1).astype(int)
    code = bars[index] * coverage(box(x + 0.165, y - 0.17, (0.165, 0.065)), size * appearance.scale)
    rows = [
        ("MODEL A-207", -0.33, -0.07, 0.062),
        ("24 V   1.5 A", -0.33, 0.03, 0.048),
        ("LOT 8", 0.07, 0.21, 0.06),
    ]
    words = pose_drawing(lettering(size, rows, 0.009), appearance)
    paper = colour(appearance.base) * (1 + 0.02 * noise(rng, size, 40, 3))
    paper = blend(paper, colour(appearance.accent), band)
    return object_scene(appearance, paper, part, rng, np.maximum(code, words), (0.09, 0.09, 0.11))


def star(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a moulded star knob with five lobes and a threaded insert."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    distance = (radius - (0.285 + 0.075 * np.cos(turn * (10 * math.pi)))) * 0.8
    height = dome(distance, 0.10) + 0.05 * smoothstep(radius, 0.17, 0.14)
    value = 0.85 + 0.45 * appearance.contrast * np.clip(
        relief(height, appearance.light_angle, size), -1.2, 1.2
    )
    body = colour(appearance.base) * (value + 0.04 * noise(rng, size, 70))
    brass = colour(appearance.accent) * (
        0.8 + 0.25 * wave(radius * 60) + 0.2 * np.cos(turn * 4 * math.pi)
    )
    body = blend(
        body, brass.astype(np.float32), coverage(disc(x, y, 0.085), size * appearance.scale)
    )
    body = body * (1 - 0.85 * coverage(disc(x, y, 0.045), size * appearance.scale))
    return object_scene(appearance, body, coverage(distance, size * appearance.scale), rng)


def fuse(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a glass tube fuse: two metal caps, a wire seen through the glass."""
    x, y = object_axes(size, appearance)
    cap = box(np.abs(x) - 0.29, y, (0.10, 0.15), 0.025)
    tube = box(x, y, (0.30, 0.132))
    across = y * (1 / 0.15)
    shine = (
        0.62
        + 0.7 * np.exp(-(((across + 0.4) * 4.5) ** 2))
        - 0.3 * across * across
        - 0.2 * smoothstep(across, 0.3, 0.9)
    )
    groove = 1 - 0.35 * smoothstep(np.abs(np.abs(x) - 0.225), 0.012, 0.004)
    caps = colour(appearance.base) * (shine * groove * (1 + 0.03 * noise(rng, size, 60, 2)))
    wire = coverage(np.abs(y - 0.012 * np.sin(x * 9)) - 0.007, size * appearance.scale)
    gloss = 0.75 * np.exp(-(((across + 0.5) * 9) ** 2)) + 0.35 * smoothstep(
        np.abs(across), 0.55, 0.9
    )
    glass = blend(
        colour(appearance.background) * (1.25 - 0.2 * across), colour((0.90, 0.95, 0.97)), gloss
    )
    glass = blend(glass, colour((0.20, 0.18, 0.17)), 0.9 * wire)
    words = pose_drawing(lettering(size, [("T2A", 0.225, 0.03, 0.058)], 0.009), appearance)
    metal = coverage(cap, size * appearance.scale)
    return object_scene(
        appearance,
        blend(glass, caps, metal),
        coverage(np.minimum(cap, tube), size * appearance.scale),
        rng,
        words * metal,
    )


CATEGORIES = {
    "granite": Category(
        granite,
        Appearance((0.64, 0.55, 0.51), (0.17, 0.16, 0.17)),
        ("granite", "stone slab", "polished stone"),
        ("scratch", "crack", "hole", "stain", "colour_spot", "worn"),
    ),
    "brick": Category(
        brick,
        Appearance((0.60, 0.30, 0.22), (0.66, 0.63, 0.58), light_falloff=0.18),
        ("brick wall", "bricks", "masonry"),
        ("crack", "hole", "stain", "contamination", "colour_spot", "worn"),
    ),
    "herringbone": Category(
        herringbone,
        Appearance((0.66, 0.46, 0.28)),
        ("parquet", "herringbone floor", "wooden boards"),
        ("scratch", "crack", "hole", "stain", "dent", "fibre", "colour_spot"),
    ),
    "cork": Category(
        cork,
        Appearance((0.72, 0.54, 0.36), (0.28, 0.17, 0.10)),
        ("cork", "cork sheet", "cork board"),
        (*SURFACE_DEFECTS, "crack"),
    ),
    "screw": Category(
        screw,
        Appearance(
            (0.72, 0.73, 0.75),
            background=(0.80, 0.80, 0.78),
            scale=1.12,
            light_angle=-1.8,
            free_turn=True,
        ),
        ("screw", "bolt", "fastener"),
        ("scratch", "stain", "missing_part", "bent", "contamination", "dent"),
    ),
    "label": Category(
        label,
        Appearance((0.92, 0.91, 0.87), (0.12, 0.30, 0.62), (0.34, 0.36, 0.38)),
        ("label", "printed label", "sticker"),
        ("scratch", "stain", "missing_part", "misprint", "colour_spot", "fibre", "hole"),
    ),
    "star": Category(
        star,
        Appearance(
            (0.16, 0.17, 0.19), (0.78, 0.62, 0.30), (0.70, 0.71, 0.72), gain=1.05, free_turn=True
        ),
        ("knob", "star knob", "plastic knob"),
        ("scratch", "crack", "hole", "missing_part", "contamination", "worn", "dent"),
    ),
    "fuse": Category(
        fuse,
        Appearance((0.74, 0.75, 0.76), (0.4, 0.4, 0.4), (0.25, 0.36, 0.42)),
        ("fuse", "glass fuse", "electric fuse"),
        ("scratch", "crack", "stain", "bent", "misprint", "contamination"),
    ),
}
