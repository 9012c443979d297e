"""Objects of the pre-training world. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import (
    ImageArray,
    Plane,
    Rgb,
    blend,
    box,
    bump,
    centred_fraction,
    colour,
    coverage,
    disc,
    dome,
    polar,
    polygon,
    smoothstep,
    wave,
)
from zsad.data.synthetic.noise import noise
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

_BLACK = (0.12, 0.12, 0.13)
_GOLD = (0.80, 0.68, 0.38)
_TIN = (0.75, 0.76, 0.78)
_DARK_INK = (0.08, 0.08, 0.1)
_WHITE_INK = (0.95, 0.95, 0.92)


def nut(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a hexagonal nut from above."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    outline = polygon(x, y, 6, 0.31)
    distance = np.maximum(outline, -disc(x, y, 0.165))
    radius = disc(x, y, 0)
    height = dome(np.maximum(outline, radius - 0.335), 0.05)
    light = shading(height, appearance)
    value = 0.9 + contrast * 0.5 * light
    bore = smoothstep(radius, 0.20, 0.19)
    thread = bore * (0.25 * wave(radius * 80) - 0.3)
    roughness = noise(rng, size, cells=60, octaves=2)
    value = value + thread + 0.04 * roughness
    return object_scene(appearance, base * value, distance, rng)


def washer(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a flat ring with turning marks."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    half_width = rng.uniform(0.06, 0.12)
    distance = np.abs(radius - 0.26) - half_width
    sweep = np.cos(turn * 4 * math.pi + appearance.light_angle)
    rings = np.sin(radius * 260)
    shine = 0.15 * sweep + 0.05 * rings
    edge = shading(dome(distance, 0.02), appearance)
    value = 0.85 + contrast * (shine + 0.4 * edge)
    body = base * value.astype(np.float32)
    return object_scene(appearance, body, distance, rng)


def button(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a sewing button with a raised rim and four holes."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    radius = disc(x, y, 0)
    holes = disc(np.abs(x) - 0.075, np.abs(y) - 0.075, 0.04)
    distance = np.maximum(radius - 0.36, -holes)
    dip = smoothstep(radius, 0.29, 0.25)
    height = dome(radius - 0.36, 0.05) - 0.03 * dip
    light = shading(height, appearance)
    clouds = noise(rng, size, cells=6, octaves=3)
    value = 0.9 + 0.5 * contrast * light
    value = value + 0.05 * clouds
    return object_scene(appearance, base * value, distance, rng)


def capsule(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a two-part gelatine capsule with print and a highlight."""
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = object_axes(size, appearance)
    distance = box(x, y, (0.40, 0.15), corner=0.1499)
    across = y / 0.15
    highlight = bump(across, -0.45, 0.2) * 0.35
    light = highlight + 1 - 0.4 * across**2
    seam = smoothstep(np.abs(x - 0.02), 0.0, 0.008)
    seam = seam * 0.25 + 0.75
    is_cap = smoothstep(x, 0.015, 0.025)
    shell = blend(base, accent, is_cap)
    body = shell * (light * seam).astype(np.float32)
    print_row = (part_number(rng), -0.28, 0.04, 0.075)
    words = printed_words(size, appearance, [print_row], pen=0.01)
    ink = legible(appearance.base)
    return object_scene(appearance, body, distance, rng, words, ink)


def bottle(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a bottle's mouth from above: rings of glass around the dark inside."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    count = rng.uniform(9, 14)
    rings = wave(radius * count + 0.2)
    lamp = rng.random()
    from_lamp = np.cos((turn - lamp) * 2 * math.pi) - 1
    glint = np.exp(-(from_lamp**2) / 0.02)
    lip = smoothstep(np.abs(radius - 0.31), 0.04, 0.01)
    value = 0.5 + 0.5 * rings * contrast
    value = value + 0.7 * (glint * lip)
    value = value + 0.03 * noise(rng, size, cells=12)
    glass = base * value.astype(np.float32)
    inside = object_coverage(disc(x, y, 0.20), appearance)
    dark = accent * (0.25 + 0.3 * radius)
    body = blend(glass, dark, inside)
    return object_scene(appearance, body, radius - 0.38, rng)


def bearing(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a ball bearing: two races and a ring of balls."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    distance = np.maximum(radius - 0.38, 0.12 - radius)
    count = int(rng.integers(7, 12))
    pitch = 2 * math.pi * 0.25 / count
    along = centred_fraction(turn * count) * pitch
    ball = disc(along, radius - 0.25, 0)
    outer_race = smoothstep(np.abs(radius - 0.345), 0.035, 0.03)
    inner_race = smoothstep(np.abs(radius - 0.155), 0.035, 0.03)
    races = np.maximum(outer_race, inner_race)
    sweep = np.cos(turn * 4 * math.pi + appearance.light_angle)
    rings = np.sin(radius * 300)
    marks = 0.15 * sweep + 0.04 * rings
    shine = 0.75 + contrast * marks
    balls = np.clip(1 - (ball / 0.055) ** 2, 0, 1)
    value = races * shine
    value = value + (1 - races) * (0.22 + 0.8 * balls)
    body = base * value.astype(np.float32)
    return object_scene(appearance, body, distance, rng)


def bracket(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a punched plate with round corners and holes."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    half_height = rng.uniform(0.18, 0.3)
    plate = box(x, y, (0.38, half_height), corner=0.06)
    hole_x = np.abs(x) - 0.27
    hole_y = np.abs(y) - half_height + 0.1
    holes = disc(hole_x, hole_y, 0.04)
    slot = box(x, y, (0.12, 0.05), corner=0.05)
    distance = np.maximum(plate, -np.minimum(holes, slot))
    marks = noise(rng, size, cells=80, octaves=2, stretch=20, angle=appearance.angle)
    edge = shading(dome(distance, 0.015), appearance)
    value = 0.9 + 0.4 * edge
    value = value + 0.05 * contrast * marks
    stamp = (part_number(rng), -0.12, -0.085, 0.06)
    words = printed_words(size, appearance, [stamp], pen=0.008)
    ink = legible(appearance.base)
    return object_scene(appearance, base * value, distance, rng, words, ink)


def circuit(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a circuit board: traces, vias, chips and a white legend."""
    scale = appearance.scale
    base = colour(appearance.base)
    x, y = texture_axes(size, appearance)
    u = x * (1 / scale)
    v = y * (1 / scale)
    roughness = noise(rng, size, cells=40, octaves=2)
    body = base * (1 + 0.03 * roughness)
    body = body * (1 + _traces(u, v, rng))
    for _ in range(int(rng.integers(5, 10))):
        via_x = u - rng.uniform(-0.45, 0.45)
        via_y = v - rng.uniform(-0.45, 0.45)
        body = _with_via(body, disc(via_x, via_y, 0.022))
    for _ in range(int(rng.integers(2, 5))):
        chip_x = u - rng.uniform(-0.38, 0.38)
        chip_y = v - rng.uniform(-0.38, 0.38)
        body = _with_chip(body, chip_x, chip_y, rng, appearance)
    number = part_number(rng)
    baseline = rng.uniform(-0.3, 0.3)
    words = printed_words(size, appearance, [(number, -0.3, baseline, 0.06)], pen=0.008)
    return texture_scene(appearance, body, words, legible(appearance.base))


def _traces(u: Plane, v: Plane, rng: Generator) -> Plane:
    """Return the brightening by traces, which change their row once, in parts of the board."""
    left, right = np.sort(rng.uniform(-0.4, 0.4, 2)).tolist()
    row = v * 16 + 1.2 * smoothstep(u, left, right)
    line = np.abs(centred_fraction(row))
    area = noise(rng, len(u), cells=4)
    trace = smoothstep(line, 0.2, 0.12)
    return 0.35 * trace * smoothstep(area, -0.4, 0.0)


def _with_via(body: ImageArray, distance: Plane) -> ImageArray:
    """Return the board with a gold ring around a hole."""
    size = len(distance)
    body = blend(body, colour(_GOLD), coverage(distance, size))
    return body * (1 - 0.8 * coverage(distance + 0.012, size))


def _with_chip(
    body: ImageArray, u: Plane, v: Plane, rng: Generator, appearance: Appearance
) -> ImageArray:
    """Return the board with a black chip and its two rows of legs."""
    width = rng.uniform(0.06, 0.13)
    height = rng.uniform(0.04, 0.09)
    size = len(u)
    case = box(u, v, (width, height), corner=0.008)
    leg = np.abs(centred_fraction(u * 36)) / 36
    leg_rows = box(u, v, (width * 0.92, height + 0.022))
    legs = np.maximum(leg_rows, leg - 0.007)
    edge = shading(dome(case, 0.012), appearance)
    black = colour(_BLACK) * (1 + 0.6 * edge)
    body = blend(body, colour(_TIN), coverage(legs, size))
    return blend(body, black, coverage(case, size))


def legible(paper: Rgb) -> Rgb:
    """Return black ink for bright paper and white ink for dark."""
    return _DARK_INK if sum(paper) > 1.2 else _WHITE_INK


def part_number(rng: Generator) -> str:
    """Return a part number such as ``KR 47``."""
    letters = "".join(rng.choice(list("ABCDEFHKLMNPRSTUVXYZ"), 2))
    return f"{letters} {rng.integers(10, 99)}"
