"""Textures of the pre-training world. No other world uses these generators."""

from __future__ import annotations

import math

import numpy as np

from zsad.data.synthetic.canvas import (
    box,
    cells,
    cover,
    disc,
    dome,
    fraction,
    grain,
    grid,
    mix,
    noise,
    per_cell,
    plane,
    relief,
    step,
    turned,
    wave,
)
from zsad.data.synthetic.scene import Look, Scene, texture


def wood(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint planed wood: growth rings cut lengthwise, and fibres."""
    _, across = turned(*grid(size), look.angle)
    rings = across * (6 / look.scale) + 0.5 * noise(rng, size, 3, 2, 4, look.angle) + rng.random()
    early = fraction(rings) ** 2
    fibres = noise(rng, size, 70, 2, 14, look.angle)
    value = 1 + look.contrast * (0.10 * fibres + 0.05 * noise(rng, size, 2))
    return texture(
        look, mix(plane(look.base), plane(look.accent), 0.55 * look.contrast * early) * value
    )


def brushed_metal(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint sheet metal with fine parallel brush marks and a band of reflected light."""
    _, across = turned(*grid(size), look.angle)
    marks = noise(rng, size, 110, 2, 40, look.angle)
    band = np.exp(-(((across - rng.uniform(-0.4, 0.4)) / rng.uniform(0.15, 0.5)) ** 2))
    return texture(look, plane(look.base) * (0.85 + 0.25 * band + look.contrast * 0.07 * marks))


def ferrite(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint ground ceramic magnet: dull, fine-grained, unevenly lit, with faint grinding marks."""
    uneven = 0.14 * noise(rng, size, 2.5, 2) + 0.05 * noise(rng, size, 9)
    marks = 0.04 * noise(rng, size, 90, 1, rng.uniform(4, 25), look.angle)
    speck = 0.05 * grain(rng, size, rng.uniform(0.3, 1.0)) + 0.04 * noise(rng, size, 40, 2)
    return texture(look, plane(look.base) * (0.95 + uneven + look.contrast * (marks + speck)))


def carpet(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint cut pile: tufts of two colours with shadow between them."""
    tufts = noise(rng, size, 48 / look.scale, 2)
    blend = step(noise(rng, size, 26 / look.scale, 2), -0.3, 0.9)
    return texture(
        look,
        mix(plane(look.base), plane(look.accent), 0.5 * blend)
        * (0.9 + 0.22 * look.contrast * tufts),
    )


def fabric(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint plain weave of two yarns."""
    x, y = turned(*grid(size), look.angle)
    count, sway = rng.uniform(14, 24) / look.scale, 0.12 * noise(rng, size, 4, 2)
    u, v = x * count + rng.random() + sway, y * count + rng.random() - sway
    over = np.cos(np.floor(u) * math.pi) * np.cos(np.floor(v) * math.pi) > 0
    warp, weft = np.sin(fraction(u) * math.pi), np.sin(fraction(v) * math.pi)
    yarn = np.where(over, warp * (0.5 + 0.5 * weft), weft * (0.5 + 0.5 * warp))
    colour = mix(plane(look.base), plane(look.accent), np.where(over, 0.0, 0.6).astype(np.float32))
    return texture(
        look, colour * (1 + look.contrast * (0.55 * (yarn - 0.7) + 0.05 * noise(rng, size, 80)))
    )


def leather(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint grained hide: rounded cells between creases."""
    numbers, border = cells(rng, size, rng.uniform(16, 34) / look.scale)
    pillow = np.sqrt(np.clip(border * 2.2, 0, 1)) * (0.8 + 0.4 * per_cell(rng, numbers))
    shade = relief(pillow * 0.009, look.toward, size)
    value = (
        0.82
        + look.contrast * (0.20 * pillow + 0.35 * np.clip(shade, -1, 1))
        + 0.05 * noise(rng, size, 4, 2)
    )
    return texture(look, plane(look.base) * value)


def marble(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint polished marble: clouds with veins along their ridges."""
    ridge = 1 - np.abs(noise(rng, size, 3 / look.scale, 4, 2, look.angle)) * 1.6
    veins = step(ridge, 0.45, 1.0) * (0.5 + 0.3 * noise(rng, size, 4))
    clouds = 1 + 0.05 * noise(rng, size, 5, 3)
    return texture(
        look,
        mix(
            plane(look.base) * clouds,
            plane(look.accent),
            np.clip(look.contrast * veins * 0.8, 0, 1),
        ),
    )


def paper(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint uncoated board: fibres in all directions."""
    fibres = sum(noise(rng, size, 45, 1, 6, angle) for angle in rng.uniform(-1.5, 1.5, 2).tolist())
    return texture(
        look,
        plane(look.base) * (1 + look.contrast * (0.025 * fibres + 0.02 * noise(rng, size, 6, 2))),
    )


def plastic(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint moulded plastic with an eroded skin."""
    skin = relief(noise(rng, size, rng.uniform(30, 60) / look.scale, 2) * 0.0035, look.toward, size)
    gloss = 0.10 * noise(rng, size, 2)
    return texture(
        look, plane(look.base) * (0.95 + gloss + 0.30 * look.contrast * np.clip(skin, -1, 1))
    )


def stripes(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint corrugated or printed stripes."""
    x, _ = turned(*grid(size), look.angle)
    phase = x * (rng.uniform(7, 18) / look.scale) + rng.random() + 0.05 * noise(rng, size, 4)
    profile = wave(phase) if rng.random() < 0.5 else step(wave(phase), 0.4, 0.6)
    body = mix(plane(look.base), plane(look.accent), profile * min(1.0, 0.8 * look.contrast))
    return texture(look, body * (1 + 0.03 * noise(rng, size, 50, 2)))


def perforated(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint sheet with a staggered grid of round holes."""
    x, y = turned(*grid(size), look.angle)
    count = rng.uniform(6, 12) / look.scale
    v = y * count + rng.random()
    u = x * count + 0.5 * (np.floor(v) % 2) + rng.random()
    distance = disc(fraction(u) - 0.5, fraction(v) - 0.5, rng.uniform(0.22, 0.36)) * (1 / count)
    rim = relief(step(distance, -0.004, 0.012) * 0.008, look.toward, size)
    sheet = plane(look.base) * (
        0.92 + 0.3 * np.clip(rim, -1, 1) + 0.04 * look.contrast * noise(rng, size, 50, 2)
    )
    return texture(look, mix(sheet, plane(look.accent) * 0.4, cover(distance, size)))


def tile(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint glazed tiles with sunken joints."""
    x, y = turned(*grid(size), look.angle)
    count = rng.uniform(1.5, 5) / look.scale
    u, v = x * count + rng.random() * 4, y * count + rng.random() * 4
    distance = box(fraction(u) - 0.5, fraction(v) - 0.5, (0.46, 0.46), 0.04) * (1 / count)
    tint = rng.random((16, 16), dtype=np.float32)[
        np.floor(v).astype(int) % 16, np.floor(u).astype(int) % 16
    ]
    glaze = plane(look.base) * (
        0.92 + look.contrast * (0.12 * tint + 0.04 * noise(rng, size, 30, 3))
    )
    edge = relief(dome(distance, 0.02), look.toward, size)
    return texture(
        look,
        mix(plane(look.accent), glaze * (1 + 0.25 * np.clip(edge, -1, 1)), cover(distance, size)),
    )


def terrazzo(size: int, look: Look, rng: np.random.Generator) -> Scene:
    """Paint chips of stone set in cement."""
    numbers, border = cells(rng, size, rng.uniform(10, 24) / look.scale, 1.0)
    chosen, tone = per_cell(rng, numbers), per_cell(rng, numbers)
    chip = step(border, 0.06, 0.14) * step(chosen, 0.45, 0.46)
    stone = mix(plane(look.accent), plane(look.ground), tone)
    ground = plane(look.base) * (1 + 0.05 * noise(rng, size, 60, 2))
    return texture(look, mix(ground, stone, chip * min(1.0, 0.7 * look.contrast)))
