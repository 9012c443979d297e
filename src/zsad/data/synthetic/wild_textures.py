"""Textures of the pre-training world. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np

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


def wood(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint planed wood: growth rings cut lengthwise, and fibres."""
    _, across = texture_axes(size, appearance)
    sway = 0.5 * noise(rng, size, 3, 2, 4, appearance.angle)
    rings = across * (6 / appearance.scale) + sway + rng.random()
    early = fraction(rings) ** 2
    fibres = noise(rng, size, 70, 2, 14, appearance.angle)
    value = 1 + appearance.contrast * (0.10 * fibres + 0.05 * noise(rng, size, 2))
    weight = 0.55 * appearance.contrast * early
    body = blend(colour(appearance.base), colour(appearance.accent), weight)
    return texture_scene(appearance, body * value)


def brushed_metal(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint sheet metal with fine parallel brush marks and a band of reflected light."""
    _, across = texture_axes(size, appearance)
    marks = noise(rng, size, 110, 2, 40, appearance.angle)
    middle = rng.uniform(-0.4, 0.4)
    band = bump(across, middle, rng.uniform(0.15, 0.5))
    value = 0.85 + 0.25 * band + appearance.contrast * 0.07 * marks
    return texture_scene(appearance, colour(appearance.base) * value)


def ferrite(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint ground ceramic magnet: dull, fine-grained, unevenly lit, with faint grinding marks."""
    uneven = 0.14 * noise(rng, size, 2.5, 2) + 0.05 * noise(rng, size, 9)
    marks = 0.04 * noise(rng, size, 90, 1, rng.uniform(4, 25), appearance.angle)
    specks = 0.05 * pixel_noise(rng, size, rng.uniform(0.3, 1.0)) + 0.04 * noise(rng, size, 40, 2)
    value = 0.95 + uneven + appearance.contrast * (marks + specks)
    return texture_scene(appearance, colour(appearance.base) * value)


def carpet(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint cut pile: tufts of two colours with shadow between them."""
    tufts = noise(rng, size, 48 / appearance.scale, 2)
    accents = smoothstep(noise(rng, size, 26 / appearance.scale, 2), -0.3, 0.9)
    pile = blend(colour(appearance.base), colour(appearance.accent), 0.5 * accents)
    return texture_scene(appearance, pile * (0.9 + 0.22 * appearance.contrast * tufts))


def fabric(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint plain weave of two yarns."""
    x, y = texture_axes(size, appearance)
    count = rng.uniform(14, 24) / appearance.scale
    sway = 0.12 * noise(rng, size, 4, 2)
    u = x * count + rng.random() + sway
    v = y * count + rng.random() - sway
    is_over = checkerboard(u, v) > 0
    warp = np.sin(fraction(u) * math.pi)
    weft = np.sin(fraction(v) * math.pi)
    upper = warp * (0.5 + 0.5 * weft)
    lower = weft * (0.5 + 0.5 * warp)
    yarn = np.where(is_over, upper, lower)
    weight = np.where(is_over, 0.0, 0.6).astype(np.float32)
    cloth = blend(colour(appearance.base), colour(appearance.accent), weight)
    relief = 0.55 * (yarn - 0.7) + 0.05 * noise(rng, size, 80)
    return texture_scene(appearance, cloth * (1 + appearance.contrast * relief))


def leather(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint grained hide: rounded cells between creases."""
    numbers, border = voronoi_cells(rng, size, rng.uniform(16, 34) / appearance.scale)
    rounded = np.sqrt(np.clip(border * 2.2, 0, 1))
    pillow = rounded * (0.8 + 0.4 * random_per_cell(rng, numbers))
    light = 0.20 * pillow + 0.35 * shading(pillow * 0.009, appearance)
    value = 0.82 + appearance.contrast * light + 0.05 * noise(rng, size, 4, 2)
    return texture_scene(appearance, colour(appearance.base) * value)


def marble(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint polished marble: clouds with veins along their ridges."""
    lumps = noise(rng, size, 3 / appearance.scale, 4, 2, appearance.angle)
    ridge = 1 - np.abs(lumps) * 1.6
    veins = smoothstep(ridge, 0.45, 1.0) * (0.5 + 0.3 * noise(rng, size, 4))
    clouds = 1 + 0.05 * noise(rng, size, 5, 3)
    weight = np.clip(appearance.contrast * veins * 0.8, 0, 1)
    stone = colour(appearance.base) * clouds
    return texture_scene(appearance, blend(stone, colour(appearance.accent), weight))


def paper(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint uncoated board: fibres in all directions."""
    first, second = rng.uniform(-1.5, 1.5, 2).tolist()
    fibres = noise(rng, size, 45, 1, 6, first) + noise(rng, size, 45, 1, 6, second)
    pattern = 0.025 * fibres + 0.02 * noise(rng, size, 6, 2)
    return texture_scene(appearance, colour(appearance.base) * (1 + appearance.contrast * pattern))


def plastic(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint moulded plastic with an eroded skin."""
    skin = noise(rng, size, rng.uniform(30, 60) / appearance.scale, 2) * 0.0035
    gloss = 0.10 * noise(rng, size, 2)
    light = 0.30 * appearance.contrast * shading(skin, appearance)
    return texture_scene(appearance, colour(appearance.base) * (0.95 + gloss + light))


def stripes(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint corrugated or printed stripes."""
    x, _ = texture_axes(size, appearance)
    count = rng.uniform(7, 18) / appearance.scale
    phase = x * count + rng.random() + 0.05 * noise(rng, size, 4)
    profile = wave(phase)
    is_corrugated = rng.random() < 0.5
    if not is_corrugated:
        profile = smoothstep(profile, 0.4, 0.6)
    weight = profile * min(1.0, 0.8 * appearance.contrast)
    body = blend(colour(appearance.base), colour(appearance.accent), weight)
    return texture_scene(appearance, body * (1 + 0.03 * noise(rng, size, 50, 2)))


def perforated(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint sheet with a staggered grid of round holes."""
    x, y = texture_axes(size, appearance)
    count = rng.uniform(6, 12) / appearance.scale
    v = y * count + rng.random()
    u = x * count + 0.5 * (np.floor(v) % 2) + rng.random()
    hole = disc(centred_fraction(u), centred_fraction(v), rng.uniform(0.22, 0.36))
    distance = hole * (1 / count)
    rim = smoothstep(distance, -0.004, 0.012) * 0.008
    light = 0.92 + 0.3 * shading(rim, appearance)
    value = light + 0.04 * appearance.contrast * noise(rng, size, 50, 2)
    sheet = colour(appearance.base) * value
    ground = colour(appearance.accent) * 0.4
    return texture_scene(appearance, blend(sheet, ground, coverage(distance, size)))


def tile(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint glazed tiles with sunken joints."""
    x, y = texture_axes(size, appearance)
    count = rng.uniform(1.5, 5) / appearance.scale
    u = x * count + rng.random() * 4
    v = y * count + rng.random() * 4
    outline = box(centred_fraction(u), centred_fraction(v), (0.46, 0.46), 0.04)
    distance = outline * (1 / count)
    tint = random_per_tile(rng, np.floor(v), np.floor(u), period=16)
    pattern = 0.12 * tint + 0.04 * noise(rng, size, 30, 3)
    glaze = colour(appearance.base) * (0.92 + appearance.contrast * pattern)
    lit = glaze * (1 + 0.25 * shading(dome(distance, 0.02), appearance))
    joint = colour(appearance.accent)
    return texture_scene(appearance, blend(joint, lit, coverage(distance, size)))


def terrazzo(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint chips of stone set in cement."""
    numbers, border = voronoi_cells(rng, size, rng.uniform(10, 24) / appearance.scale, 1.0)
    chance = random_per_cell(rng, numbers)
    tone = random_per_cell(rng, numbers)
    chip = smoothstep(border, 0.06, 0.14) * smoothstep(chance, 0.45, 0.46)
    stone = blend(colour(appearance.accent), colour(appearance.background), tone)
    cement = colour(appearance.base) * (1 + 0.05 * noise(rng, size, 60, 2))
    weight = chip * min(1.0, 0.7 * appearance.contrast)
    return texture_scene(appearance, blend(cement, stone, weight))
