"""Generated inspection world: three sets of categories, painted from random streams.

Every image is a function of its seed alone: the order and the number of processes that ask for
images change nothing. A clean image and a defective image of the same stream show the same part
under the same light with the same sensor noise, and differ only at the defect.
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
"""Pre-training, auxiliary and target categories; no two worlds share a painter."""

CATEGORIES: dict[str, Category] = {**wild.CATEGORIES, **auxiliary.CATEGORIES, **target.CATEGORIES}

MASK_FROM = 0.2
"""Coverage from which a pixel counts as defective. Below it lies only the soft rim of a defect."""

RIM = 0.02
"""Width of that rim in units of the side. Beyond it a defective image equals the clean one."""

_NOTICEABLE = 0.03  # least mean difference to the clean scene inside a mask
_FEWEST_PIXELS = 5
_SMALLEST = 0.0004  # share of the image, where its size is not limited
_LARGEST = 0.25
_TRIES = 20


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A part, flawless and damaged.

    Attributes:
        clean: (H, W, 3) uint8 RGB.
        defective: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the damage.
    """

    clean: Photo
    defective: Photo
    mask: Mask


@dataclass(frozen=True, slots=True)
class WildSample:
    """A pair of the pre-training world, with its category, defect and grade."""

    pair: ImagePair
    category: str
    defect: str
    grade: Grade


@dataclass(frozen=True, slots=True)
class _Stage:
    """A clean scene, its camera, and the random stream for a defect."""

    scene: Scene
    camera: Camera
    damage_rng: Generator


def random_stream(seed: int, *keys: str | int) -> Generator:
    """Return the random stream of an image.

    For example ``random_stream(0, "cork", "test/good", 17)``.
    """
    numbers = [seed]
    for key in keys:
        numbers.append(zlib.crc32(key.encode()) if isinstance(key, str) else key)
    return np.random.default_rng(numbers)


def render(
    category: str,
    rng: Generator,
    size: int,
    defect: str | None = None,
    grade: str | Grade = "medium",
    max_area: float | None = None,
) -> tuple[Photo, Mask]:
    """Return a photograph, (H, W, 3) uint8 RGB, and the (H, W) bool mask of its defect.

    The mask is all ``False`` without a defect.

    Args:
        category: One of ``CATEGORIES``.
        rng: Stream of the image. Equal streams give equal parts, light and noise, whatever the
            defect.
        size: Side in pixels.
        defect: One of ``DEFECTS``, or ``None``.
        grade: ``easy``, ``medium``, ``hard``, or other numbers.
        max_area: Largest share of the image that the defect may cover.
    """
    if defect is None:
        stage = _set_stage(category, rng, size)
        return stage.camera(stage.scene.image), np.zeros((size, size), bool)
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
    """Return the flawless and the damaged photograph of a part; arguments as for ``render``.

    Raises:
        ValueError: No such category, defect or grade, or no visible defect fits.
    """
    grade = _checked_grade(category, defect, grade)
    pair = _photograph_pair(category, rng, size, defect, grade, max_area)
    if pair is None:
        limit = "" if max_area is None else f" within max_area={max_area}"
        raise ValueError(
            f"no visible {defect} fits on {category} at size={size}{limit}; ask for more."
        )
    return pair


def wild_pair(seed: int, index: int, size: int) -> WildSample:
    """Return a pair of the pre-training stream: any wild category, any defect, any contrast.

    Args:
        seed: Of the stream.
        index: Number of the pair in the stream.
        size: Side in pixels.
    """
    rng = random_stream(seed, "wild", index)
    while True:  # a bent uniform surface, say, shows nothing: another pair is drawn then
        category = str(rng.choice(list(wild.CATEGORIES)))
        defect = str(rng.choice(wild.CATEGORIES[category].defects))
        grade = Grade(contrast=rng.uniform(0.15, 0.6), extent=rng.uniform(0.6, 1.6))
        pair = _photograph_pair(category, rng, size, defect, grade)
        if pair is not None:
            return WildSample(pair, category, defect, grade)


def find_category(name: str) -> Category:
    """Return the category of that name; the error lists the names."""
    if name not in CATEGORIES:
        raise ValueError(
            f"no procedural category {name!r}; there are: {', '.join(sorted(CATEGORIES))}."
        )
    return CATEGORIES[name]


def _checked_grade(name: str, defect: str, grade: str | Grade) -> Grade:
    """Return the grade's numbers; raise for an unknown defect or grade of the category."""
    defects = find_category(name).defects
    if defect not in defects:
        raise ValueError(f"no defect {defect!r} on {name}; there are: {', '.join(defects)}.")
    if isinstance(grade, Grade):
        return grade
    if grade not in GRADES:
        raise ValueError(f"no grade {grade!r}; there are: {', '.join(GRADES)}.")
    return GRADES[grade]


def _photograph_pair(
    category: str,
    rng: Generator,
    size: int,
    defect: str,
    grade: Grade,
    max_area: float | None = None,
) -> ImagePair | None:
    stage = _set_stage(category, rng, size)
    damaged = _damage(stage.scene, defect, grade, stage.damage_rng, max_area)
    if damaged is None:
        return None
    image, mask = damaged
    return ImagePair(stage.camera(stage.scene.image), stage.camera(image), mask)


def _set_stage(name: str, rng: Generator, size: int) -> _Stage:
    """Return the scene, its camera, and the stream for a defect, each from its own stream."""
    category = find_category(name)
    streams = [np.random.default_rng(key) for key in rng.integers(0, 2**62, 4)]
    appearance_rng, scene_rng, camera_rng, damage_rng = streams
    vary = vary_freely if category.wild else vary_slightly
    appearance = vary(category.appearance, appearance_rng)
    scene = category.paint(size, appearance, scene_rng)
    return _Stage(scene, Camera(appearance, size, camera_rng), damage_rng)


def _damage(
    scene: Scene, defect: str, grade: Grade, rng: Generator, max_area: float | None
) -> tuple[ImageArray, Mask] | None:
    """Return the damaged scene and its mask.

    ``None``: no try hit the part visibly and within the limits of area.
    """
    pixels = scene.part.size
    least = _FEWEST_PIXELS
    most = _LARGEST * pixels
    if max_area is None:
        least = max(least, round(_SMALLEST * pixels))
    else:
        most = max_area * pixels
    extent = grade.extent
    for _ in range(_TRIES):
        image, change = DEFECTS[defect](scene, Grade(grade.contrast, extent), rng)
        blurred = gaussian_blur(change, blur_px(scene.appearance, len(change)))
        mask = blurred > MASK_FROM
        area = int(mask.sum())
        if least <= area <= most and _is_noticeable(image, scene, mask):
            return np.where(_dilate(mask), image, scene.image), mask
        if area < least:
            extent *= 1.1
        else:
            extent *= min(1.0, 0.85 * (most / area) ** 0.5)
    return None


def _is_noticeable(image: ImageArray, scene: Scene, mask: Mask) -> bool:
    difference = np.abs(image - scene.image).max(0)
    return bool(difference[mask].mean() > _NOTICEABLE)


def _dilate(mask: Mask) -> Mask:
    """Return the mask with a rim of the width ``RIM``."""
    side = 2 * max(2, round(RIM * len(mask))) + 1
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(mask.astype(np.uint8), ellipse) > 0
