"""Parts of defects: where they may lie, their outlines, and their contrast to the surface."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zsad.data.synthetic.canvas import (
    ImageArray,
    Number,
    Plane,
    blend,
    gaussian_blur,
    grid,
    rotate_axes,
)
from zsad.data.synthetic.noise import noise
from zsad.data.synthetic.scene import Scene

Point = tuple[float, float]
Damage = tuple[ImageArray, Plane]
"""(3, H, W) damaged image and (H, W) share in [0, 1] by which the defect covers each pixel."""

_LEAST_ROOM = 0.22  # of brightness, for a defect to be darker or brighter


@dataclass(frozen=True, slots=True)
class Grade:
    """Difficulty of a defect.

    Attributes:
        contrast: Difference to the surface, as a share of the white level.
        extent: Size relative to the usual one.
    """

    contrast: float
    extent: float


_EASY = Grade(contrast=0.46, extent=1.3)
_MEDIUM = Grade(contrast=0.31, extent=1.0)
_HARD = Grade(contrast=0.20, extent=0.75)
GRADES = {"easy": _EASY, "medium": _MEDIUM, "hard": _HARD}


def random_point(scene: Scene, rng: Generator) -> Point:
    """Return a point on the part, x and y in pixels, away from the image's border."""
    size = len(scene.part)
    if scene.background is None:
        x = rng.uniform(0.1, 0.9)
        y = rng.uniform(0.1, 0.9)
        return x * size, y * size
    stride = max(1, size // 64)
    blurred = gaussian_blur(scene.part, 0.02 * size)
    return _pick_point(blurred > 0.9, stride, rng)


def random_outline_point(scene: Scene, rng: Generator) -> Point:
    """Return a point on the part's outline, or anywhere on a texture."""
    if scene.background is None:
        return random_point(scene, rng)
    size = len(scene.part)
    stride = max(1, size // 128)
    blurred = gaussian_blur(scene.part, 0.015 * size)
    return _pick_point((blurred > 0.3) & (blurred < 0.7), stride, rng)


def _pick_point(allowed: NDArray[np.bool_], stride: int, rng: Generator) -> Point:
    """Return an allowed point of those on every ``stride``-th row and column; else the middle."""
    thinned = allowed[::stride, ::stride]
    rows, columns = np.nonzero(thinned)
    if len(rows) == 0:
        middle = len(thinned) * stride / 2
        return middle, middle
    index = rng.integers(len(rows))
    x = float(columns[index] * stride)
    y = float(rows[index] * stride)
    return x, y


def axes_around(size: int, centre: Point, angle: Number) -> tuple[Plane, Plane]:
    """Return the coordinates along and across a direction, 0 at a point given in pixels."""
    x, y = grid(size)
    dx = centre[0] / size - 0.5
    dy = centre[1] / size - 0.5
    return rotate_axes(x - dx, y - dy, angle)


def blob(
    size: int, centre: Point, radius: Number, rng: Generator, roughness: Number, elongation: Number
) -> Plane:
    """Return the distance from the middle of an irregular patch, 1 on its outline.

    Args:
        size: Side in pixels.
        centre: x and y in pixels.
        radius: Mean radius, units of the side.
        rng: Random stream.
        roughness: Departure of the outline from an ellipse, as a share of the radius.
        elongation: Length over width.
    """
    along, across = axes_around(size, centre, random_angle(rng, math.pi))
    stretch = math.sqrt(elongation)
    along = along * (1 / (radius * stretch))
    across = across * (stretch / radius)
    distance = cv2.magnitude(along, across)
    lumps = noise(rng, size, cells=0.9 / radius, octaves=2)
    lumps = roughness * np.clip(lumps, -1.5, 1.5)
    return distance + lumps * np.clip(distance, 0, 1)


def random_blob(
    scene: Scene, radius: Number, rng: Generator, roughness: Number, longest: Number
) -> Plane:
    """Return a blob anywhere on the part, up to ``longest`` times as long as wide."""
    centre = random_point(scene, rng)
    elongation = rng.uniform(1, longest)
    return blob(len(scene.part), centre, radius, rng, roughness, elongation)


def random_angle(rng: Generator, below: Number = 2 * math.pi) -> float:
    """Return an angle from 0 on, radians."""
    return rng.uniform(0, below)


def random_sign(rng: Generator) -> int:
    """Return 1 or -1."""
    return 1 if rng.random() < 0.5 else -1


def random_walk(
    rng: Generator, start: Point, heading: Number, length: Number, steps: int
) -> NDArray[np.float64]:
    """Return (steps, 2) points of a jagged walk that keeps its direction roughly."""
    jags = rng.normal(0, 0.55, steps)
    drift = np.cumsum(rng.normal(0, 0.10, steps))
    turns = heading + jags + drift
    moves = unit_vectors(turns) * (length / steps)
    moves = moves * rng.uniform(0.5, 1.5, (steps, 1))
    return np.cumsum(moves, 0) + np.asarray(start)


def unit_vectors(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 2) points on the unit circle."""
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def normalise_coverage(coverage: Plane) -> Plane:
    """Return the coverage scaled so that the finest line still covers its core."""
    peak = float(coverage.max())
    return np.clip(coverage / max(0.05, 0.85 * peak), 0, 1)


def mean_colour(scene: Scene, change: Plane) -> ImageArray:
    """Return the mean colour under a defect, (3, 1, 1)."""
    total = float(change.sum()) + 1e-6
    weighted = scene.image * change
    return weighted.sum((1, 2), keepdims=True) / np.float32(total)


def luminance(colour: ImageArray) -> float:
    """Return the brightness of a colour, (3, 1, 1), for a grey camera."""
    red, green, blue = colour.ravel()
    return float(0.30 * red + 0.59 * green + 0.11 * blue)


def visible_sign(scene: Scene, change: Plane, wanted: int) -> int:
    """Return ``wanted`` (-1 darker, 1 brighter), or its opposite.

    The opposite is returned if the surface under the defect is too dark or too bright for it.
    """
    brightness = luminance(mean_colour(scene, change))
    room = brightness if wanted < 0 else 1 - brightness
    return wanted if room > _LEAST_ROOM else -wanted


def contrasting_colour(scene: Scene, change: Plane, contrast: Number, wanted: int) -> ImageArray:
    """Return a colour, (3, 1, 1), that differs by ``contrast`` from the surface under a defect."""
    shift = np.float32(visible_sign(scene, change, wanted) * contrast)
    return np.clip(mean_colour(scene, change) + shift, 0.02, 1)


def remap(image: Plane, x: Plane, y: Plane) -> Plane:
    """Return the plane resampled at pixel coordinates x and y."""
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def visible_difference(first: ImageArray, second: ImageArray) -> Plane:
    """Return 0 where two images are the same to the eye, 1 where they clearly differ."""
    difference = np.abs(first - second).max(0)
    return np.clip(difference * 12 - 0.3, 0, 1)


def close_gaps(change: Plane, radius_px: Number) -> Plane:
    """Return the plane with its gaps filled, as in an outline drawn by a person."""
    side = 2 * max(1, round(radius_px)) + 1
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(change, cv2.MORPH_CLOSE, ellipse)


def painted(scene: Scene, paint: ImageArray, change: Plane) -> Damage:
    """Return the scene with paint where the defect covers it."""
    return blend(scene.image, paint, change), change
