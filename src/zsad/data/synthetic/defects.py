"""Defects of the generated world by name, and those that depend on outline or print of the part.

A defect takes a clean scene and returns ``(image, change)``: the (3, H, W) damaged image, which
equals the clean one wherever ``change`` is 0, and the (H, W) share in [0, 1] by which the defect
covers each pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from zsad.data.synthetic import surface_defects
from zsad.data.synthetic.canvas import blend, colour, grid, smoothstep
from zsad.data.synthetic.marks import (
    Damage,
    Grade,
    blob,
    close_gaps,
    painted,
    random_angle,
    random_outline_point,
    remap,
    visible_difference,
)
from zsad.data.synthetic.scene import Scene, compose, shifted

Defect = Callable[[Scene, Grade, Generator], Damage]


def missing_part(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Break a piece off the edge: the backdrop shows."""
    size = len(scene.part)
    radius = (0.05 + 0.09 * grade.contrast) * grade.extent
    distance = blob(
        size, random_outline_point(scene, rng), radius, rng, roughness=0.2, elongation=1.2
    )
    bite = smoothstep(distance, 1.06, 0.94)
    rest = scene.part * (1 - bite)
    image = compose(scene.background, scene.body, rest, scene.appearance)
    change = bite * np.clip(3 * scene.part - 0.5, 0, 1)
    return painted(scene, image, change)


def bent(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Push a part out of shape near its edge."""
    size = len(scene.part)
    cx, cy = random_outline_point(scene, rng)
    radius = 0.20 * grade.extent
    middle = size / 2 - 0.5
    x, y = grid(size)
    x = x * size + middle
    y = y * size + middle
    square_distance = (x - cx) ** 2 + (y - cy) ** 2
    reach = 0.55 * radius * size
    window = np.exp(-square_distance * (1 / reach**2))
    angle = random_angle(rng)
    push = (0.04 + 0.07 * grade.contrast) * grade.extent * size
    from_x = x - window * (push * math.cos(angle))
    from_y = y - window * (push * math.sin(angle))
    channels = [remap(channel, from_x, from_y) for channel in scene.body]
    body = np.stack(channels)
    part = remap(scene.part, from_x, from_y)
    image = compose(scene.background, body, part, scene.appearance)
    either_part = np.maximum(part, scene.part)
    change = visible_difference(image, scene.image)
    change = close_gaps(change, 0.02 * size)
    change = change * smoothstep(window, 0.15, 0.3)
    change = change * np.clip(3 * either_part, 0, 1)
    return painted(scene, image, change)


def misprint(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Shift, double or leave out print in an area."""
    size = len(scene.part)
    ink = scene.ink
    if ink is None:
        raise ValueError("misprint needs a category with print on it; this scene has none.")
    strongest = ink.max()
    rows, columns = np.nonzero(ink * scene.part > 0.5 * strongest)
    index = rng.integers(len(rows))
    centre = (float(columns[index]), float(rows[index]))
    distance = blob(size, centre, 0.13 * grade.extent, rng, roughness=0.2, elongation=1.5)
    area = smoothstep(distance, 1.05, 0.95)
    angle = random_angle(rng)
    reach = size * (0.02 + 0.04 * grade.contrast)
    dx = reach * math.cos(angle)
    dy = reach * math.sin(angle)
    moved = shifted(ink, dx, dy)
    doubled = np.maximum(ink, moved)
    left_out = np.zeros_like(ink)
    choices = (doubled, moved, left_out)
    misprinted = choices[rng.integers(3)] * scene.part
    difference = 2 * np.abs(misprinted - ink) / strongest
    difference = np.clip(difference, 0, 1)
    change = close_gaps(area * difference, 0.012 * size)
    change = change * area * scene.part
    faded = blend(ink, misprinted, min(1.0, 2.5 * grade.contrast))
    image = blend(scene.blank, colour(scene.ink_colour), faded)
    return painted(scene, image, change)


DEFECTS: dict[str, Defect] = {
    "scratch": surface_defects.scratch,
    "crack": surface_defects.crack,
    "hole": surface_defects.hole,
    "stain": surface_defects.stain,
    "colour_spot": surface_defects.colour_spot,
    "dent": surface_defects.dent,
    "fibre": surface_defects.fibre,
    "contamination": surface_defects.contamination,
    "worn": surface_defects.worn,
    "missing_part": missing_part,
    "bent": bent,
    "misprint": misprint,
}
