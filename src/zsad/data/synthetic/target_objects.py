"""Objects of the target world. No other world uses these painters."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import (
    Plane,
    blend,
    box,
    bump,
    colour,
    disc,
    dome,
    fraction,
    polar,
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
)

_BLACK = (0.09, 0.09, 0.11)
_REFLEX = (0.90, 0.95, 0.97)
_WIRE = (0.20, 0.18, 0.17)


def screw(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a pan-head screw lying on its side."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    head = box(x + 0.30, y, (0.06, 0.13), corner=0.045)
    is_threaded = smoothstep(x, -0.12, -0.08)
    turn = x * 22
    tooth = fraction(turn + 0.2 * np.sign(y))
    tooth = np.abs(2 * tooth - 1)
    flank = 0.058 + 0.014 * tooth * is_threaded
    taper = smoothstep(x, 0.36, 0.24)
    across_shaft = np.abs(y) - flank * taper
    along_shaft = np.abs(x - 0.06) - 0.31
    shaft = np.maximum(across_shaft, along_shaft)
    thread = wave(turn + y * 1.6) * is_threaded
    thread = thread * smoothstep(head, 0, 0.01)
    across = np.where(head < 0, y / 0.13, y / 0.06)
    highlight = bump(across, -0.35, 0.3) * 0.55
    curve = 1 - 0.55 * across * across
    shine = np.clip(highlight + 0.55 * curve, 0.1, 1.3)
    steel = shine * (1 - contrast * 0.42 * thread)
    roughness = noise(rng, size, cells=40, octaves=2)
    value = steel + 0.02 * roughness
    body = base * value.astype(np.float32)
    distance = np.minimum(head, shaft)
    return object_scene(appearance, body, distance, rng)


def label(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a printed sticker: a colour band, words, and a bar code."""
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = object_axes(size, appearance)
    distance = box(x, y, (0.40, 0.29), corner=0.03)
    band = box(x, y + 0.215, (0.38, 0.05), corner=0.01)
    code_area = box(x + 0.165, y - 0.17, (0.165, 0.065))
    code = _bar_code(x) * object_coverage(code_area, appearance)
    rows = [
        ("MODEL A-207", -0.33, -0.07, 0.062),
        ("24 V   1.5 A", -0.33, 0.03, 0.048),
        ("LOT 8", 0.07, 0.21, 0.06),
    ]
    words = printed_words(size, appearance, rows, pen=0.009)
    ink = np.maximum(code, words)
    roughness = noise(rng, size, cells=40, octaves=3)
    paper = base * (1 + 0.02 * roughness)
    paper = blend(paper, accent, object_coverage(band, appearance))
    return object_scene(appearance, paper, distance, rng, ink, _BLACK)


def _bar_code(x: Plane) -> Plane:
    """Return 1 on the bars of a code that begins at the left of the label, 0 between them."""
    bars = np.array(list("101100101001110101100101"), np.float32)
    last = len(bars) - 1
    index = np.clip((x + 0.33) * 72, 0, last)
    return bars[index.astype(int)]


def star(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a moulded star knob with five lobes and a threaded insert."""
    contrast = appearance.contrast
    base = colour(appearance.base)
    accent = colour(appearance.accent)
    x, y = object_axes(size, appearance)
    radius, turn = polar(x, y)
    lobes = np.cos(turn * (10 * math.pi))
    outline = 0.285 + 0.075 * lobes
    distance = (radius - outline) * 0.8
    hub = smoothstep(radius, 0.17, 0.14)
    height = dome(distance, 0.10) + 0.05 * hub
    light = shading(height, appearance, limit=1.2)
    value = 0.85 + 0.45 * contrast * light
    value = value + 0.04 * noise(rng, size, cells=70)
    shine = np.cos(turn * 4 * math.pi)
    brass = 0.8 + 0.25 * wave(radius * 60)
    brass = accent * (brass + 0.2 * shine)
    brass = brass.astype(np.float32)
    insert = object_coverage(disc(x, y, 0.085), appearance)
    bore = object_coverage(disc(x, y, 0.045), appearance)
    body = blend(base * value, brass, insert)
    body = body * (1 - 0.85 * bore)
    return object_scene(appearance, body, distance, rng)


def fuse(size: int, appearance: Appearance, rng: Generator) -> Scene:
    """Paint a glass tube fuse: two metal caps, a wire seen through the glass."""
    base = colour(appearance.base)
    x, y = object_axes(size, appearance)
    cap = box(np.abs(x) - 0.29, y, (0.10, 0.15), corner=0.025)
    tube = box(x, y, (0.30, 0.132))
    across = y * (1 / 0.15)
    roughness = noise(rng, size, cells=60, octaves=2)
    caps = base * _cap_value(x, across, roughness)
    bend = 0.012 * np.sin(x * 9)
    wire = np.abs(y - bend) - 0.007
    reflex = np.exp(-(((across + 0.5) * 9) ** 2))
    rim = smoothstep(np.abs(across), 0.55, 0.9)
    gloss = 0.75 * reflex + 0.35 * rim
    background = colour(appearance.background)
    glass = background * (1.25 - 0.2 * across)
    glass = blend(glass, colour(_REFLEX), gloss)
    glass = blend(glass, colour(_WIRE), 0.9 * object_coverage(wire, appearance))
    rating = ("T2A", 0.225, 0.03, 0.058)
    words = printed_words(size, appearance, [rating], pen=0.009)
    metal = object_coverage(cap, appearance)
    body = blend(glass, caps, metal)
    distance = np.minimum(cap, tube)
    return object_scene(appearance, body, distance, rng, words * metal)


def _cap_value(x: Plane, across: Plane, roughness: Plane) -> Plane:
    """Return the brightness of the metal caps: a highlight, a dark flank and a groove."""
    highlight = np.exp(-(((across + 0.4) * 4.5) ** 2))
    flank = smoothstep(across, 0.3, 0.9)
    shine = 0.62 + 0.7 * highlight
    shine = shine - 0.3 * across * across
    shine = shine - 0.2 * flank
    from_groove = np.abs(np.abs(x) - 0.225)
    groove = smoothstep(from_groove, 0.012, 0.004)
    value = shine * (1 - 0.35 * groove)
    return value * (1 + 0.03 * roughness)
