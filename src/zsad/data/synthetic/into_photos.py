"""Synthetic defects drawn into real photographs, with exact masks, to learn from normal images.

Legend: W × H the photograph; a window is a square of it; its canvas, at most ``CANVAS_PX`` on a side, is what the
brushes of the procedural world draw on. Only what they changed is carried back, so that a photograph of any size keeps
its sharpness and costs little more than a small one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from PIL import Image

from zsad.data.images import SynthesisedImage
from zsad.data.synthetic import surface_defects
from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import ImageArray, Number, Plane
from zsad.data.synthetic.cutpaste import foreign_texture, pasted_patch
from zsad.data.synthetic.defects import Defect
from zsad.data.synthetic.marks import Grade
from zsad.data.synthetic.scene import Scene, texture_scene
from zsad.types import Box

# Those of the procedural world that need to know nothing but the surface.
KINDS: dict[str, Defect] = {
    "scratch": surface_defects.scratch,
    "crack": surface_defects.crack,
    "hole": surface_defects.hole,
    "stain": surface_defects.stain,
    "colour_spot": surface_defects.colour_spot,
    "fibre": surface_defects.fibre,
    "contamination": surface_defects.contamination,
    "worn": surface_defects.worn,
    "dent": surface_defects.dent,
    "pasted_patch": pasted_patch,
    "foreign_texture": foreign_texture,
}
CANVAS_PX = 384
_SMALLEST_CANVAS_PX = 64
_MASK_FROM = 0.25  # a pixel is defective, and changed, where a defect covers at least so much of it
_VIEW_PX = 256
_FEWEST_PIXELS = 6  # of a defect when the whole picture is shown at view_px
_LARGEST = 0.3  # share of the picture
_NOTICEABLE = 0.03  # half of a mask or more changes by so much of the white level
_COLOURLESS = 0.01  # mean spread of the channels below which a picture is grey
_LUMA = np.array([0.30, 0.59, 0.11], np.float32)
_TRIES = 20


@dataclass(frozen=True, slots=True)
class _Damaged:
    """A drawing on its canvas: the kind, (3, n, n) what it adds, (n, n) how far it covers each pixel."""

    kind: str
    added: ImageArray
    change: Plane


class SyntheticDefects:
    """Draws one defect into some of the normal photographs that it is given.

    Args:
        share: Of the photographs that get a defect; which ones changes from epoch to epoch.
        contrast: Lowest and highest difference to the surface, as shares of the white level, drawn evenly in
            logarithm; the lowest are hard to see.
        extent: Smallest and largest size relative to the usual one.
        kinds: Only these ``KINDS``; all where ``None``.
        view_px: A defect can still be seen when the picture is shown at this width and height, that of the network's
            input; 256 where ``None``.

    Raises:
        ValueError: A share outside (0, 1], a range that is none, or an unknown kind.

    Source: the ideas of CutPaste (Li et al., CVPR 2021) and DRAEM (Zavrtanik et al., ICCV 2021).
    """

    def __init__(
        self,
        share: Number = 0.5,
        contrast: Sequence[Number] = (0.08, 0.5),
        extent: Sequence[Number] = (0.7, 2.5),
        kinds: Sequence[str] | None = None,
        view_px: int | None = None,
    ) -> None:
        if not 0 < share <= 1:
            raise ValueError(
                f"share={share}: expected the share of images that get a defect, above 0, at most 1"
            )
        for name, limits in (("contrast", contrast), ("extent", extent)):
            if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
                raise ValueError(f"{name}={list(limits)}: expected [lowest, highest], both above 0")
        unknown = sorted(set(kinds or ()) - set(KINDS))
        if unknown or kinds == []:
            raise ValueError(f"kinds={list(kinds or ())}: expected some of {', '.join(KINDS)}")
        self.share = share
        self.contrast = contrast
        self.extent = extent
        self.kinds = list(KINDS if kinds is None else kinds)
        self.view_px = _VIEW_PX if view_px is None else view_px

    def __call__(self, image: Image.Image, rng: Generator) -> SynthesisedImage | None:
        """Return the damaged photograph, or ``None`` where chance, or a photograph on which nothing shows, says so.

        Args:
            image: RGB, L or RGBA; painted on, because copying takes as long as drawing. Grey stays grey: colour alone
                must not tell a defect.
            rng: Where the chance comes from.
        """
        if rng.random() >= self.share:
            return None
        for _ in range(_TRIES):
            window = _window(image, rng)
            scene = _scene(image, window, rng)
            damaged = self._damaged(scene, rng)
            is_seen = _is_seen(damaged, window, image.size, self.view_px)
            drawn = _carried_back(damaged, image, window) if is_seen else None
            if drawn is not None:
                return drawn
        return None

    def _damaged(self, scene: Scene, rng: Generator) -> _Damaged:
        kind = self.kinds[rng.integers(len(self.kinds))]
        grade = Grade(_between(self.contrast, rng), _between(self.extent, rng))
        picture, change = KINDS[kind](scene, grade, rng)
        added = np.clip(picture, 0, 1) - scene.image
        if np.ptp(scene.image, axis=0).mean() < _COLOURLESS:
            added = np.broadcast_to(np.tensordot(_LUMA, added, 1), added.shape)
        return _Damaged(kind, added.astype(np.float32), change.astype(np.float32))


def _between(limits: Sequence[Number], rng: Generator) -> float:
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))


def _window(image: Image.Image, rng: Generator) -> Box:
    """Return a square, half of the shorter side or more, anywhere."""
    side = max(1, round(min(image.size) * _between((0.5, 1), rng)))
    left, top = (int(rng.integers(length - side + 1)) for length in image.size)
    return Box(top, left, side, side)


def _scene(image: Image.Image, window: Box, rng: Generator) -> Scene:
    """Return a window as a surface to draw on; where the photograph is transparent, nothing can be drawn."""
    size = min(max(window.height, _SMALLEST_CANVAS_PX), CANVAS_PX)
    corners = (window.left, window.top, window.left + window.width, window.top + window.height)
    small = image.resize((size, size), Image.Resampling.BILINEAR, box=corners, reducing_gap=2.0)
    pixels = np.asarray(small.convert("RGB"), np.float32).transpose(2, 0, 1) / 255
    scene = texture_scene(
        Appearance(light_angle=rng.uniform(-math.pi, math.pi)), np.ascontiguousarray(pixels)
    )
    return (
        replace(scene, part=np.asarray(small.getchannel("A"), np.float32) / 255)
        if small.mode == "RGBA"
        else scene
    )


def _is_seen(damaged: _Damaged, window: Box, size: tuple[int, int], view_px: int) -> bool:
    """Return whether a defect is whole, neither too small nor too faint to be seen, nor most of the picture."""
    mask = damaged.change >= _MASK_FROM
    area = mask.mean() * (window.height * window.width) / (size[0] * size[1])
    if not 0 < area <= _LARGEST or _is_cut(mask, window, size):
        return False
    if np.median(np.abs(damaged.added).max(0)[mask]) < _NOTICEABLE:
        return False
    view = [max(1, round(view_px * window.height / length)) for length in size]
    shown = Image.fromarray(mask.astype(np.float32)).resize(
        (view[0], view[1]), Image.Resampling.BILINEAR
    )
    return int((np.asarray(shown) > 0.5).sum()) >= _FEWEST_PIXELS


def _is_cut(mask: Plane, window: Box, size: tuple[int, int]) -> bool:
    """Return whether a defect reaches a side of its window that is no side of the picture."""
    starts, sides = (window.left, window.top), (mask.T, mask)
    return any(
        (start > 0 and lines[0].any()) or (start + window.width < length and lines[-1].any())
        for start, lines, length in zip(starts, sides, size, strict=True)
    )


def _carried_back(damaged: _Damaged, image: Image.Image, window: Box) -> SynthesisedImage | None:
    """Paint a drawing into its window of the photograph, unless that has too few pixels to show it.

    Pixels outside the mask keep their values.
    """
    scale = window.height / len(damaged.change)
    box = _touched(damaged.change >= _MASK_FROM, scale, window.height)
    mask = _enlarged(damaged.change, box, scale) >= _MASK_FROM
    if not 0 < mask.sum() <= _LARGEST * image.width * image.height:
        return None
    added = np.stack([_enlarged(channel, box, scale)[mask] for channel in damaged.added], -1)
    corners = (window.left + box.left, window.top + box.top)
    extent = (*corners, corners[0] + box.width, corners[1] + box.height)
    image.paste(Image.fromarray(_repainted(np.array(image.crop(extent)), added, mask)), corners)
    whole = Image.new("L", image.size)
    whole.paste(Image.fromarray(mask.astype(np.uint8) * 255), corners)
    return SynthesisedImage(image, whole, f"drawn {damaged.kind.replace('_', ' ')}")


def _touched(mask: Plane, scale: float, side: int) -> Box:
    """Return the pixels of a window, ``side`` long, that its canvas's mask reaches."""
    spans = []
    for axis in (1, 0):
        hit = np.flatnonzero(mask.any(axis))
        low, high = math.floor((hit[0] - 1) * scale), math.ceil((hit[-1] + 2) * scale)
        spans.append((max(0, low), min(side, high)))
    (top, bottom), (left, right) = spans
    return Box(top, left, bottom - top, right - left)


def _enlarged(plane: Plane, box: Box, scale: float) -> Plane:
    """Return the part of a canvas that lies under a box of its window, at the window's resolution."""
    left, top = box.left / scale, box.top / scale
    ends = (box.left + box.width, box.top + box.height)
    right, bottom = (
        min(end / scale, float(len(plane))) for end in ends
    )  # Pillow refuses the last bit of rounding
    corners = (left, top, right, bottom)
    return np.asarray(
        Image.fromarray(plane).resize(
            (box.width, box.height), Image.Resampling.BILINEAR, box=corners
        )
    )


def _repainted(pixels: Plane, added: ImageArray, mask: Plane) -> Plane:
    """Add (k, 3), of the white level, to the k masked pixels of (h, w) or (h, w, 3 or 4) uint8; alpha is kept."""
    colours = pixels[..., None] if pixels.ndim == 2 else pixels
    channels = min(3, colours.shape[2])
    seen = colours[mask]
    seen[:, :channels] = np.clip(np.rint(seen[:, :channels] + 255 * added[:, :channels]), 0, 255)
    colours[mask] = seen
    return pixels
