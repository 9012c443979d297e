"""Defects of self-supervised learning: a misplaced piece of the image, and a foreign texture."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator

from zsad.data.synthetic import wild
from zsad.data.synthetic.appearance import vary_freely
from zsad.data.synthetic.canvas import ImageArray, blend, box, coverage, smoothstep
from zsad.data.synthetic.marks import (
    Damage,
    Grade,
    axes_around,
    painted,
    random_angle,
    random_blob,
    random_point,
    random_sign,
    visible_sign,
)
from zsad.data.synthetic.noise import noise
from zsad.data.synthetic.scene import Scene

TEXTURES = (
    "brushed_metal",
    "carpet",
    "fabric",
    "leather",
    "marble",
    "paper",
    "plastic",
    "stripes",
    "terrazzo",
    "wood",
)
_PAINTED_PX = 256  # painting a texture costs more than all the rest


def pasted_patch(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Paste a piece of the same image, turned, resized and lit otherwise, in a wrong place.

    Source: Li et al., CutPaste, CVPR 2021: rectangles of 2-15 % of the image and thin, turned ones
    ("scars").
    """
    size = len(scene.part)
    centre = random_point(scene, rng)
    is_scar = rng.random() < 0.4
    length = grade.extent * rng.uniform(0.06, 0.16)
    slimness = rng.uniform(3, 8) if is_scar else rng.uniform(1, 2.5)
    along, across = axes_around(size, centre, random_angle(rng, math.pi))
    patch = box(along, across, (length, length / slimness))
    change = coverage(patch, size) * scene.part
    piece = _seen_from_elsewhere(scene.image, rng)
    strength = rng.uniform(0, 1) * grade.contrast
    light = strength * visible_sign(scene, change, random_sign(rng))
    return painted(scene, piece + np.float32(light), change)


def foreign_texture(scene: Scene, grade: Grade, rng: Generator) -> Damage:
    """Blend another material into the image, in ragged islands.

    Source: Zavrtanik et al., DRAEM, ICCV 2021: thresholded noise as mask, a texture of any other
    kind, any opacity.
    """
    size = len(scene.part)
    radius = 0.10 * grade.extent * rng.uniform(0.7, 1.6)
    distance = random_blob(scene, radius, rng, roughness=0.3, longest=1.8)
    ragged = noise(rng, size, cells=rng.uniform(8, 30), octaves=3)
    ragged = 0.45 * np.clip(ragged, -1.5, 1.5)
    change = smoothstep(distance + ragged, 1.1, 0.9) * scene.part
    opacity = np.float32(min(1.0, grade.contrast * rng.uniform(1.5, 3)))
    return blend(scene.image, _material(size, rng), change * opacity), change


def _seen_from_elsewhere(image: ImageArray, rng: Generator) -> ImageArray:
    """Return the image shifted, turned, mirrored, enlarged or reduced."""
    size = image.shape[1]
    angle = rng.uniform(-math.pi, math.pi)
    scale = rng.uniform(0.7, 1.4)
    c = math.cos(angle) * scale
    s = math.sin(angle) * scale
    rotation = np.array([[c, -s], [s, c]])
    linear = rotation * np.array([random_sign(rng), 1])
    middle = np.full(2, size / 2)
    reach = rng.uniform(0.15, 0.5, 2) * size
    target = middle + reach * np.array([random_sign(rng), random_sign(rng)])
    inverse = np.column_stack([linear, target - linear @ middle])
    channels: list[ImageArray] = []
    for channel in image:
        moved = cv2.warpAffine(
            channel,
            inverse,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        channels.append(moved)
    return np.stack(channels)


def _material(size: int, rng: Generator) -> ImageArray:
    """Return a generated texture, (3, H, W), of any colour and scale."""
    name = str(rng.choice(TEXTURES))
    category = wild.CATEGORIES[name]
    appearance = vary_freely(category.appearance, rng)
    scene = category.paint(min(size, _PAINTED_PX), appearance, rng)
    channels: list[ImageArray] = []
    for channel in scene.image:
        channels.append(cv2.resize(channel, (size, size), interpolation=cv2.INTER_LINEAR))
    return np.stack(channels)
