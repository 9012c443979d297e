"""Objects of the pre-training world. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np

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


def nut(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a hexagonal nut from above."""
    x, y = object_axes(size, appearance)
    outline = polygon(x, y, 6, 0.31)
    distance = np.maximum(outline, -disc(x, y, 0.165))
    radius = disc(x, y, 0)
    height = dome(np.maximum(outline, radius - 0.335), 0.05)
    value = 0.9 + appearance.contrast * 0.5 * shading(height, appearance)
    thread = smoothstep(radius, 0.20, 0.19) * (0.25 * wave(radius * 80) - 0.3)
    body = colour(appearance.base) * (value + thread + 0.04 * noise(rng, size, 60, 2))
    return object_scene(appearance, body, distance, rng)


def washer(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a flat ring with turning marks."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    half_width = rng.uniform(0.06, 0.12)
    distance = np.abs(radius - 0.26) - half_width
    sweep = 0.15 * np.cos(turn * 4 * math.pi + appearance.light_angle)
    shine = sweep + 0.05 * np.sin(radius * 260)
    edge = 0.4 * shading(dome(distance, 0.02), appearance)
    value = 0.85 + appearance.contrast * (shine + edge)
    body = colour(appearance.base) * value.astype(np.float32)
    return object_scene(appearance, body, distance, rng)


def button(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a sewing button with a raised rim and four holes."""
    x, y = object_axes(size, appearance)
    radius = disc(x, y, 0)
    holes = disc(np.abs(x) - 0.075, np.abs(y) - 0.075, 0.04)
    distance = np.maximum(radius - 0.36, -holes)
    height = dome(radius - 0.36, 0.05) - 0.03 * smoothstep(radius, 0.29, 0.25)
    light = 0.5 * appearance.contrast * shading(height, appearance)
    value = 0.9 + light + 0.05 * noise(rng, size, 6, 3)
    return object_scene(appearance, colour(appearance.base) * value, distance, rng)


def capsule(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a two-part gelatine capsule with print and a highlight."""
    x, y = object_axes(size, appearance)
    distance = box(x, y, (0.40, 0.15), 0.1499)
    across = y / 0.15
    highlight = bump(across, -0.45, 0.2) * 0.35
    light = highlight + 1 - 0.4 * across**2
    seam = smoothstep(np.abs(x - 0.02), 0.0, 0.008) * 0.25 + 0.75
    is_cap = smoothstep(x, 0.015, 0.025)
    shell = blend(colour(appearance.base), colour(appearance.accent), is_cap)
    body = shell * (light * seam).astype(np.float32)
    words = printed_words(size, appearance, [(part_number(rng), -0.28, 0.04, 0.075)], pen=0.01)
    return object_scene(appearance, body, distance, rng, words, legible(appearance.base))


def bottle(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a bottle's mouth from above: rings of glass around the dark inside."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    rings = wave(radius * rng.uniform(9, 14) + 0.2)
    from_lamp = np.cos((turn - rng.random()) * 2 * math.pi) - 1
    lip = smoothstep(np.abs(radius - 0.31), 0.04, 0.01)
    glint = np.exp(-(from_lamp**2) / 0.02) * lip
    glass = 0.5 + 0.5 * rings * appearance.contrast
    value = glass + 0.7 * glint + 0.03 * noise(rng, size, 12)
    body = colour(appearance.base) * value.astype(np.float32)
    inside = object_coverage(disc(x, y, 0.20), appearance)
    dark = colour(appearance.accent) * (0.25 + 0.3 * radius)
    return object_scene(appearance, blend(body, dark, inside), radius - 0.38, rng)


def bearing(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a ball bearing: two races and a ring of balls."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    distance = np.maximum(radius - 0.38, 0.12 - radius)
    count = int(rng.integers(7, 12))
    along = centred_fraction(turn * count) * (2 * math.pi * 0.25 / count)
    ball = disc(along, radius - 0.25, 0)
    outer_race = smoothstep(np.abs(radius - 0.345), 0.035, 0.03)
    inner_race = smoothstep(np.abs(radius - 0.155), 0.035, 0.03)
    races = np.maximum(outer_race, inner_race)
    sweep = 0.15 * np.cos(turn * 4 * math.pi + appearance.light_angle)
    shine = 0.75 + appearance.contrast * (sweep + 0.04 * np.sin(radius * 300))
    balls = 0.22 + 0.8 * np.clip(1 - (ball / 0.055) ** 2, 0, 1)
    value = races * shine + (1 - races) * balls
    body = colour(appearance.base) * value.astype(np.float32)
    return object_scene(appearance, body, distance, rng)


def bracket(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a punched plate with round corners and holes."""
    x, y = object_axes(size, appearance)
    half_height = rng.uniform(0.18, 0.3)
    plate = box(x, y, (0.38, half_height), 0.06)
    round_holes = disc(np.abs(x) - 0.27, np.abs(y) - half_height + 0.1, 0.04)
    holes = np.minimum(round_holes, box(x, y, (0.12, 0.05), 0.05))
    distance = np.maximum(plate, -holes)
    marks = noise(rng, size, 80, 2, 20, appearance.angle)
    edge = 0.4 * shading(dome(distance, 0.015), appearance)
    value = 0.9 + edge + 0.05 * appearance.contrast * marks
    words = printed_words(size, appearance, [(part_number(rng), -0.12, -0.085, 0.06)], pen=0.008)
    body = colour(appearance.base) * value
    return object_scene(appearance, body, distance, rng, words, legible(appearance.base))


def circuit(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a circuit board: traces, vias, chips and a white legend."""
    x, y = texture_axes(size, appearance)
    u = x * (1 / appearance.scale)
    v = y * (1 / appearance.scale)
    body = colour(appearance.base) * (1 + 0.03 * noise(rng, size, 40, 2))
    left, right = np.sort(rng.uniform(-0.4, 0.4, 2)).tolist()
    line = np.abs(centred_fraction(v * 16 + 1.2 * smoothstep(u, left, right)))
    is_covered = smoothstep(noise(rng, size, 4), -0.4, 0.0)
    body = body * (1 + 0.35 * smoothstep(line, 0.2, 0.12) * is_covered)
    for _ in range(int(rng.integers(5, 10))):
        via = disc(u - rng.uniform(-0.45, 0.45), v - rng.uniform(-0.45, 0.45), 0.022)
        body = blend(body, colour((0.80, 0.68, 0.38)), coverage(via, size))
        body = body * (1 - 0.8 * coverage(via + 0.012, size))
    for _ in range(int(rng.integers(2, 5))):
        chip_x = u - rng.uniform(-0.38, 0.38)
        chip_y = v - rng.uniform(-0.38, 0.38)
        body = _with_chip(body, chip_x, chip_y, rng, appearance)
    legend = (part_number(rng), -0.3, rng.uniform(-0.3, 0.3), 0.06)
    words = printed_words(size, appearance, [legend], pen=0.008)
    return texture_scene(appearance, body, words, legible(appearance.base))


def _with_chip(
    body: ImageArray, u: Plane, v: Plane, rng: np.random.Generator, appearance: Appearance
) -> ImageArray:
    """Return the board with a black chip and its two rows of legs."""
    width = rng.uniform(0.06, 0.13)
    height = rng.uniform(0.04, 0.09)
    size = body.shape[1]
    case = box(u, v, (width, height), 0.008)
    leg = np.abs(centred_fraction(u * 36)) / 36 - 0.007
    legs = np.maximum(box(u, v, (width * 0.92, height + 0.022)), leg)
    edge = shading(dome(case, 0.012), appearance)
    body = blend(body, colour((0.75, 0.76, 0.78)), coverage(legs, size))
    return blend(body, colour((0.12, 0.12, 0.13)) * (1 + 0.6 * edge), coverage(case, size))


def legible(paper: Rgb) -> Rgb:
    """Return black ink for bright paper and white ink for dark."""
    return (0.08, 0.08, 0.1) if sum(paper) > 1.2 else (0.95, 0.95, 0.92)


def part_number(rng: np.random.Generator) -> str:
    """Return a part number such as ``KR 47``."""
    letters = "".join(rng.choice(list("ABCDEFHKLMNPRSTUVXYZ"), 2))
    return f"{letters} {rng.integers(10, 99)}"
