"""Auxiliary categories: methods are trained on them. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import (
    ImageArray,
    Plane,
    blend,
    box,
    bump,
    centred_fraction,
    checkerboard,
    colour,
    disc,
    dome,
    fraction,
    polar,
    smoothstep,
)
from zsad.data.synthetic.category import SURFACE_DEFECTS, Category
from zsad.data.synthetic.noise import noise, pixel_noise, random_per_tile
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


def concrete(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint cast concrete: clouds, fine sand and small air pores."""
    scale = appearance.scale
    clouds = 0.07 * noise(rng, size, 3 / scale, 3) + 0.045 * noise(rng, size, 40 / scale, 2)
    sand = 0.035 * pixel_noise(rng, size, size / 300)
    pores = smoothstep(noise(rng, size, 45 / scale), 2.6, 3.0) * 0.35
    pattern = clouds + sand - pores
    return texture_scene(appearance, colour(appearance.base) * (1 + appearance.contrast * pattern))


def knit(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint stocking stitch: columns of V-shaped loops."""
    x, y = texture_axes(size, appearance)
    sway = 0.10 * noise(rng, size, 5)
    u = x * (15 / appearance.scale) + rng.random() + sway
    v = y * (18 / appearance.scale) + rng.random() + 0.6 * sway
    side = np.abs(centred_fraction(u))
    loop = fraction(v + 1.3 * side)
    along = np.clip(np.sin(loop * math.pi), 0, 1) ** 0.7
    across = np.clip(np.sin(side * 2 * math.pi), 0, 1) ** 0.5
    yarn = along * across * appearance.contrast
    wool = blend(colour(appearance.accent), colour(appearance.base), yarn)
    fuzz = 0.09 * noise(rng, size, 70, 2)
    return texture_scene(appearance, wool * (1 + fuzz))


def mesh(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint woven wire over a dark ground: each wire passes over and under its neighbours."""
    x, y = texture_axes(size, appearance)
    u = x * (11 / appearance.scale) + rng.random()
    v = y * (11 / appearance.scale) + rng.random()
    warp = _wire(centred_fraction(u))
    weft = _wire(centred_fraction(v))
    is_over = checkerboard(u, v) > 0
    upper = np.where(is_over, warp, weft)
    lower = np.where(is_over, weft, warp)
    lit = 0.35 + 0.65 * np.sqrt(upper)
    shaded = np.where(lower > 0, 0.25 + 0.45 * np.sqrt(lower), 0)
    value = np.where(upper > 0, lit, shaded)
    value = value * (1 + 0.05 * appearance.contrast * noise(rng, size, 60, 2))
    ground = colour(appearance.accent) * (1 + 0.05 * noise(rng, size, 8))
    return texture_scene(appearance, blend(ground, colour(appearance.base), value))


def _wire(across: Plane) -> Plane:
    """Return the squared height of a round wire."""
    return np.clip(1 - (across / 0.2) ** 2, 0, 1)


def tread(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint chequer plate: raised almond-shaped bars in two directions."""
    x, y = texture_axes(size, appearance)
    u = x * (6 / appearance.scale) + rng.random() * 2
    v = y * (6 / appearance.scale) + rng.random() * 2
    direction = np.cos((np.floor(u) + np.floor(v)) * math.pi)
    across = centred_fraction(u)
    along = centred_fraction(v)
    a = (along + direction * across) * 0.7071
    b = (across - direction * along) * 0.7071
    length = np.sqrt(np.clip(1 - (a / 0.44) ** 2, 0, 1))
    bar = length * np.clip(1 - (b / 0.13) ** 2, 0, 1)
    light = 0.55 * shading(bar * 0.018, appearance) + 0.12 * bar
    skin = 0.05 * noise(rng, size, 50, 3) + 0.05 * noise(rng, size, 4, 2)
    value = 0.9 + appearance.contrast * (light + skin)
    return texture_scene(appearance, colour(appearance.base) * value)


def tablet(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a pressed pill with a bevelled rim and an imprint."""
    x, y = object_axes(size, appearance)
    distance = disc(x, y, 0.34)
    words = printed_words(size, appearance, [("PX 50", -0.215, 0.055, 0.115)], pen=0.016)
    height = dome(distance, 0.07) - 0.012 * smoothstep(words, 0, 1)
    value = 0.95 + 0.32 * appearance.contrast * shading(height, appearance, 1.4)
    powder = 0.018 * pixel_noise(rng, size, size / 350) + 0.02 * noise(rng, size, 20, 2)
    body = colour(appearance.base) * (value + powder)
    return object_scene(appearance, body, distance, rng, 0.7 * words, appearance.accent)


def gear(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a spur gear with a hub, a bore and a keyway."""
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    tooth = np.clip(2.2 * np.cos(turn * (36 * math.pi)), -1, 1)
    outline = radius - (0.345 + 0.035 * tooth)
    keyway = box(x, y + 0.09, (0.022, 0.03))
    bore = np.minimum(disc(x, y, 0.085), keyway)
    distance = np.maximum(outline, -bore)
    groove = smoothstep(np.abs(radius - 0.215), 0.06, 0.05)
    height = dome(distance, 0.02) - 0.025 * groove
    rings = 0.05 * np.sin(radius * 420)
    shine = 0.13 * np.cos(turn * 4 * math.pi - 2 * appearance.light_angle)
    light = 0.6 * shading(height, appearance) + (rings + shine)
    value = 0.85 + appearance.contrast * light
    body = colour(appearance.base) * (value + 0.025 * noise(rng, size, 50, 2))
    return object_scene(appearance, body.astype(np.float32), distance, rng)


def cable(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a cut cable seen from its end: a jacket and three insulated cores of copper strands."""
    x, y = object_axes(size, appearance)
    distance = disc(x, y, 0.40)
    height = dome(distance, 0.05)
    body = colour(appearance.base) * (0.9 + 0.4 * shading(height, appearance))
    body = body + 0.02 * noise(rng, size, 60)
    filler = colour((0.10, 0.10, 0.10))
    body = blend(body, filler, object_coverage(disc(x, y, 0.335), appearance))
    sheaths = ((0.16, 0.36, 0.70), (0.45, 0.28, 0.16), appearance.accent)
    for number, rgb in enumerate(sheaths):
        angle = 2 * math.pi * (number / 3) + 0.5
        u = x - 0.175 * math.cos(angle)
        v = y - 0.175 * math.sin(angle)
        sheath = colour(rgb) * (0.95 + 0.03 * noise(rng, size, 40))
        body = blend(body, sheath, object_coverage(disc(u, v, 0.145), appearance))
        copper = _strands(u, v, rng)
        body = blend(body, copper, object_coverage(disc(u, v, 0.098), appearance))
    return object_scene(appearance, body, distance, rng)


def _strands(u: Plane, v: Plane, rng: np.random.Generator) -> ImageArray:
    """Return copper wires in hexagonal packing, seen from their ends."""
    pitch = 0.036
    row = v / (0.866 * pitch)
    nearest_row = np.round(row)
    column = u / pitch + 0.5 * (nearest_row % 2)
    nearest_column = np.round(column)
    distance = np.hypot(column - nearest_column, (row - nearest_row) * 0.866)
    tint = random_per_tile(rng, nearest_row, nearest_column, period=32)
    end = (0.75 + 0.4 * tint) * smoothstep(distance, 0.56, 0.30)
    return colour((0.86, 0.55, 0.34)) * (end + 0.18)


def connector(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint a black housing with two rows of gold pins and a white type number."""
    x, y = object_axes(size, appearance)
    housing = box(x, y + 0.06, (0.40, 0.20), 0.02)
    pin = np.abs(fraction(x * 12.5 + 0.5) - 0.5) / 12.5 - 0.017
    pins = np.maximum(pin, box(x, y - 0.20, (0.38, 0.09)))
    slot = smoothstep(box(x, y + 0.14, (0.34, 0.065), 0.01), 0.0, -0.01)
    height = dome(housing, 0.025) - 0.02 * slot
    light = 0.5 * appearance.contrast * shading(height, appearance)
    value = 0.95 + light + 0.04 * noise(rng, size, 70)
    shine = bump(fraction(x * 12.5 + 0.5), 0.42, 0.1)
    gold = colour(appearance.accent) * (0.75 + 0.4 * shine)
    plastic = colour(appearance.base) * value
    body = blend(gold.astype(np.float32), plastic, object_coverage(housing, appearance))
    words = printed_words(size, appearance, [("JST-12", -0.20, 0.07, 0.085)], pen=0.011)
    white = (0.88, 0.88, 0.86)
    return object_scene(appearance, body, np.minimum(housing, pins), rng, words, white)


CATEGORIES = {
    "concrete": Category.from_lists(
        concrete,
        Appearance((0.60, 0.60, 0.58)),
        "concrete, concrete wall, cement",
        "crack, hole, stain, scratch, contamination, worn",
    ),
    "knit": Category.from_lists(
        knit,
        Appearance((0.30, 0.46, 0.60), (0.08, 0.13, 0.20)),
        "knitted fabric, knitwear, wool cloth",
        "hole, stain, fibre, colour_spot, worn, contamination",
    ),
    "mesh": Category.from_lists(
        mesh,
        Appearance((0.78, 0.78, 0.76), (0.10, 0.11, 0.13)),
        "wire mesh, metal grid, wire cloth",
        "bent, hole, stain, contamination, fibre, worn",
    ),
    "tread": Category.from_lists(
        tread,
        Appearance((0.56, 0.58, 0.60), light_angle=-1.9),
        "chequer plate, tread plate, patterned steel",
        f"{SURFACE_DEFECTS}, dent",
    ),
    "tablet": Category.from_lists(
        tablet,
        Appearance((0.90, 0.88, 0.82), (0.45, 0.42, 0.38), (0.20, 0.28, 0.36)),
        "tablet, pill, pharmaceutical tablet",
        "crack, missing_part, colour_spot, scratch, misprint, contamination",
    ),
    "gear": Category.from_lists(
        gear,
        Appearance((0.62, 0.62, 0.62), background=(0.14, 0.15, 0.17), free_turn=True),
        "gear, cog wheel, toothed wheel",
        "missing_part, scratch, bent, stain, dent, crack",
    ),
    "cable": Category.from_lists(
        cable,
        Appearance((0.72, 0.73, 0.74), (0.75, 0.70, 0.20), (0.42, 0.43, 0.44), free_turn=True),
        "cable, cable cross-section, wire",
        "missing_part, hole, crack, contamination, bent, colour_spot",
    ),
    "connector": Category.from_lists(
        connector,
        Appearance((0.14, 0.14, 0.15), (0.85, 0.68, 0.30), (0.62, 0.64, 0.66)),
        "connector, plug, electronic component",
        "bent, missing_part, misprint, scratch, stain, contamination",
    ),
}
