"""Defects with exact masks: each one takes a clean scene and returns the damaged picture and where it is damaged.

Every function returns ``(image, change)``: the (3, H, W) damaged picture, which equals the clean one wherever
``change`` is 0, and the (H, W) share in [0, 1] by which the defect covers each pixel.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import cv2
import numpy as np

from zsad.data.synthetic.canvas import (
    ImageArray,
    Plane,
    blend,
    colour,
    gaussian_blur,
    grid,
    noise,
    relief,
    smoothstep,
    strokes,
)
from zsad.data.synthetic.marks import (
    Grade,
    blob,
    close_gaps,
    contrasting_colour,
    fill_polygons,
    luminance,
    mean_colour,
    normalise_coverage,
    random_outline_point,
    random_point,
    random_sign,
    random_walk,
    remap,
    visible_difference,
    visible_sign,
)
from zsad.data.synthetic.scene import Scene, compose

Damage = tuple[ImageArray, Plane]
Defect = Callable[[Scene, Grade, np.random.Generator], Damage]


def scratch(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add fine, slightly bent lines, bright where the surface is dark and dark where it is bright."""
    size, (cx, cy) = len(scene.part), random_point(scene, rng)
    angle, lines = rng.uniform(0, math.pi), []
    for _ in range(rng.integers(1, 4)):
        reach = grade.extent * size * rng.uniform(0.07, 0.16)
        turn = angle + rng.normal(0, 0.15)
        t = np.linspace(-1, 1, 9)
        sag = reach * rng.normal(0, 0.12) * (1 - t * t)
        ox, oy = rng.normal(0, 0.02, 2) * grade.extent * size
        x = cx + ox + reach * t * math.cos(turn) - sag * math.sin(turn)
        y = cy + oy + reach * t * math.sin(turn) + sag * math.cos(turn)
        lines.append(np.stack([x, y], 1))
    change = normalise_coverage(strokes(size, lines, 0.005 * grade.extent * size)) * scene.part
    return blend(
        scene.image,
        contrasting_colour(scene, change, 1.2 * grade.contrast, random_sign(rng)),
        change,
    ), change


def crack(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a jagged dark line with side branches."""
    size, (cx, cy) = len(scene.part), random_point(scene, rng)
    reach = grade.extent * size * rng.uniform(0.2, 0.36)
    trunk = random_walk(rng, (cx, cy), rng.uniform(0, 2 * math.pi), reach, 26)
    trunk = trunk - trunk[13] + (cx, cy)
    twigs = []
    for at in rng.integers(4, 22, rng.integers(1, 4)):
        heading = math.atan2(*(trunk[at + 1] - trunk[at])[::-1]) + random_sign(rng) * rng.uniform(
            0.4, 1.0
        )
        twigs.append(
            random_walk(rng, tuple(trunk[at]), heading, reach * rng.uniform(0.15, 0.4), 10)
        )
    width = 0.0055 * grade.extent * size
    change = np.maximum(
        strokes(size, [trunk[5:22]], 1.6 * width), strokes(size, [trunk, *twigs], width)
    )
    change = normalise_coverage(change) * scene.part
    return blend(
        scene.image, contrasting_colour(scene, change, 1.3 * grade.contrast, -1), change
    ), change


def hole(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a pit or blowhole: dark, with one lit rim."""
    size = len(scene.part)
    radius = 0.045 * grade.extent * rng.uniform(0.7, 1.3)
    far = blob(size, random_point(scene, rng), radius, rng, 0.25, rng.uniform(1, 1.6))
    change = smoothstep(far, 1.1, 0.9) * scene.part
    depth = np.clip(
        relief(smoothstep(far, 1.1, 0.4) * (0.6 * radius), scene.appearance.light_angle, size),
        -1,
        1,
    )
    dark = (
        contrasting_colour(scene, change, 1.4 * grade.contrast, -1) + grade.contrast * 0.5 * -depth
    )
    return blend(scene.image, dark, change), change


def stain(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a dried liquid: the surface shows through, darker towards the edge."""
    size = len(scene.part)
    radius = 0.095 * grade.extent * rng.uniform(0.7, 1.3)
    far = blob(size, random_point(scene, rng), radius, rng, 0.35, rng.uniform(1, 1.7))
    change = smoothstep(far, 1.1, 0.85) * scene.part
    tint = (
        np.array(colorsys.hsv_to_rgb(rng.uniform(0.03, 0.14), rng.uniform(0, 0.5), 1), np.float32)
        - 1
    )
    direction = visible_sign(scene, change, -1)
    shift = grade.contrast * rng.uniform(0.7, 1) * (0.4 * tint.reshape(3, 1, 1) + direction)
    ring = 0.65 + 0.35 * smoothstep(far, 0.5, 0.95)
    return scene.image + shift * (change * ring), change


def colour_spot(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a splash of paint or ink of a colour that does not belong there."""
    size = len(scene.part)
    cx, cy = random_point(scene, rng)
    radius = 0.055 * grade.extent * rng.uniform(0.7, 1.3)
    far = blob(size, (cx, cy), radius, rng, 0.3, 1.2)
    for _ in range(rng.integers(0, 4)):
        near = (cx + rng.normal(0, 1.6 * radius * size), cy + rng.normal(0, 1.6 * radius * size))
        far = np.minimum(far, blob(size, near, radius * rng.uniform(0.2, 0.45), rng, 0.2, 1.1))
    change = smoothstep(far, 1.08, 0.92) * scene.part
    local = mean_colour(scene, change)
    hue = colorsys.rgb_to_hsv(*local.ravel().tolist())[0] + rng.uniform(0.25, 0.75)
    paint = colour(colorsys.hsv_to_rgb(hue % 1, 0.9, min(0.95, float(local.max()) + 0.25))) - local
    shift = (paint - luminance(paint)) * min(1.0, 1.7 * grade.contrast)
    seen_in_grey = 0.6 * grade.contrast * visible_sign(scene, change, random_sign(rng))
    return scene.image + (shift + seen_in_grey) * change, change


def dent(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a pressed spot: one flank turns to the light, the other away from it."""
    size = len(scene.part)
    radius = 0.085 * grade.extent * rng.uniform(0.8, 1.3)
    far = blob(size, random_point(scene, rng), radius, rng, 0.12, rng.uniform(1, 1.5))
    change = smoothstep(far, 1.05, 0.8) * scene.part
    bowl = np.clip(1 - far * far, 0, 1) ** 2
    slope = relief(bowl * radius, scene.appearance.light_angle, size)
    shading = (
        -slope * (1.4 * grade.contrast / (float(np.abs(slope).max()) + 1e-6))
        - 0.25 * grade.contrast * bowl
    )
    return scene.image + shading * change * (0.35 + 0.65 * mean_colour(scene, change)), change


def fibre(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a hair or thread that lies on the surface."""
    size, (cx, cy) = len(scene.part), random_point(scene, rng)
    reach = grade.extent * size * rng.uniform(0.3, 0.5)
    curl = rng.normal(0, 5)
    t = np.linspace(-0.5, 0.5, 32)
    heading = (
        rng.uniform(0, 2 * math.pi)
        + curl * t
        + rng.uniform(0.3, 1) * np.sin(9 * t + rng.uniform(0, 6))
    )
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0) * (reach / len(t))
    path = path - path[len(t) // 2] + (cx, cy)
    change = normalise_coverage(strokes(size, [path], 0.006 * grade.extent * size)) * scene.part
    hue = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.6), 1), np.float32).reshape(
        3, 1, 1
    )
    target = contrasting_colour(scene, change, 1.25 * grade.contrast, random_sign(rng))
    return blend(scene.image, target * (1 + 0.5 * grade.contrast * (hue - 1)), change), change


def contamination(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a sprinkle of chips and dust."""
    size, (cx, cy) = len(scene.part), random_point(scene, rng)
    spread = 0.05 * grade.extent * size
    chips = []
    for _ in range(rng.integers(7, 18)):
        x, y = rng.normal((cx, cy), spread)
        angles = np.sort(rng.uniform(0, 2 * math.pi, 6))
        reach = 0.010 * grade.extent * size * rng.uniform(0.4, 1.3)
        chips.append(np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], 1))
    change = normalise_coverage(fill_polygons(size, chips)) * scene.part
    return blend(
        scene.image,
        contrasting_colour(scene, change, 1.2 * grade.contrast, random_sign(rng)),
        change,
    ), change


def worn(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a rubbed patch: the surface's own pattern is gone and fine streaks are left."""
    size, angle = len(scene.part), rng.uniform(0.1, math.pi)
    radius = 0.10 * grade.extent * rng.uniform(0.8, 1.2)
    far = blob(size, random_point(scene, rng), radius, rng, 0.3, rng.uniform(1, 1.6))
    streaks = noise(rng, size, 70, 1, 10, angle)
    change = smoothstep(far + 0.08 * streaks, 1.1, 0.8) * scene.part
    flat = np.stack([gaussian_blur(channel, 0.03 * size) for channel in scene.body])
    shift = grade.contrast * (0.6 * visible_sign(scene, change, 1) + 0.18 * streaks)
    rubbed = scene.body + (flat - scene.body) * min(1.0, 2 * grade.contrast)
    return blend(scene.image, rubbed + shift, change), change


def missing_part(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a piece broken off the edge: the backdrop shows."""
    size = len(scene.part)
    radius = (0.05 + 0.09 * grade.contrast) * grade.extent
    far = blob(size, random_outline_point(scene, rng), radius, rng, 0.2, 1.2)
    bite = smoothstep(far, 1.06, 0.94)
    without = compose(scene.background, scene.body, scene.part * (1 - bite), scene.appearance)
    change = bite * np.clip(3 * scene.part - 0.5, 0, 1)
    return blend(scene.image, without, change), change


def bent(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add a part pushed out of shape near its edge."""
    size = len(scene.part)
    cx, cy = random_outline_point(scene, rng)
    radius = 0.20 * grade.extent
    x, y = (axis * size + (size / 2 - 0.5) for axis in grid(size))
    window = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) * (1 / (0.55 * radius * size) ** 2))
    angle, push = rng.uniform(0, 2 * math.pi), (0.04 + 0.07 * grade.contrast) * grade.extent * size
    dx, dy = window * (push * math.cos(angle)), window * (push * math.sin(angle))
    body = np.stack([remap(channel, x - dx, y - dy) for channel in scene.body])
    part = remap(scene.part, x - dx, y - dy)
    image = compose(scene.background, body, part, scene.appearance)
    change = close_gaps(visible_difference(image, scene.image), 0.02 * size) * smoothstep(
        window, 0.15, 0.3
    )
    change = change * np.clip(3 * np.maximum(part, scene.part), 0, 1)
    return blend(scene.image, image, change), change


def misprint(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Add print that is shifted, doubled or left out in one area."""
    size, ink = len(scene.part), scene.ink
    if ink is None:
        raise ValueError("misprint needs a category with print on it; this scene has none.")
    rows, columns = np.nonzero(ink * scene.part > 0.5 * ink.max())
    pick = rng.integers(len(rows))
    far = blob(size, (float(columns[pick]), float(rows[pick])), 0.13 * grade.extent, rng, 0.2, 1.5)
    area = smoothstep(far, 1.05, 0.95)
    angle, by = rng.uniform(0, 2 * math.pi), size * (0.02 + 0.04 * grade.contrast)
    move = np.array([[1, 0, by * math.cos(angle)], [0, 1, by * math.sin(angle)]])
    shifted = cv2.warpAffine(ink, move, (size, size))
    new = (np.maximum(ink, shifted), shifted, np.zeros_like(ink))[rng.integers(3)] * scene.part
    touched = np.clip(2 * np.abs(new - ink) / ink.max(), 0, 1)
    change = close_gaps(area * touched, 0.012 * size) * area * scene.part
    wanted = ink + (new - ink) * min(1.0, 2.5 * grade.contrast)
    return blend(scene.image, blend(scene.blank, colour(scene.ink_colour), wanted), change), change


DEFECTS: dict[str, Defect] = {
    "scratch": scratch,
    "crack": crack,
    "hole": hole,
    "stain": stain,
    "colour_spot": colour_spot,
    "dent": dent,
    "fibre": fibre,
    "contamination": contamination,
    "worn": worn,
    "missing_part": missing_part,
    "bent": bent,
    "misprint": misprint,
}
