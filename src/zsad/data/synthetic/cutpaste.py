"""Defects of self-supervised learning: a piece of the picture in the wrong place, and a texture from elsewhere."""

from __future__ import annotations

import math

import cv2
import numpy as np

from zsad.data.synthetic import wild
from zsad.data.synthetic.canvas import Picture, box, cover, grid, mix, noise, step, turned
from zsad.data.synthetic.defects import Damage
from zsad.data.synthetic.marks import Grade, blob, coin, sign, spot
from zsad.data.synthetic.scene import Scene, in_the_wild

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
    size, (cx, cy) = len(scene.part), spot(scene, rng)
    is_scar = rng.random() < 0.4
    length, slimness = (
        grade.extent * rng.uniform(0.06, 0.16),
        rng.uniform(3, 8) if is_scar else rng.uniform(1, 2.5),
    )
    x, y = grid(size)
    along, across = turned(x - (cx / size - 0.5), y - (cy / size - 0.5), rng.uniform(0, math.pi))
    change = cover(box(along, across, (length, length / slimness)), size) * scene.part
    piece = _moved(scene.image, rng)
    light = rng.uniform(0, 1) * grade.contrast * sign(scene, change, coin(rng))
    return mix(scene.image, piece + np.float32(light), change), change


def foreign_texture(scene: Scene, grade: Grade, rng: np.random.Generator) -> Damage:
    """Blend another material into the picture, in ragged islands.

    Source: Zavrtanik et al., DRAEM, ICCV 2021: thresholded noise as mask, a texture of any other kind, any opacity.
    """
    size = len(scene.part)
    radius = 0.10 * grade.extent * rng.uniform(0.7, 1.6)
    far = blob(size, spot(scene, rng), radius, rng, 0.3, rng.uniform(1, 1.8))
    ragged = 0.45 * np.clip(noise(rng, size, rng.uniform(8, 30), 3), -1.5, 1.5)
    change = step(far + ragged, 1.1, 0.9) * scene.part
    opacity = np.float32(min(1.0, grade.contrast * rng.uniform(1.5, 3)))
    return mix(scene.image, _material(size, rng), change * opacity), change


def _moved(image: Picture, rng: np.random.Generator) -> Picture:
    """Return the picture as seen from elsewhere: shifted, turned, mirrored, nearer or farther."""
    size = image.shape[1]
    angle, scale = rng.uniform(-math.pi, math.pi), rng.uniform(0.7, 1.4)
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    linear = np.array([[c, -s], [s, c]]) * np.array([coin(rng), 1])
    middle = np.full(2, size / 2)
    there = middle + rng.uniform(0.15, 0.5, 2) * size * np.array([coin(rng), coin(rng)])
    inverse = np.column_stack([linear, there - linear @ middle])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shown = [
        cv2.warpAffine(plane, inverse, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)
        for plane in image
    ]
    return np.stack(shown)


def _material(size: int, rng: np.random.Generator) -> Picture:
    """Return a generated texture, (3, H, W), of any colour and scale."""
    category = wild.CATEGORIES[str(rng.choice(TEXTURES))]
    scene = category.paint(min(size, _PAINTED_PX), in_the_wild(category.look, rng), rng)
    return np.stack(
        [cv2.resize(plane, (size, size), interpolation=cv2.INTER_LINEAR) for plane in scene.image]
    )
