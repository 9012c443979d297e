"""What defects are made of: where they may lie, their outlines, and how far they stand out from the surface."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from zsad.data.synthetic.canvas import (
    ImageArray,
    Number,
    Plane,
    gaussian_blur,
    grid,
    noise,
    rotate_axes,
)
from zsad.data.synthetic.scene import Scene

Point = tuple[float, float]

_LUMA = (0.30, 0.59, 0.11)


@dataclass(frozen=True, slots=True)
class Grade:
    """How hard a defect is to see.

    Attributes:
        contrast: Difference to the surface, as a share of the white level.
        extent: Size relative to the usual one.
    """

    contrast: float
    extent: float


GRADES = {"easy": Grade(0.46, 1.3), "medium": Grade(0.31, 1.0), "hard": Grade(0.20, 0.75)}


def random_point(scene: Scene, rng: np.random.Generator) -> Point:
    """Return a point on the part, x and y in pixels, away from the picture's border."""
    size = scene.part.shape[0]
    if scene.background is None:
        return rng.uniform(0.1, 0.9) * size, rng.uniform(0.1, 0.9) * size
    stride = max(1, size // 64)
    return _pick(gaussian_blur(scene.part, 0.02 * size)[::stride, ::stride] > 0.9, stride, rng)


def random_outline_point(scene: Scene, rng: np.random.Generator) -> Point:
    """Return a point on the part's outline, or anywhere on a texture."""
    if scene.background is None:
        return random_point(scene, rng)
    size = scene.part.shape[0]
    stride = max(1, size // 128)
    wide = gaussian_blur(scene.part, 0.015 * size)[::stride, ::stride]
    return _pick((wide > 0.3) & (wide < 0.7), stride, rng)


def _pick(allowed: NDArray[np.bool_], stride: int, rng: np.random.Generator) -> Point:
    rows, columns = np.nonzero(allowed)
    if len(rows) == 0:
        half = allowed.shape[0] * stride / 2
        return half, half
    pick = rng.integers(len(rows))
    return float(columns[pick] * stride), float(rows[pick] * stride)


def blob(
    size: int,
    centre: Point,
    radius: Number,
    rng: np.random.Generator,
    roughness: Number,
    elongation: Number,
) -> Plane:
    """Return the distance from the middle of an irregular patch, 1 on its outline.

    Args:
        size: Side in pixels.
        centre: x and y in pixels.
        radius: Mean radius, units of the side.
        rng: Where the chance comes from.
        roughness: How far the outline departs from an ellipse, as a share of the radius.
        elongation: Length over width.
    """
    x, y = grid(size)
    angle = rng.uniform(0, math.pi)
    u, v = rotate_axes(x - (centre[0] / size - 0.5), y - (centre[1] / size - 0.5), angle)
    stretch = math.sqrt(elongation)
    far = cv2.magnitude(u * (1 / (radius * stretch)), v * (stretch / radius))
    return far + roughness * np.clip(noise(rng, size, 0.9 / radius, 2), -1.5, 1.5) * np.clip(
        far, 0, 1
    )


def random_sign(rng: np.random.Generator) -> int:
    """Return 1 or -1."""
    return 1 if rng.random() < 0.5 else -1


def random_walk(
    rng: np.random.Generator, start: Point, heading: Number, length: Number, steps: int
) -> NDArray[np.float64]:
    """Return (steps, 2) points of a jagged walk that keeps its direction roughly."""
    turns = heading + rng.normal(0, 0.55, steps) + np.cumsum(rng.normal(0, 0.10, steps))
    moves = (
        np.stack([np.cos(turns), np.sin(turns)], 1)
        * (length / steps)
        * rng.uniform(0.5, 1.5, (steps, 1))
    )
    return np.cumsum(moves, 0) + np.asarray(start)


def fill_polygons(size: int, shapes: list[NDArray[np.float64]]) -> Plane:
    """Return the coverage of filled polygons, (N, 2) points each, drawn at twice the resolution."""
    sheet = np.zeros((2 * size, 2 * size), np.uint8)
    for shape in shapes:
        cv2.fillPoly(
            sheet, [np.round(shape * 32).astype(np.int32).reshape(-1, 1, 2)], 255, cv2.LINE_AA, 4
        )
    return cv2.resize(sheet, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def normalise_coverage(coverage: Plane) -> Plane:
    """Return the coverage scaled so that the finest line is still fully there at its core."""
    return np.clip(coverage / max(0.05, 0.85 * float(coverage.max())), 0, 1)


def mean_colour(scene: Scene, change: Plane) -> ImageArray:
    """Return the mean colour under a defect, (3, 1, 1)."""
    total = float(change.sum()) + 1e-6
    return (scene.image * change).sum((1, 2), keepdims=True) / np.float32(total)


def luminance(colour: ImageArray) -> float:
    """Return how bright a colour, (3, 1, 1), is for a grey camera."""
    return float(
        sum(weight * channel for weight, channel in zip(_LUMA, colour.ravel(), strict=True))
    )


def visible_sign(scene: Scene, change: Plane, wanted: int) -> int:
    """Return ``wanted`` (-1 darker, 1 brighter), or the other where the surface is too dark or bright for it."""
    brightness = luminance(mean_colour(scene, change))
    room = brightness if wanted < 0 else 1 - brightness
    return wanted if room > 0.22 else -wanted


def contrasting_colour(scene: Scene, change: Plane, contrast: Number, wanted: int) -> ImageArray:
    """Return a colour that differs from what lies under the defect by ``contrast``, (3, 1, 1)."""
    target = mean_colour(scene, change) + np.float32(visible_sign(scene, change, wanted) * contrast)
    return np.clip(target, 0.02, 1)


def remap(image: Plane, x: Plane, y: Plane) -> Plane:
    """Return the plane resampled at pixel coordinates x and y."""
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def visible_difference(first: ImageArray, second: ImageArray) -> Plane:
    """Return 0 where two pictures are the same to the eye, 1 where they clearly differ."""
    return np.clip(np.abs(first - second).max(0) * 12 - 0.3, 0, 1)


def close_gaps(change: Plane, radius_px: Number) -> Plane:
    """Return the plane with its gaps filled, as somebody who outlines a defect would."""
    side = 2 * max(1, round(radius_px)) + 1
    return cv2.morphologyEx(
        change, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    )
