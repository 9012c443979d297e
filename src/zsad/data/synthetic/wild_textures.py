"""Textures of the pre-training world. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import (
    blend,
    box,
    bump,
    centred_fraction,
    checkerboard,
    colour,
    coverage,
    disc,
    dome,
    fraction,
    smoothstep,
    wave,
)
from zsad.data.synthetic.noise import (
    noise,
    pixel_noise,
    random_per_cell,
    random_per_tile,
    voronoi_cells,
)
from zsad.data.synthetic.scene import Scene, shading, texture_axes, texture_scene


def wood(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint planed wood: growth rings cut lengthwise, and fibres."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    _, across = texture_axes(size, appearance)
    sway = 0.5 * noise(rng, size, cells=3, octaves=2, stretch=4, angle=appearance.angle)
    rings = across * (6 / scale) + sway
    rings = rings + rng.random()
    early = fraction(rings) ** 2
    fibres = noise(rng, size, cells=70, octaves=2, stretch=14, angle=appearance.angle)
    clouds = noise(rng, size, cells=2)
    value = 1 + contrast * (0.10 * fibres + 0.05 * clouds)
    weight = 0.55 * contrast * early
    body = blend(base, accent, weight)
    return texture_scene(appearance, body * value)


def brushed_metal(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint sheet metal with fine parallel brush marks and a band of reflected light."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    _, across = texture_axes(size, appearance)
    marks = noise(rng, size, cells=110, octaves=2, stretch=40, angle=appearance.angle)
    middle = rng.uniform(-0.4, 0.4)
    band = bump(across, middle, rng.uniform(0.15, 0.5))
    value = 0.85 + 0.25 * band + contrast * 0.07 * marks
    return texture_scene(appearance, base * value)


def ferrite(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint ground ceramic magnet: dull, fine-grained, unevenly lit, with faint grinding marks."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    clouds = noise(rng, size, cells=2.5, octaves=2)
    lumps = noise(rng, size, cells=9)
    uneven = 0.14 * clouds + 0.05 * lumps
    stretch = rng.uniform(4, 25)
    marks = noise(rng, size, cells=90, octaves=1, stretch=stretch, angle=appearance.angle)
    grains = pixel_noise(rng, size, sigma_px=rng.uniform(0.3, 1.0))
    grit = noise(rng, size, cells=40, octaves=2)
    specks = 0.05 * grains + 0.04 * grit
    pattern = 0.04 * marks + specks
    value = 0.95 + uneven + contrast * pattern
    return texture_scene(appearance, base * value)


def carpet(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint cut pile: tufts of two colours with shadow between them."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    tufts = noise(rng, size, cells=48 / scale, octaves=2)
    patches = noise(rng, size, cells=26 / scale, octaves=2)
    patches = smoothstep(patches, -0.3, 0.9)
    pile = blend(base, accent, 0.5 * patches)
    value = 0.9 + 0.22 * contrast * tufts
    return texture_scene(appearance, pile * value)


def fabric(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint plain weave of two yarns."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = texture_axes(size, appearance)
    count = rng.uniform(14, 24) / scale
    sway = noise(rng, size, cells=4, octaves=2)
    u = x * count + rng.random()
    u = u + 0.12 * sway
    v = y * count + rng.random()
    v = v - 0.12 * sway
    is_over = checkerboard(u, v) > 0
    warp = np.sin(fraction(u) * math.pi)
    weft = np.sin(fraction(v) * math.pi)
    upper = warp * (0.5 + 0.5 * weft)
    lower = weft * (0.5 + 0.5 * warp)
    yarn = np.where(is_over, upper, lower)
    weight = np.where(is_over, 0.0, 0.6).astype(np.float32)
    cloth = blend(base, accent, weight)
    fuzz = noise(rng, size, cells=80)
    relief = 0.55 * (yarn - 0.7) + 0.05 * fuzz
    return texture_scene(appearance, cloth * (1 + contrast * relief))


def leather(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint grained hide: rounded cells between creases."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    count = rng.uniform(16, 34) / scale
    numbers, border = voronoi_cells(rng, size, across=count)
    rounded = np.sqrt(np.clip(border * 2.2, 0, 1))
    height = 0.8 + 0.4 * random_per_cell(rng, numbers)
    pillow = rounded * height
    light = shading(pillow * 0.009, appearance)
    light = 0.20 * pillow + 0.35 * light
    clouds = noise(rng, size, cells=4, octaves=2)
    value = 0.82 + contrast * light
    value = value + 0.05 * clouds
    return texture_scene(appearance, base * value)


def marble(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint polished marble: clouds with veins along their ridges."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    lumps = noise(rng, size, cells=3 / scale, octaves=4, stretch=2, angle=appearance.angle)
    ridge = 1 - np.abs(lumps) * 1.6
    strength = noise(rng, size, cells=4)
    strength = 0.5 + 0.3 * strength
    veins = smoothstep(ridge, 0.45, 1.0) * strength
    clouds = noise(rng, size, cells=5, octaves=3)
    stone = base * (1 + 0.05 * clouds)
    weight = np.clip(contrast * veins * 0.8, 0, 1)
    return texture_scene(appearance, blend(stone, accent, weight))


def paper(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint uncoated board: fibres in all directions."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    fibres = np.zeros((size, size), np.float32)
    for angle in rng.uniform(-1.5, 1.5, 2).tolist():
        fibres = fibres + noise(rng, size, cells=45, octaves=1, stretch=6, angle=angle)
    clouds = noise(rng, size, cells=6, octaves=2)
    pattern = 0.025 * fibres + 0.02 * clouds
    return texture_scene(appearance, base * (1 + contrast * pattern))


def plastic(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint moulded plastic with an eroded skin."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    count = rng.uniform(30, 60) / scale
    skin = noise(rng, size, cells=count, octaves=2)
    gloss = noise(rng, size, cells=2)
    light = shading(skin * 0.0035, appearance)
    value = 0.95 + 0.10 * gloss
    value = value + 0.30 * contrast * light
    return texture_scene(appearance, base * value)


def stripes(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint corrugated or printed stripes."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, _ = texture_axes(size, appearance)
    count = rng.uniform(7, 18) / scale
    phase = x * count + rng.random()
    phase = phase + 0.05 * noise(rng, size, cells=4)
    profile = wave(phase)
    is_corrugated = rng.random() < 0.5
    if not is_corrugated:
        profile = smoothstep(profile, 0.4, 0.6)
    weight = profile * min(1.0, 0.8 * contrast)
    body = blend(base, accent, weight)
    roughness = noise(rng, size, cells=50, octaves=2)
    return texture_scene(appearance, body * (1 + 0.03 * roughness))


def perforated(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint sheet with a staggered grid of round holes."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = texture_axes(size, appearance)
    count = rng.uniform(6, 12) / scale
    v = y * count + rng.random()
    offset = 0.5 * (np.floor(v) % 2)
    u = x * count + offset
    u = centred_fraction(u + rng.random())
    v = centred_fraction(v)
    hole = disc(u, v, rng.uniform(0.22, 0.36))
    distance = hole * (1 / count)
    rim = smoothstep(distance, -0.004, 0.012)
    light = shading(rim * 0.008, appearance)
    roughness = noise(rng, size, cells=50, octaves=2)
    value = 0.92 + 0.3 * light
    value = value + 0.04 * contrast * roughness
    holes = coverage(distance, size)
    return texture_scene(appearance, blend(base * value, accent * 0.4, holes))


def tile(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint glazed tiles with sunken joints."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = texture_axes(size, appearance)
    count = rng.uniform(1.5, 5) / scale
    u = x * count + rng.random() * 4
    v = y * count + rng.random() * 4
    in_tile_x = centred_fraction(u)
    in_tile_y = centred_fraction(v)
    outline = box(in_tile_x, in_tile_y, (0.46, 0.46), corner=0.04)
    distance = outline * (1 / count)
    tint = random_per_tile(rng, np.floor(v), np.floor(u), period=16)
    clouds = noise(rng, size, cells=30, octaves=3)
    pattern = 0.12 * tint + 0.04 * clouds
    glaze = base * (0.92 + contrast * pattern)
    edge = shading(dome(distance, 0.02), appearance)
    glaze = glaze * (1 + 0.25 * edge)
    return texture_scene(appearance, blend(accent, glaze, coverage(distance, size)))


def terrazzo(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint chips of stone set in cement."""
    scale = appearance.scale
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    count = rng.uniform(10, 24) / scale
    numbers, border = voronoi_cells(rng, size, across=count, jitter=1.0)
    chance = random_per_cell(rng, numbers)
    tone = random_per_cell(rng, numbers)
    chip = smoothstep(border, 0.06, 0.14)
    chip = chip * smoothstep(chance, 0.45, 0.46)
    stone = blend(accent, colour(appearance.background), tone)
    sand = noise(rng, size, cells=60, octaves=2)
    cement = base * (1 + 0.05 * sand)
    weight = chip * min(1.0, 0.7 * contrast)
    return texture_scene(appearance, blend(cement, stone, weight))
