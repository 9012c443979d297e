"""Objects of the pre-training world. No other world uses these generators."""

from __future__ import annotations

import math

import numpy as np

from zsad.data.synthetic.canvas import (
    Rgb,
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
    polar,
    polygon,
    relief,
    rotate_axes,
    smoothstep,
    wave,
)
from zsad.data.synthetic.scene import (
    Appearance,
    Scene,
    object_axes,
    object_scene,
    pose_drawing,
    texture_scene,
)


def nut(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a hexagonal nut from above."""
    x, y = object_axes(size, appearance)
    outline = polygon(x, y, 6, 0.31)
    distance = np.maximum(outline, -disc(x, y, 0.165))
    radius = disc(x, y, 0)
    height = dome(np.maximum(outline, radius - 0.335), 0.05)
    value = 0.9 + appearance.contrast * 0.5 * np.clip(
        relief(height, appearance.light_angle, size), -1, 1
    )
    thread = smoothstep(radius, 0.20, 0.19) * (0.25 * wave(radius * 80) - 0.3)
    body = colour(appearance.base) * (value + thread + 0.04 * noise(rng, size, 60, 2))
    return object_scene(appearance, body, coverage(distance, size * appearance.scale), rng)


def washer(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a flat ring with turning marks."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    half = rng.uniform(0.06, 0.12)
    distance = np.abs(radius - 0.26) - half
    shine = 0.15 * np.cos(turn * 4 * math.pi + appearance.light_angle) + 0.05 * np.sin(radius * 260)
    value = 0.85 + appearance.contrast * (
        shine + 0.4 * np.clip(relief(dome(distance, 0.02), appearance.light_angle, size), -1, 1)
    )
    return object_scene(
        appearance,
        colour(appearance.base) * value.astype(np.float32),
        coverage(distance, size * appearance.scale),
        rng,
    )


def button(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a sewing button with a raised rim and four holes."""
    x, y = object_axes(size, appearance)
    radius = disc(x, y, 0)
    holes = disc(np.abs(x) - 0.075, np.abs(y) - 0.075, 0.04)
    distance = np.maximum(radius - 0.36, -holes)
    height = dome(radius - 0.36, 0.05) - 0.03 * smoothstep(radius, 0.29, 0.25)
    value = (
        0.9
        + 0.5 * appearance.contrast * np.clip(relief(height, appearance.light_angle, size), -1, 1)
        + 0.05 * noise(rng, size, 6, 3)
    )
    return object_scene(
        appearance,
        colour(appearance.base) * value,
        coverage(distance, size * appearance.scale),
        rng,
    )


def capsule(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a two-part gelatine capsule with print and a highlight."""
    x, y = object_axes(size, appearance)
    distance = box(x, y, (0.40, 0.15), 0.1499)
    lit = np.exp(-(((y / 0.15 + 0.45) / 0.2) ** 2)) * 0.35 + 1 - 0.4 * (y / 0.15) ** 2
    seam = smoothstep(np.abs(x - 0.02), 0.0, 0.008) * 0.25 + 0.75
    body = blend(
        colour(appearance.base), colour(appearance.accent), smoothstep(x, 0.015, 0.025)
    ) * (lit * seam).astype(np.float32)
    words = pose_drawing(
        lettering(size, [(part_number(rng), -0.28, 0.04, 0.075)], 0.01), appearance
    )
    return object_scene(
        appearance,
        body,
        coverage(distance, size * appearance.scale),
        rng,
        words,
        legible(appearance.base),
    )


def bottle(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a bottle's mouth from above: rings of glass around the dark inside."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    distance = radius - 0.38
    rings = wave(radius * rng.uniform(9, 14) + 0.2)
    glint = np.exp(-((np.cos((turn - rng.random()) * 2 * math.pi) - 1) ** 2) / 0.02) * smoothstep(
        np.abs(radius - 0.31), 0.04, 0.01
    )
    value = 0.5 + 0.5 * rings * appearance.contrast + 0.7 * glint + 0.03 * noise(rng, size, 12)
    body = colour(appearance.base) * value.astype(np.float32)
    inside = coverage(disc(x, y, 0.20), size * appearance.scale)
    return object_scene(
        appearance,
        blend(body, colour(appearance.accent) * (0.25 + 0.3 * radius), inside),
        coverage(distance, size * appearance.scale),
        rng,
    )


def bearing(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a ball bearing: two races and a ring of balls."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    distance = np.maximum(radius - 0.38, 0.12 - radius)
    count = int(rng.integers(7, 12))
    phase = (fraction(turn * count) - 0.5) * (2 * math.pi * 0.25 / count)
    ball = disc(phase, radius - 0.25, 0)
    races = np.maximum(
        smoothstep(np.abs(radius - 0.345), 0.035, 0.03),
        smoothstep(np.abs(radius - 0.155), 0.035, 0.03),
    )
    shine = 0.75 + appearance.contrast * (
        0.15 * np.cos(turn * 4 * math.pi + appearance.light_angle) + 0.04 * np.sin(radius * 300)
    )
    value = races * shine + (1 - races) * (0.22 + 0.8 * np.clip(1 - (ball / 0.055) ** 2, 0, 1))
    return object_scene(
        appearance,
        colour(appearance.base) * value.astype(np.float32),
        coverage(distance, size * appearance.scale),
        rng,
    )


def bracket(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a punched plate with round corners and holes."""
    x, y = object_axes(size, appearance)
    tall = rng.uniform(0.18, 0.3)
    plate = box(x, y, (0.38, tall), 0.06)
    holes = np.minimum(
        disc(np.abs(x) - 0.27, np.abs(y) - tall + 0.1, 0.04), box(x, y, (0.12, 0.05), 0.05)
    )
    distance = np.maximum(plate, -holes)
    marks = noise(rng, size, 80, 2, 20, appearance.angle)
    value = (
        0.9
        + 0.4 * np.clip(relief(dome(distance, 0.015), appearance.light_angle, size), -1, 1)
        + 0.05 * appearance.contrast * marks
    )
    words = pose_drawing(
        lettering(size, [(part_number(rng), -0.12, -0.085, 0.06)], 0.008), appearance
    )
    return object_scene(
        appearance,
        colour(appearance.base) * value,
        coverage(distance, size * appearance.scale),
        rng,
        words,
        legible(appearance.base),
    )


def circuit(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a circuit board: traces, vias, chips and a white legend."""
    x, y = rotate_axes(*grid(size), appearance.angle)
    u, v = x * (1 / appearance.scale), y * (1 / appearance.scale)
    body = colour(appearance.base) * (1 + 0.03 * noise(rng, size, 40, 2))
    traces = smoothstep(
        np.abs(
            fraction(v * 16 + 1.2 * smoothstep(u, *np.sort(rng.uniform(-0.4, 0.4, 2)).tolist()))
            - 0.5
        ),
        0.2,
        0.12,
    )
    body = body * (1 + 0.35 * traces * smoothstep(noise(rng, size, 4), -0.4, 0.0))
    for _ in range(int(rng.integers(5, 10))):
        via = disc(u - rng.uniform(-0.45, 0.45), v - rng.uniform(-0.45, 0.45), 0.022)
        body = blend(body, colour((0.80, 0.68, 0.38)), coverage(via, size)) * (
            1 - 0.8 * coverage(via + 0.012, size)
        )
    for _ in range(int(rng.integers(2, 5))):
        body = _chip(
            body, u - rng.uniform(-0.38, 0.38), v - rng.uniform(-0.38, 0.38), rng, appearance
        )
    words = pose_drawing(
        lettering(size, [(part_number(rng), -0.3, rng.uniform(-0.3, 0.3), 0.06)], 0.008), appearance
    )
    return texture_scene(appearance, body, words, legible(appearance.base))


def _chip(
    body: np.ndarray, u: np.ndarray, v: np.ndarray, rng: np.random.Generator, appearance: Appearance
) -> np.ndarray:
    """Return the board with a black chip and its two rows of legs."""
    wide, tall = rng.uniform(0.06, 0.13), rng.uniform(0.04, 0.09)
    size = body.shape[1]
    case = box(u, v, (wide, tall), 0.008)
    legs = np.maximum(
        box(u, v, (wide * 0.92, tall + 0.022)), np.abs(fraction(u * 36) - 0.5) / 36 - 0.007
    )
    edge = np.clip(relief(dome(case, 0.012), appearance.light_angle, size), -1, 1)
    body = blend(body, colour((0.75, 0.76, 0.78)), coverage(legs, size))
    return blend(body, colour((0.12, 0.12, 0.13)) * (1 + 0.6 * edge), coverage(case, size))


def legible(paper: Rgb) -> Rgb:
    """Return black ink for bright paper and white ink for dark."""
    return (0.08, 0.08, 0.1) if sum(paper) > 1.2 else (0.95, 0.95, 0.92)


def part_number(rng: np.random.Generator) -> str:
    """Return a part number such as ``KR 47``."""
    letters = "".join(rng.choice(list("ABCDEFHKLMNPRSTUVXYZ"), 2))
    return f"{letters} {rng.integers(10, 99)}"
