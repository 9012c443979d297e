"""Textures of the pre-training world. No other world uses these generators."""

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
    noise,
    pixel_noise,
    random_per_cell,
    relief,
    rotate_axes,
    smoothstep,
    voronoi_cells,
    wave,
)
from zsad.data.synthetic.scene import Appearance, Scene, texture_scene


def wood(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint planed wood: growth rings cut lengthwise, and fibres."""
    _, across = rotate_axes(*grid(size), appearance.angle)
    rings = (
        across * (6 / appearance.scale)
        + 0.5 * noise(rng, size, 3, 2, 4, appearance.angle)
        + rng.random()
    )
    early = fraction(rings) ** 2
    fibres = noise(rng, size, 70, 2, 14, appearance.angle)
    value = 1 + appearance.contrast * (0.10 * fibres + 0.05 * noise(rng, size, 2))
    return texture_scene(
        appearance,
        blend(
            colour(appearance.base), colour(appearance.accent), 0.55 * appearance.contrast * early
        )
        * value,
    )


def brushed_metal(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint sheet metal with fine parallel brush marks and a band of reflected light."""
    _, across = rotate_axes(*grid(size), appearance.angle)
    marks = noise(rng, size, 110, 2, 40, appearance.angle)
    band = np.exp(-(((across - rng.uniform(-0.4, 0.4)) / rng.uniform(0.15, 0.5)) ** 2))
    return texture_scene(
        appearance,
        colour(appearance.base) * (0.85 + 0.25 * band + appearance.contrast * 0.07 * marks),
    )


def ferrite(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint ground ceramic magnet: dull, fine-grained, unevenly lit, with faint grinding marks."""
    uneven = 0.14 * noise(rng, size, 2.5, 2) + 0.05 * noise(rng, size, 9)
    marks = 0.04 * noise(rng, size, 90, 1, rng.uniform(4, 25), appearance.angle)
    speck = 0.05 * pixel_noise(rng, size, rng.uniform(0.3, 1.0)) + 0.04 * noise(rng, size, 40, 2)
    return texture_scene(
        appearance,
        colour(appearance.base) * (0.95 + uneven + appearance.contrast * (marks + speck)),
    )


def carpet(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint cut pile: tufts of two colours with shadow between them."""
    tufts = noise(rng, size, 48 / appearance.scale, 2)
    accents = smoothstep(noise(rng, size, 26 / appearance.scale, 2), -0.3, 0.9)
    return texture_scene(
        appearance,
        blend(colour(appearance.base), colour(appearance.accent), 0.5 * accents)
        * (0.9 + 0.22 * appearance.contrast * tufts),
    )


def fabric(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint plain weave of two yarns."""
    x, y = rotate_axes(*grid(size), appearance.angle)
    count, sway = rng.uniform(14, 24) / appearance.scale, 0.12 * noise(rng, size, 4, 2)
    u, v = x * count + rng.random() + sway, y * count + rng.random() - sway
    over = np.cos(np.floor(u) * math.pi) * np.cos(np.floor(v) * math.pi) > 0
    warp, weft = np.sin(fraction(u) * math.pi), np.sin(fraction(v) * math.pi)
    yarn = np.where(over, warp * (0.5 + 0.5 * weft), weft * (0.5 + 0.5 * warp))
    cloth = blend(
        colour(appearance.base),
        colour(appearance.accent),
        np.where(over, 0.0, 0.6).astype(np.float32),
    )
    return texture_scene(
        appearance,
        cloth * (1 + appearance.contrast * (0.55 * (yarn - 0.7) + 0.05 * noise(rng, size, 80))),
    )


def leather(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint grained hide: rounded cells between creases."""
    numbers, border = voronoi_cells(rng, size, rng.uniform(16, 34) / appearance.scale)
    pillow = np.sqrt(np.clip(border * 2.2, 0, 1)) * (0.8 + 0.4 * random_per_cell(rng, numbers))
    shade = relief(pillow * 0.009, appearance.light_angle, size)
    value = (
        0.82
        + appearance.contrast * (0.20 * pillow + 0.35 * np.clip(shade, -1, 1))
        + 0.05 * noise(rng, size, 4, 2)
    )
    return texture_scene(appearance, colour(appearance.base) * value)


def marble(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint polished marble: clouds with veins along their ridges."""
    ridge = 1 - np.abs(noise(rng, size, 3 / appearance.scale, 4, 2, appearance.angle)) * 1.6
    veins = smoothstep(ridge, 0.45, 1.0) * (0.5 + 0.3 * noise(rng, size, 4))
    clouds = 1 + 0.05 * noise(rng, size, 5, 3)
    return texture_scene(
        appearance,
        blend(
            colour(appearance.base) * clouds,
            colour(appearance.accent),
            np.clip(appearance.contrast * veins * 0.8, 0, 1),
        ),
    )


def paper(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint uncoated board: fibres in all directions."""
    fibres = sum(noise(rng, size, 45, 1, 6, angle) for angle in rng.uniform(-1.5, 1.5, 2).tolist())
    return texture_scene(
        appearance,
        colour(appearance.base)
        * (1 + appearance.contrast * (0.025 * fibres + 0.02 * noise(rng, size, 6, 2))),
    )


def plastic(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint moulded plastic with an eroded skin."""
    skin = relief(
        noise(rng, size, rng.uniform(30, 60) / appearance.scale, 2) * 0.0035,
        appearance.light_angle,
        size,
    )
    gloss = 0.10 * noise(rng, size, 2)
    return texture_scene(
        appearance,
        colour(appearance.base)
        * (0.95 + gloss + 0.30 * appearance.contrast * np.clip(skin, -1, 1)),
    )


def stripes(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint corrugated or printed stripes."""
    x, _ = rotate_axes(*grid(size), appearance.angle)
    phase = x * (rng.uniform(7, 18) / appearance.scale) + rng.random() + 0.05 * noise(rng, size, 4)
    profile = wave(phase) if rng.random() < 0.5 else smoothstep(wave(phase), 0.4, 0.6)
    body = blend(
        colour(appearance.base),
        colour(appearance.accent),
        profile * min(1.0, 0.8 * appearance.contrast),
    )
    return texture_scene(appearance, body * (1 + 0.03 * noise(rng, size, 50, 2)))


def perforated(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint sheet with a staggered grid of round holes."""
    x, y = rotate_axes(*grid(size), appearance.angle)
    count = rng.uniform(6, 12) / appearance.scale
    v = y * count + rng.random()
    u = x * count + 0.5 * (np.floor(v) % 2) + rng.random()
    distance = disc(fraction(u) - 0.5, fraction(v) - 0.5, rng.uniform(0.22, 0.36)) * (1 / count)
    rim = relief(smoothstep(distance, -0.004, 0.012) * 0.008, appearance.light_angle, size)
    sheet = colour(appearance.base) * (
        0.92 + 0.3 * np.clip(rim, -1, 1) + 0.04 * appearance.contrast * noise(rng, size, 50, 2)
    )
    return texture_scene(
        appearance, blend(sheet, colour(appearance.accent) * 0.4, coverage(distance, size))
    )


def tile(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint glazed tiles with sunken joints."""
    x, y = rotate_axes(*grid(size), appearance.angle)
    count = rng.uniform(1.5, 5) / appearance.scale
    u, v = x * count + rng.random() * 4, y * count + rng.random() * 4
    distance = box(fraction(u) - 0.5, fraction(v) - 0.5, (0.46, 0.46), 0.04) * (1 / count)
    tint = rng.random((16, 16), dtype=np.float32)[
        np.floor(v).astype(int) % 16, np.floor(u).astype(int) % 16
    ]
    glaze = colour(appearance.base) * (
        0.92 + appearance.contrast * (0.12 * tint + 0.04 * noise(rng, size, 30, 3))
    )
    edge = relief(dome(distance, 0.02), appearance.light_angle, size)
    return texture_scene(
        appearance,
        blend(
            colour(appearance.accent),
            glaze * (1 + 0.25 * np.clip(edge, -1, 1)),
            coverage(distance, size),
        ),
    )


def terrazzo(size: int, appearance: Appearance, rng: np.random.Generator) -> Scene:
    """Paint chips of stone set in cement."""
    numbers, border = voronoi_cells(rng, size, rng.uniform(10, 24) / appearance.scale, 1.0)
    chosen, tone = random_per_cell(rng, numbers), random_per_cell(rng, numbers)
    chip = smoothstep(border, 0.06, 0.14) * smoothstep(chosen, 0.45, 0.46)
    stone = blend(colour(appearance.accent), colour(appearance.background), tone)
    ground = colour(appearance.base) * (1 + 0.05 * noise(rng, size, 60, 2))
    return texture_scene(
        appearance, blend(ground, stone, chip * min(1.0, 0.7 * appearance.contrast))
    )
