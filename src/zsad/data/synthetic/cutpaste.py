"""Defects of self-supervised learning: a piece of the picture in the wrong place, and a texture from elsewhere."""

from __future__ import annotations

import math

import cv2
import numpy as np

from zsad.data.synthetic import wild
from zsad.data.synthetic.canvas import (
    ImageArray,
    blend,
    box,
    coverage,
    grid,
    noise,
    rotate_axes,
    smoothstep,
)
from zsad.data.synthetic.defects import Damage
from zsad.data.synthetic.marks import Grade, blob, random_point, random_sign, visible_sign
from zsad.data.synthetic.scene import Scene, vary_freely

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


def pasted_patch(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Paste a piece of the same picture, turned, resized and lit otherwise, where it does not belong.

    Source: Li et al., CutPaste, CVPR 2021: rectangles of 2-15 % of the picture and thin, turned ones ("scars").
    """
    size, (cx, cy) = len(scene.part), random_point(scene, rng)
    is_scar = rng.random() < 0.4
    length, slimness = (
        grade.extent * rng.uniform(0.06, 0.16),
        rng.uniform(3, 8) if is_scar else rng.uniform(1, 2.5),
    )
    x, y = grid(size)
    along, across = rotate_axes(
        x - (cx / size - 0.5), y - (cy / size - 0.5), rng.uniform(0, math.pi)
    )
    change = coverage(box(along, across, (length, length / slimness)), size) * scene.part
    piece = _moved(scene.image, rng)
    light = rng.uniform(0, 1) * grade.contrast * visible_sign(scene, change, random_sign(rng))
    return blend(scene.image, piece + np.float32(light), change), change


def foreign_texture(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Blend another material into the picture, in ragged islands.

    Source: Zavrtanik et al., DRAEM, ICCV 2021: thresholded noise as mask, a texture of any other kind, any opacity.
    """
    size = len(scene.part)
    radius = 0.10 * grade.extent * rng.uniform(0.7, 1.6)
    far = blob(size, random_point(scene, rng), radius, rng, 0.3, rng.uniform(1, 1.8))
    ragged = 0.45 * np.clip(noise(rng, size, rng.uniform(8, 30), 3), -1.5, 1.5)
    change = smoothstep(far + ragged, 1.1, 0.9) * scene.part
    opacity = np.float32(min(1.0, grade.contrast * rng.uniform(1.5, 3)))
    return blend(scene.image, _material(size, rng), change * opacity), change


def _moved(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Return the picture as seen from elsewhere: shifted, turned, mirrored, nearer or farther."""
    size = image.shape[1]
    angle, scale = rng.uniform(-math.pi, math.pi), rng.uniform(0.7, 1.4)
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    linear = np.array([[c, -s], [s, c]]) * np.array([random_sign(rng), 1])
    middle = np.full(2, size / 2)
    there = middle + rng.uniform(0.15, 0.5, 2) * size * np.array(
        [random_sign(rng), random_sign(rng)]
    )
    inverse = np.column_stack([linear, there - linear @ middle])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shown = [
        cv2.warpAffine(channel, inverse, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)
        for channel in image
    ]
    return np.stack(shown)


def _material(size: int, rng: np.random.Generator) -> ImageArray:
    """Return a generated texture, (3, H, W), of any colour and scale."""
    category = wild.CATEGORIES[str(rng.choice(TEXTURES))]
    scene = category.paint(min(size, _PAINTED_PX), vary_freely(category.appearance, rng), rng)
    return np.stack(
        [
            cv2.resize(channel, (size, size), interpolation=cv2.INTER_LINEAR)
            for channel in scene.image
        ]
    )
