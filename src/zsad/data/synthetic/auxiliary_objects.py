"""Objects of the auxiliary world. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import (
    ImageArray,
    Plane,
    blend,
    box,
    bump,
    centred_fraction,
    colour,
    disc,
    dome,
    fraction,
    polar,
    smoothstep,
)
from zsad.data.synthetic.noise import noise, pixel_noise, random_per_tile
from zsad.data.synthetic.scene import (
    Scene,
    object_axes,
    object_coverage,
    object_scene,
    printed_words,
    shading,
)

_BLUE = (0.16, 0.36, 0.70)
_BROWN = (0.45, 0.28, 0.16)
_COPPER = (0.86, 0.55, 0.34)
_FILLER = (0.10, 0.10, 0.10)
_WHITE = (0.88, 0.88, 0.86)


def tablet(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a pressed pill with a bevelled rim and an imprint."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    distance = disc(x, y, 0.34)
    imprint = ("PX 50", -0.215, 0.055, 0.115)
    words = printed_words(size, appearance, [imprint], pen=0.016)
    depth = 0.012 * smoothstep(words, 0, 1)
    height = dome(distance, 0.07) - depth
    light = shading(height, appearance, limit=1.4)
    value = 0.95 + 0.32 * contrast * light
    grains = pixel_noise(rng, size, sigma_px=size / 350)
    lumps = noise(rng, size, cells=20, octaves=2)
    powder = 0.018 * grains + 0.02 * lumps
    body = base * (value + powder)
    return object_scene(appearance, body, distance, rng, 0.7 * words, appearance.accent)


def gear(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a spur gear with a hub, a bore and a keyway."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    tooth = 2.2 * np.cos(turn * (36 * math.pi))
    tooth = np.clip(tooth, -1, 1)
    outline = radius - (0.345 + 0.035 * tooth)
    keyway = box(x, y + 0.09, (0.022, 0.03))
    bore = np.minimum(disc(x, y, 0.085), keyway)
    distance = np.maximum(outline, -bore)
    groove = smoothstep(np.abs(radius - 0.215), 0.06, 0.05)
    height = dome(distance, 0.02) - 0.025 * groove
    rings = 0.05 * np.sin(radius * 420)
    phase = turn * 4 * math.pi - 2 * appearance.light_angle
    marks = rings + 0.13 * np.cos(phase)
    light = 0.6 * shading(height, appearance)
    value = 0.85 + contrast * (light + marks)
    roughness = noise(rng, size, cells=50, octaves=2)
    body = base * (value + 0.025 * roughness)
    return object_scene(appearance, body.astype(np.float32), distance, rng)


def cable(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a cut cable seen from its end: a jacket and three insulated cores of copper strands."""
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    distance = disc(x, y, 0.40)
    height = dome(distance, 0.05)
    light = shading(height, appearance)
    body = base * (0.9 + 0.4 * light)
    body = body + 0.02 * noise(rng, size, cells=60)
    inside = object_coverage(disc(x, y, 0.335), appearance)
    body = blend(body, colour(_FILLER), inside)
    for number, rgb in enumerate((_BLUE, _BROWN, appearance.accent)):
        angle = 2 * math.pi * (number / 3) + 0.5
        u = x - 0.175 * math.cos(angle)
        v = y - 0.175 * math.sin(angle)
        roughness = noise(rng, size, cells=40)
        sheath = colour(rgb) * (0.95 + 0.03 * roughness)
        sheath_area = object_coverage(disc(u, v, 0.145), appearance)
        body = blend(body, sheath, sheath_area)
        core_area = object_coverage(disc(u, v, 0.098), appearance)
        body = blend(body, _strands(u, v, rng), core_area)
    return object_scene(appearance, body, distance, rng)


def _strands(u: Plane, v: Plane, rng: Generator) -> ImageArray:
    """Return copper wires in hexagonal packing, seen from their ends."""
    pitch = 0.036
    row = v / (0.866 * pitch)
    nearest_row = np.round(row)
    column = u / pitch + 0.5 * (nearest_row % 2)
    nearest_column = np.round(column)
    dx = column - nearest_column
    dy = (row - nearest_row) * 0.866
    tint = random_per_tile(rng, nearest_row, nearest_column, period=32)
    end = smoothstep(np.hypot(dx, dy), 0.56, 0.30)
    value = (0.75 + 0.4 * tint) * end
    return colour(_COPPER) * (value + 0.18)


def connector(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a black housing with two rows of gold pins and a white type number."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = object_axes(size, appearance)
    housing = box(x, y + 0.06, (0.40, 0.20), corner=0.02)
    pitch = x * 12.5 + 0.5
    pin = np.abs(centred_fraction(pitch)) / 12.5
    pin_rows = box(x, y - 0.20, (0.38, 0.09))
    pins = np.maximum(pin - 0.017, pin_rows)
    slot = box(x, y + 0.14, (0.34, 0.065), corner=0.01)
    slot = smoothstep(slot, 0.0, -0.01)
    height = dome(housing, 0.025) - 0.02 * slot
    light = shading(height, appearance)
    value = 0.95 + 0.5 * contrast * light
    value = value + 0.04 * noise(rng, size, cells=70)
    shine = bump(fraction(pitch), 0.42, 0.1)
    gold = accent * (0.75 + 0.4 * shine)
    gold = gold.astype(np.float32)
    housing_area = object_coverage(housing, appearance)
    body = blend(gold, base * value, housing_area)
    number = ("JST-12", -0.20, 0.07, 0.085)
    words = printed_words(size, appearance, [number], pen=0.011)
    distance = np.minimum(housing, pins)
    return object_scene(appearance, body, distance, rng, words, _WHITE)
