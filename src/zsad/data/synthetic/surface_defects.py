"""Defects of a surface: scratches, cracks, holes, stains and the like; masks are exact."""

from __future__ import annotations

import colorsys
import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zsad.data.synthetic.canvas import (
    ImageArray,
    Plane,
    blend,
    colour,
    gaussian_blur,
    relief,
    smoothstep,
)
from zsad.data.synthetic.drawing import fill_polygons, strokes
from zsad.data.synthetic.marks import (
    Damage,
    Grade,
    Point,
    blob,
    contrasting_colour,
    luminance,
    mean_colour,
    normalise_coverage,
    painted,
    random_angle,
    random_blob,
    random_point,
    random_sign,
    random_walk,
    unit_vectors,
    visible_sign,
)
from zsad.data.synthetic.noise import noise
from zsad.data.synthetic.scene import Scene, shading

Line = NDArray[np.float64]
"""(N, 2) points, x and y in pixels."""

_FIBRE_STEPS = 32


def scratch(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Add fine, slightly bent lines, bright on a dark surface and dark on a bright one."""
    size = len(scene.part)
    centre = random_point(scene, rng)
    angle = random_angle(rng, math.pi)
    lines: list[Line] = []
    for _ in range(rng.integers(1, 4)):
        lines.append(_bent_line(size, centre, angle, grade, rng))
    change = _drawn_lines(scene, lines, 0.005 * grade.extent * size)
    paint = _darker_or_brighter(scene, change, 1.2 * grade.contrast, rng)
    return painted(scene, paint, change)


def _bent_line(size: int, centre: Point, angle: float, grade: Grade, rng: Generator) -> Line:
    """Return the points of a line near a point and a direction."""
    reach = grade.extent * size * rng.uniform(0.07, 0.16)
    turn = angle + rng.normal(0, 0.15)
    t = np.linspace(-1, 1, 9)
    bend = rng.normal(0, 0.12)
    along = reach * t
    across = reach * bend * (1 - t * t)
    dx, dy = rng.normal(0, 0.02, 2) * grade.extent * size
    c = math.cos(turn)
    s = math.sin(turn)
    x = centre[0] + dx + along * c
    x = x - across * s
    y = centre[1] + dy + along * s
    y = y + across * c
    return np.stack([x, y], 1)


def crack(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Add a jagged dark line with side branches."""
    size = len(scene.part)
    centre = random_point(scene, rng)
    reach = grade.extent * size * rng.uniform(0.2, 0.36)
    trunk = random_walk(rng, centre, random_angle(rng), reach, steps=26)
    trunk = trunk - trunk[13] + centre
    branches = [trunk]
    count = rng.integers(1, 4)
    for joint in rng.integers(4, 22, count).tolist():
        branches.append(_twig(trunk, joint, reach, rng))
    width = 0.0055 * grade.extent * size
    core = strokes(size, [trunk[5:22]], 1.6 * width)
    fine = strokes(size, branches, width)
    change = normalise_coverage(np.maximum(core, fine)) * scene.part
    paint = contrasting_colour(scene, change, 1.3 * grade.contrast, -1)
    return painted(scene, paint, change)


def _twig(trunk: Line, joint: int, reach: float, rng: Generator) -> Line:
    """Return a side branch that leaves the trunk at a joint."""
    start = trunk[joint]
    dx, dy = trunk[joint + 1] - start
    turn = random_sign(rng) * rng.uniform(0.4, 1.0)
    heading = math.atan2(dy, dx) + turn
    length = reach * rng.uniform(0.15, 0.4)
    return random_walk(rng, tuple(start), heading, length, steps=10)


def hole(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Add a pit or blowhole: dark, with a lit rim."""
    radius = 0.045 * grade.extent * rng.uniform(0.7, 1.3)
    distance = random_blob(scene, radius, rng, roughness=0.25, longest=1.6)
    change = smoothstep(distance, 1.1, 0.9) * scene.part
    height = smoothstep(distance, 1.1, 0.4) * (0.6 * radius)
    rim = -shading(height, scene.appearance)
    paint = contrasting_colour(scene, change, 1.4 * grade.contrast, -1)
    paint = paint + grade.contrast * 0.5 * rim
    return painted(scene, paint, change)


def stain(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Add a dried liquid: the surface shows through, darker towards the edge."""
    radius = 0.095 * grade.extent * rng.uniform(0.7, 1.3)
    distance = random_blob(scene, radius, rng, roughness=0.35, longest=1.7)
    change = smoothstep(distance, 1.1, 0.85) * scene.part
    hue = rng.uniform(0.03, 0.14)
    tint = _bright_colour(hue, saturation=rng.uniform(0, 0.5)) - 1
    direction = visible_sign(scene, change, -1)
    strength = grade.contrast * rng.uniform(0.7, 1)
    ring = 0.65 + 0.35 * smoothstep(distance, 0.5, 0.95)
    shift = strength * (0.4 * tint + direction)
    return scene.image + shift * (change * ring), change


def colour_spot(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Add a splash of paint or ink of a foreign colour."""
    size = len(scene.part)
    cx, cy = random_point(scene, rng)
    radius = 0.055 * grade.extent * rng.uniform(0.7, 1.3)
    spread = 1.6 * radius * size
    distance = blob(size, (cx, cy), radius, rng, roughness=0.3, elongation=1.2)
    for _ in range(rng.integers(0, 4)):
        near_x = cx + rng.normal(0, spread)
        near_y = cy + rng.normal(0, spread)
        small = radius * rng.uniform(0.2, 0.45)
        drop = blob(size, (near_x, near_y), small, rng, roughness=0.2, elongation=1.1)
        distance = np.minimum(distance, drop)
    change = smoothstep(distance, 1.08, 0.92) * scene.part
    local = mean_colour(scene, change)
    paint = _other_hue(local, rng) - local
    strength = min(1.0, 1.7 * grade.contrast)
    shift = (paint - luminance(paint)) * strength
    sign = visible_sign(scene, change, random_sign(rng))
    shift = shift + 0.6 * grade.contrast * sign
    return scene.image + shift * change, change


def _other_hue(local: ImageArray, rng: Generator) -> ImageArray:
    """Return a saturated colour, (3, 1, 1), a quarter turn of hue or more from a given one."""
    rgb = local.ravel().tolist()
    hue, _, _ = colorsys.rgb_to_hsv(*rgb)
    hue = hue + rng.uniform(0.25, 0.75)
    value = min(0.95, float(local.max()) + 0.25)
    return colour(colorsys.hsv_to_rgb(hue % 1, 0.9, value))


def dent(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Add a pressed spot with a bright and a dark flank."""
    radius = 0.085 * grade.extent * rng.uniform(0.8, 1.3)
    distance = random_blob(scene, radius, rng, roughness=0.12, longest=1.5)
    change = smoothstep(distance, 1.05, 0.8) * scene.part
    bowl = np.clip(1 - distance * distance, 0, 1) ** 2
    slope = relief(bowl * radius, scene.appearance.light_angle)
    steepest = float(np.abs(slope).max()) + 1e-6
    flanks = -slope * (1.4 * grade.contrast / steepest)
    light = flanks - 0.25 * grade.contrast * bowl
    reflectance = 0.35 + 0.65 * mean_colour(scene, change)
    return scene.image + light * change * reflectance, change


def fibre(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Add a hair or thread that lies on the surface."""
    size = len(scene.part)
    centre = random_point(scene, rng)
    reach = grade.extent * size * rng.uniform(0.3, 0.5)
    path = _curled_path(rng) * (reach / _FIBRE_STEPS)
    path = path - path[_FIBRE_STEPS // 2] + centre
    change = _drawn_lines(scene, [path], 0.006 * grade.extent * size)
    hue = rng.random()
    tint = _bright_colour(hue, saturation=rng.uniform(0, 0.6)) - 1
    paint = _darker_or_brighter(scene, change, 1.25 * grade.contrast, rng)
    paint = paint * (1 + 0.5 * grade.contrast * tint)
    return painted(scene, paint, change)


def _curled_path(rng: Generator) -> Line:
    """Return the points of a curled line in steps of length 1."""
    curl = rng.normal(0, 5)
    t = np.linspace(-0.5, 0.5, _FIBRE_STEPS)
    heading = random_angle(rng) + curl * t
    amplitude = rng.uniform(0.3, 1)
    wiggle = np.sin(9 * t + rng.uniform(0, 6))
    heading = heading + amplitude * wiggle
    return np.cumsum(unit_vectors(heading), 0)


def contamination(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Add a sprinkle of chips and dust."""
    size = len(scene.part)
    centre = random_point(scene, rng)
    spread = 0.05 * grade.extent * size
    chips: list[Line] = []
    for _ in range(rng.integers(7, 18)):
        middle = rng.normal(centre, spread)
        angles = rng.uniform(0, 2 * math.pi, 6)
        reach = 0.010 * grade.extent * size
        reach = reach * rng.uniform(0.4, 1.3)
        corners = reach * unit_vectors(np.sort(angles))
        chips.append(middle + corners)
    change = normalise_coverage(fill_polygons(size, chips)) * scene.part
    paint = _darker_or_brighter(scene, change, 1.2 * grade.contrast, rng)
    return painted(scene, paint, change)


def worn(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Add a rubbed patch: the surface's own pattern is gone and fine streaks are left."""
    size = len(scene.part)
    angle = rng.uniform(0.1, math.pi)
    radius = 0.10 * grade.extent * rng.uniform(0.8, 1.2)
    distance = random_blob(scene, radius, rng, roughness=0.3, longest=1.6)
    streaks = noise(rng, size, cells=70, octaves=1, stretch=10, angle=angle)
    change = smoothstep(distance + 0.08 * streaks, 1.1, 0.8) * scene.part
    channels = [gaussian_blur(channel, 0.03 * size) for channel in scene.body]
    flat = np.stack(channels)
    strength = min(1.0, 2 * grade.contrast)
    rubbed = blend(scene.body, flat, strength)
    sign = visible_sign(scene, change, 1)
    shift = 0.6 * sign + 0.18 * streaks
    return painted(scene, rubbed + grade.contrast * shift, change)


def _drawn_lines(scene: Scene, lines: list[Line], width_px: float) -> Plane:
    """Return the coverage of lines on the part."""
    drawn = strokes(len(scene.part), lines, width_px)
    return normalise_coverage(drawn) * scene.part


def _darker_or_brighter(scene: Scene, change: Plane, contrast: float, rng: Generator) -> ImageArray:
    """Return a contrasting colour, darker or brighter by chance."""
    return contrasting_colour(scene, change, contrast, random_sign(rng))


def _bright_colour(hue: float, saturation: float) -> ImageArray:
    return colour(colorsys.hsv_to_rgb(hue, saturation, 1))
