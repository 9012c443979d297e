"""Textures of the auxiliary world. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import (
    Plane,
    blend,
    centred_fraction,
    checkerboard,
    colour,
    fraction,
    smoothstep,
)
from zsad.data.synthetic.noise import noise, pixel_noise
from zsad.data.synthetic.scene import Scene, shading, texture_axes, texture_scene


def concrete(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint cast concrete: clouds, fine sand and small air pores."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    clouds = noise(rng, size, cells=3 / scale, octaves=3)
    lumps = noise(rng, size, cells=40 / scale, octaves=2)
    sand = pixel_noise(rng, size, sigma_px=size / 300)
    specks = noise(rng, size, cells=45 / scale)
    pores = smoothstep(specks, 2.6, 3.0)
    pattern = 0.07 * clouds + 0.045 * lumps
    pattern = pattern + 0.035 * sand
    pattern = pattern - pores * 0.35
    body = base * (1 + contrast * pattern)
    return texture_scene(appearance, body)


def knit(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint stocking stitch: columns of V-shaped loops."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = texture_axes(size, appearance)
    sway = 0.10 * noise(rng, size, cells=5)
    u = x * (15 / scale) + rng.random()
    u = u + sway
    v = y * (18 / scale) + rng.random()
    v = v + 0.6 * sway
    side = np.abs(centred_fraction(u))
    loop = fraction(v + 1.3 * side)
    along = np.sin(loop * math.pi)
    across = np.sin(side * 2 * math.pi)
    yarn = np.clip(along, 0, 1) ** 0.7
    yarn = yarn * np.clip(across, 0, 1) ** 0.5
    wool = blend(accent, base, yarn * contrast)
    fuzz = noise(rng, size, cells=70, octaves=2)
    return texture_scene(appearance, wool * (1 + 0.09 * fuzz))


def mesh(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint woven wire over a dark ground: each wire passes over and under its neighbours."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = texture_axes(size, appearance)
    u = x * (11 / scale) + rng.random()
    v = y * (11 / scale) + rng.random()
    warp = _wire(centred_fraction(u))
    weft = _wire(centred_fraction(v))
    is_over = checkerboard(u, v) > 0
    upper = np.where(is_over, warp, weft)
    lower = np.where(is_over, weft, warp)
    lit = 0.35 + 0.65 * np.sqrt(upper)
    shaded = 0.25 + 0.45 * np.sqrt(lower)
    shaded = np.where(lower > 0, shaded, 0)
    value = np.where(upper > 0, lit, shaded)
    roughness = noise(rng, size, cells=60, octaves=2)
    value = value * (1 + 0.05 * contrast * roughness)
    clouds = noise(rng, size, cells=8)
    ground = accent * (1 + 0.05 * clouds)
    return texture_scene(appearance, blend(ground, base, value))


def _wire(across: Plane) -> Plane:
    """Return the squared height of a round wire."""
    return np.clip(1 - (across / 0.2) ** 2, 0, 1)


def tread(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint chequer plate: raised almond-shaped bars in two directions."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = texture_axes(size, appearance)
    u = x * (6 / scale) + rng.random() * 2
    v = y * (6 / scale) + rng.random() * 2
    square = np.floor(u) + np.floor(v)
    direction = np.cos(square * math.pi)
    across = centred_fraction(u)
    along = centred_fraction(v)
    a = (along + direction * across) * 0.7071
    b = (across - direction * along) * 0.7071
    length = np.clip(1 - (a / 0.44) ** 2, 0, 1)
    width = np.clip(1 - (b / 0.13) ** 2, 0, 1)
    bar = np.sqrt(length) * width
    light = shading(bar * 0.018, appearance)
    light = 0.55 * light + 0.12 * bar
    grit = noise(rng, size, cells=50, octaves=3)
    clouds = noise(rng, size, cells=4, octaves=2)
    skin = 0.05 * grit + 0.05 * clouds
    value = 0.9 + contrast * (light + skin)
    return texture_scene(appearance, base * value)
