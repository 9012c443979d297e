"""The auxiliary categories: what prompts are learned on. No other world uses these generators."""

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
    relief,
    rotate_axes,
    smoothstep,
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


def concrete(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint cast concrete: clouds, fine sand and small air pores."""
    clouds = 0.07 * noise(rng, size, 3 / appearance.scale, 3) + 0.045 * noise(
        rng, size, 40 / appearance.scale, 2
    )
    sand = 0.035 * pixel_noise(rng, size, size / 300)
    pores = smoothstep(noise(rng, size, 45 / appearance.scale), 2.6, 3.0) * 0.35
    return texture_scene(
        appearance, colour(appearance.base) * (1 + appearance.contrast * (clouds + sand - pores))
    )


def knit(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint stocking stitch: columns of V-shaped loops."""
    x, y = rotate_axes(*grid(size), appearance.angle)
    sway = 0.10 * noise(rng, size, 5)
    u, v = (
        x * (15 / appearance.scale) + rng.random() + sway,
        y * (18 / appearance.scale) + rng.random() + 0.6 * sway,
    )
    side = np.abs(fraction(u) - 0.5)
    loop = fraction(v + 1.3 * side)
    yarn = (
        np.clip(np.sin(loop * math.pi), 0, 1) ** 0.7
        * np.clip(np.sin(side * 2 * math.pi), 0, 1) ** 0.5
    )
    fuzz = 0.09 * noise(rng, size, 70, 2)
    return texture_scene(
        appearance,
        blend(colour(appearance.accent), colour(appearance.base), yarn * appearance.contrast)
        * (1 + fuzz),
    )


def mesh(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint woven wire over a dark ground: each wire passes over and under its neighbours."""
    x, y = rotate_axes(*grid(size), appearance.angle)
    u, v = x * (11 / appearance.scale) + rng.random(), y * (11 / appearance.scale) + rng.random()
    over = np.cos(np.floor(u) * math.pi) * np.cos(np.floor(v) * math.pi)
    across, along = fraction(u) - 0.5, fraction(v) - 0.5
    warp, weft = np.clip(1 - (across / 0.2) ** 2, 0, 1), np.clip(1 - (along / 0.2) ** 2, 0, 1)
    high, low = np.where(over > 0, warp, weft), np.where(over > 0, weft, warp)
    value = np.where(
        high > 0, 0.35 + 0.65 * np.sqrt(high), np.where(low > 0, 0.25 + 0.45 * np.sqrt(low), 0)
    )
    value = value * (1 + 0.05 * appearance.contrast * noise(rng, size, 60, 2))
    return texture_scene(
        appearance,
        blend(
            colour(appearance.accent) * (1 + 0.05 * noise(rng, size, 8)),
            colour(appearance.base),
            value,
        ),
    )


def tread(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint chequer plate: raised almond-shaped bars in two directions."""
    x, y = rotate_axes(*grid(size), appearance.angle)
    u, v = (
        x * (6 / appearance.scale) + rng.random() * 2,
        y * (6 / appearance.scale) + rng.random() * 2,
    )
    flip = np.cos((np.floor(u) + np.floor(v)) * math.pi)
    across, along = fraction(u) - 0.5, fraction(v) - 0.5
    a, b = (along + flip * across) * 0.7071, (across - flip * along) * 0.7071
    bar = np.sqrt(np.clip(1 - (a / 0.44) ** 2, 0, 1)) * np.clip(1 - (b / 0.13) ** 2, 0, 1)
    shade = relief(bar * 0.018, appearance.light_angle, size)
    skin = 0.05 * noise(rng, size, 50, 3) + 0.05 * noise(rng, size, 4, 2)
    return texture_scene(
        appearance,
        colour(appearance.base)
        * (0.9 + appearance.contrast * (0.55 * np.clip(shade, -1, 1) + 0.12 * bar + skin)),
    )


def tablet(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a pressed pill with a bevelled rim and an imprint."""
    x, y = object_axes(size, appearance)
    distance = disc(x, y, 0.34)
    words = pose_drawing(lettering(size, [("PX 50", -0.215, 0.055, 0.115)], 0.016), appearance)
    height = dome(distance, 0.07) - 0.012 * smoothstep(words, 0, 1)
    value = 0.95 + 0.32 * appearance.contrast * np.clip(
        relief(height, appearance.light_angle, size), -1.4, 1.4
    )
    powder = 0.018 * pixel_noise(rng, size, size / 350) + 0.02 * noise(rng, size, 20, 2)
    body = colour(appearance.base) * (value + powder)
    return object_scene(
        appearance,
        body,
        coverage(distance, size * appearance.scale),
        rng,
        0.7 * words,
        appearance.accent,
    )


def gear(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a spur gear with a hub, a bore and a keyway."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    tooth = np.clip(2.2 * np.cos(turn * (36 * math.pi)), -1, 1)
    distance = radius - (0.345 + 0.035 * tooth)
    bore = np.minimum(disc(x, y, 0.085), box(x, y + 0.09, (0.022, 0.03)))
    distance = np.maximum(distance, -bore)
    height = dome(distance, 0.02) - 0.025 * smoothstep(np.abs(radius - 0.215), 0.06, 0.05)
    turned_marks = 0.05 * np.sin(radius * 420) + 0.13 * np.cos(
        turn * 4 * math.pi - 2 * appearance.light_angle
    )
    value = 0.85 + appearance.contrast * (
        0.6 * np.clip(relief(height, appearance.light_angle, size), -1, 1) + turned_marks
    )
    body = colour(appearance.base) * (value + 0.025 * noise(rng, size, 50, 2))
    return object_scene(
        appearance, body.astype(np.float32), coverage(distance, size * appearance.scale), rng
    )


def cable(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a cut cable seen from its end: a jacket and three insulated cores of copper strands."""
    x, y = object_axes(size, appearance)
    scale = size * appearance.scale
    distance = disc(x, y, 0.40)
    height = dome(distance, 0.05)
    body = colour(appearance.base) * (
        0.9 + 0.4 * np.clip(relief(height, appearance.light_angle, size), -1, 1)
    )
    body = body + 0.02 * noise(rng, size, 60)
    body = blend(body, colour((0.10, 0.10, 0.10)), coverage(disc(x, y, 0.335), scale))
    sheaths = ((0.16, 0.36, 0.70), (0.45, 0.28, 0.16), appearance.accent)
    for k, sheath in enumerate(sheaths):
        angle = 2 * math.pi * (k / 3) + 0.5
        u, v = x - 0.175 * math.cos(angle), y - 0.175 * math.sin(angle)
        body = blend(
            body,
            colour(sheath) * (0.95 + 0.03 * noise(rng, size, 40)),
            coverage(disc(u, v, 0.145), scale),
        )
        body = blend(body, _strands(u, v, rng), coverage(disc(u, v, 0.098), scale))
    return object_scene(appearance, body, coverage(distance, scale), rng)


def _strands(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return copper wires in hexagonal packing, seen from their ends."""
    pitch = 0.036
    row = v / (0.866 * pitch)
    column = u / pitch + 0.5 * (np.round(row) % 2)
    near = np.hypot(column - np.round(column), (row - np.round(row)) * 0.866)
    tint = rng.random((32, 32), dtype=np.float32)[
        np.round(row).astype(int) % 32, np.round(column).astype(int) % 32
    ]
    return colour((0.86, 0.55, 0.34)) * ((0.75 + 0.4 * tint) * smoothstep(near, 0.56, 0.30) + 0.18)


def connector(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a black housing with two rows of gold pins and a white type number."""
    x, y = object_axes(size, appearance)
    scale = size * appearance.scale
    housing = box(x, y + 0.06, (0.40, 0.20), 0.02)
    pins = np.maximum(
        np.abs(fraction(x * 12.5 + 0.5) - 0.5) / 12.5 - 0.017, box(x, y - 0.20, (0.38, 0.09))
    )
    height = dome(housing, 0.025) - 0.02 * smoothstep(
        box(x, y + 0.14, (0.34, 0.065), 0.01), 0.0, -0.01
    )
    value = (
        0.95
        + 0.5 * appearance.contrast * np.clip(relief(height, appearance.light_angle, size), -1, 1)
        + 0.04 * noise(rng, size, 70)
    )
    gold = colour(appearance.accent) * (
        0.75 + 0.4 * np.exp(-(((fraction(x * 12.5 + 0.5) - 0.42) / 0.1) ** 2))
    )
    body = blend(gold.astype(np.float32), colour(appearance.base) * value, coverage(housing, scale))
    words = pose_drawing(lettering(size, [("JST-12", -0.20, 0.07, 0.085)], 0.011), appearance)
    return object_scene(
        appearance, body, coverage(np.minimum(housing, pins), scale), rng, words, (0.88, 0.88, 0.86)
    )


CATEGORIES = {
    "concrete": Category(
        concrete,
        Appearance((0.60, 0.60, 0.58)),
        ("concrete", "concrete wall", "cement"),
        ("crack", "hole", "stain", "scratch", "contamination", "worn"),
    ),
    "knit": Category(
        knit,
        Appearance((0.30, 0.46, 0.60), (0.08, 0.13, 0.20)),
        ("knitted fabric", "knitwear", "wool cloth"),
        ("hole", "stain", "fibre", "colour_spot", "worn", "contamination"),
    ),
    "mesh": Category(
        mesh,
        Appearance((0.78, 0.78, 0.76), (0.10, 0.11, 0.13)),
        ("wire mesh", "metal grid", "wire cloth"),
        ("bent", "hole", "stain", "contamination", "fibre", "worn"),
    ),
    "tread": Category(
        tread,
        Appearance((0.56, 0.58, 0.60), light_angle=-1.9),
        ("chequer plate", "tread plate", "patterned steel"),
        (*SURFACE_DEFECTS, "dent"),
    ),
    "tablet": Category(
        tablet,
        Appearance((0.90, 0.88, 0.82), (0.45, 0.42, 0.38), (0.20, 0.28, 0.36)),
        ("tablet", "pill", "pharmaceutical tablet"),
        ("crack", "missing_part", "colour_spot", "scratch", "misprint", "contamination"),
    ),
    "gear": Category(
        gear,
        Appearance((0.62, 0.62, 0.62), background=(0.14, 0.15, 0.17), free_turn=True),
        ("gear", "cog wheel", "toothed wheel"),
        ("missing_part", "scratch", "bent", "stain", "dent", "crack"),
    ),
    "cable": Category(
        cable,
        Appearance((0.72, 0.73, 0.74), (0.75, 0.70, 0.20), (0.42, 0.43, 0.44), free_turn=True),
        ("cable", "cable cross-section", "wire"),
        ("missing_part", "hole", "crack", "contamination", "bent", "colour_spot"),
    ),
    "connector": Category(
        connector,
        Appearance((0.14, 0.14, 0.15), (0.85, 0.68, 0.30), (0.62, 0.64, 0.66)),
        ("connector", "plug", "electronic component"),
        ("bent", "missing_part", "misprint", "scratch", "stain", "contamination"),
    ),
}
