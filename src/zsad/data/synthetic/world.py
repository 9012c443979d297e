"""The procedural inspection world: three sets of categories, painted from random streams, with and without defects.

Every picture is a function of its seed alone: the order and the number of processes that ask for pictures change
nothing. A clean picture and a defective one of the same stream show the same part under the same light with the same
sensor noise, and differ only at the defect.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zsad.data.synthetic import auxiliary, target, wild
from zsad.data.synthetic.appearance import vary_freely, vary_slightly
from zsad.data.synthetic.camera import Camera, blur_px
from zsad.data.synthetic.canvas import ImageArray, gaussian_blur
from zsad.data.synthetic.category import Category
from zsad.data.synthetic.defects import DEFECTS
from zsad.data.synthetic.marks import GRADES, Grade
from zsad.data.synthetic.scene import Scene

Photo = NDArray[np.uint8]
Mask = NDArray[np.bool_]

WORLDS: dict[str, dict[str, Category]] = {
    "wild": wild.CATEGORIES,
    "a": auxiliary.CATEGORIES,
    "b": target.CATEGORIES,
}
"""Pre-training, auxiliary and target categories; no two worlds share a generator."""

CATEGORIES: dict[str, Category] = {
    name: category for world in WORLDS.values() for name, category in world.items()
}

MASK_FROM = 0.2
"""Coverage from which a pixel counts as defective. Below it lies only the soft rim of a defect."""

RIM = 0.02
"""Width of that rim in units of the side. Farther from the mask a defective picture equals the clean one."""

_NOTICEABLE = 0.03  # least mean difference to the clean scene inside a mask

_TRIES = 20


@dataclass(frozen=True, slots=True)
class ImagePair:
    """One part, flawless and damaged: (H, W, 3) uint8 RGB each, and the (H, W) bool mask of the damage."""

    clean: Photo
    defective: Photo
    mask: Mask


@dataclass(frozen=True, slots=True)
class WildSample:
    """A pair of the wild world with what it shows."""

    pair: ImagePair
    category: str
    defect: str
    grade: Grade


def random_stream(seed: int, *keys: str | int) -> np.random.Generator:
    """Return the random stream of one picture, for example ``random_stream(0, "cork", "test/good", 17)``."""
    numbers = [zlib.crc32(key.encode()) if isinstance(key, str) else key for key in keys]
    return np.random.default_rng([seed, *numbers])


def render(
    category: str,
    rng: Generator,
    size: int,
    defect: str | None = None,
    grade: str | Grade = "medium",
    max_area: float | None = None,
) -> tuple[Photo, Mask]:
    """Return a photograph, (H, W, 3) uint8 RGB, and the (H, W) bool mask of its defect (all False without one).

    Args:
        category: One of ``CATEGORIES``.
        rng: The picture's stream. Equal streams give equal parts, light and noise, whatever the defect.
        size: Side in pixels.
        defect: One of ``DEFECTS``, or ``None``.
        grade: ``easy``, ``medium``, ``hard``, or numbers of one's own.
        max_area: Largest share of the picture that the defect may cover.
    """
    if defect is None:
        scene, camera, _ = _staged(category, rng, size)
        return camera(scene.image), np.zeros((size, size), bool)
    pair = render_pair(category, rng, size, defect, grade, max_area)
    return pair.defective, pair.mask


def render_pair(
    category: str,
    rng: Generator,
    size: int,
    defect: str,
    grade: str | Grade = "medium",
    max_area: float | None = None,
) -> ImagePair:
    """Return the flawless and the damaged photograph of one part. Arguments as for :func:`render`."""
    pair = _exposed(category, rng, size, defect, _checked(category, defect, grade), max_area)
    if pair is None:
        limit = "" if max_area is None else f" within max_area={max_area}"
        raise ValueError(
            f"no {defect} that one could see fits on {category} at size={size}{limit}; ask for more."
        )
    return pair


def wild_pair(seed: int, index: int, size: int) -> WildSample:
    """Return the ``index``-th pair of the pre-training stream: any wild category, any defect, any contrast."""
    rng = random_stream(seed, "wild", index)
    while True:  # a bent uniform surface, say, shows nothing: something else is drawn then
        category = str(rng.choice(list(wild.CATEGORIES)))
        defect = str(rng.choice(wild.CATEGORIES[category].defects))
        grade = Grade(contrast=rng.uniform(0.15, 0.6), extent=rng.uniform(0.6, 1.6))
        pair = _exposed(category, rng, size, defect, grade)
        if pair is not None:
            return WildSample(pair, category, defect, grade)


def _exposed(
    category: str,
    rng: Generator,
    size: int,
    defect: str,
    grade: Grade,
    max_area: float | None = None,
) -> ImagePair | None:
    scene, camera, damage_rng = _staged(category, rng, size)
    damaged = _damaged(scene, defect, grade, damage_rng, max_area)
    return damaged and ImagePair(camera(scene.image), camera(damaged[0]), damaged[1])


def _staged(name: str, rng: Generator, size: int) -> tuple[Scene, Camera, np.random.Generator]:
    """Return the scene, its camera, and the stream for a defect, each from a stream of its own."""
    category = find_category(name)
    look_rng, scene_rng, camera_rng, damage_rng = (
        np.random.default_rng(key) for key in rng.integers(0, 2**62, 4)
    )
    vary = vary_freely if category.wild else vary_slightly
    appearance = vary(category.appearance, look_rng)
    return (
        category.paint(size, appearance, scene_rng),
        Camera(appearance, size, camera_rng),
        damage_rng,
    )


def find_category(name: str) -> Category:
    """Return the category of that name; the error lists the names."""
    if name not in CATEGORIES:
        raise ValueError(
            f"no procedural category {name!r}; there are: {', '.join(sorted(CATEGORIES))}."
        )
    return CATEGORIES[name]


def _checked(name: str, defect: str, grade: str | Grade) -> Grade:
    """Return the grade's numbers; raise for a defect or a grade that the category does not know."""
    defects = find_category(name).defects
    if defect not in defects:
        raise ValueError(f"no defect {defect!r} on {name}; there are: {', '.join(defects)}.")
    if isinstance(grade, Grade):
        return grade
    if grade not in GRADES:
        raise ValueError(f"no grade {grade!r}; there are: {', '.join(GRADES)}.")
    return GRADES[grade]


def _damaged(
    scene: Scene, defect: str, grade: Grade, rng: Generator, max_area: float | None
) -> tuple[ImageArray, Mask] | None:
    """Return the damaged scene and its mask, or ``None`` if no try hit the part visibly and within the limits."""
    least = 5 if max_area is not None else max(5, round(0.0004 * scene.part.size))
    most = (0.25 if max_area is None else max_area) * scene.part.size
    extent = grade.extent
    for _ in range(_TRIES):
        image, change = DEFECTS[defect](scene, Grade(grade.contrast, extent), rng)
        mask = gaussian_blur(change, blur_px(scene.appearance, len(change))) > MASK_FROM
        area = int(mask.sum())
        if least <= area <= most and np.abs(image - scene.image).max(0)[mask].mean() > _NOTICEABLE:
            return np.where(_grown(mask), image, scene.image), mask
        extent *= 1.1 if area < least else min(1.0, 0.85 * (most / area) ** 0.5)
    return None


def _grown(mask: Mask) -> Mask:
    side = 2 * max(2, round(RIM * len(mask))) + 1
    return (
        cv2.dilate(
            mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        )
        > 0
    )
