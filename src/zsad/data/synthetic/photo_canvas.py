"""Canvas of a synthetic defect: a window of a photograph, at most ``CANVAS_PX`` on a side.

Brushes of the generated world draw on the canvas; only the pixels that they changed are carried
back, so that a photograph of any size keeps its sharpness and costs little more than a small one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from PIL import Image

from zsad.data.images import SynthesisedImage
from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import ImageArray, Number, Plane
from zsad.data.synthetic.scene import Scene, texture_scene
from zsad.types import Box

CANVAS_PX = 384
_SMALLEST_CANVAS_PX = 64
_MASK_FROM = 0.25  # a pixel is defective, and changed, from this coverage on
_FEWEST_PIXELS = 6  # of a defect when the whole image is shown at view_px
_LARGEST = 0.3  # share of the image
_NOTICEABLE = 0.03  # half of a mask or more changes by so much of the white level


@dataclass(frozen=True, slots=True)
class Drawing:
    """A defect on its canvas.

    Attributes:
        kind: Kind of the defect.
        added: (3, n, n) difference to the surface, in shares of the white level.
        change: (n, n) coverage of each pixel by the defect.
    """

    kind: str
    added: ImageArray
    change: Plane

    @property
    def mask(self) -> Plane:
        """(n, n) bool, the defective pixels."""
        return self.change >= _MASK_FROM


def random_between(limits: Sequence[Number], rng: Generator) -> float:
    """Return a number between two limits, evenly distributed in logarithm."""
    lowest, highest = map(math.log, limits)
    return math.exp(rng.uniform(lowest, highest))


def random_window(image: Image.Image, rng: Generator) -> Box:
    """Return a square anywhere, its side half of the image's shorter side or more."""
    share = random_between((0.5, 1), rng)
    side = max(1, round(min(image.size) * share))
    left = int(rng.integers(image.width - side + 1))
    top = int(rng.integers(image.height - side + 1))
    return Box(top, left, side, side)


def canvas_scene(image: Image.Image, window: Box, rng: Generator) -> Scene:
    """Return a window of a photograph as a surface to draw on.

    Nothing can be drawn where the photograph is transparent.
    """
    size = min(max(window.height, _SMALLEST_CANVAS_PX), CANVAS_PX)
    right = window.left + window.width
    bottom = window.top + window.height
    corners = (window.left, window.top, right, bottom)
    small = image.resize((size, size), Image.Resampling.BILINEAR, box=corners, reducing_gap=2.0)
    pixels = np.asarray(small.convert("RGB"), np.float32) / 255
    surface = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    appearance = Appearance(light_angle=rng.uniform(-math.pi, math.pi))
    scene = texture_scene(appearance, surface)
    if small.mode != "RGBA":
        return scene
    alpha = np.asarray(small.getchannel("A"), np.float32)
    return replace(scene, part=alpha / 255)


def is_visible(drawing: Drawing, window: Box, size: tuple[int, int], view_px: int) -> bool:
    """Tell whether a defect is whole, neither too small nor too faint, nor most of the image.

    Args:
        drawing: The defect on its canvas.
        window: Of the canvas in the image.
        size: Width and height of the image.
        view_px: Width and height at which the image is shown.
    """
    mask = drawing.mask
    width, height = size
    covered = mask.mean() * (window.height * window.width)
    area = covered / (width * height)
    if not 0 < area <= _LARGEST or _is_cut(mask, window, size):
        return False
    strength = np.abs(drawing.added).max(0)[mask]
    if np.median(strength) < _NOTICEABLE:
        return False
    shown_px = view_px * window.height
    shown_width = max(1, round(shown_px / width))
    shown_height = max(1, round(shown_px / height))
    whole = Image.fromarray(mask.astype(np.float32))
    shown = whole.resize((shown_width, shown_height), Image.Resampling.BILINEAR)
    is_shown = np.asarray(shown) > 0.5
    return int(is_shown.sum()) >= _FEWEST_PIXELS


def _is_cut(mask: Plane, window: Box, size: tuple[int, int]) -> bool:
    """Tell whether a defect reaches a side of its window that is no side of the image."""
    width, height = size
    if window.left > 0 and mask[:, 0].any():
        return True
    if window.left + window.width < width and mask[:, -1].any():
        return True
    if window.top > 0 and mask[0].any():
        return True
    return window.top + window.height < height and bool(mask[-1].any())


def carry_back(drawing: Drawing, image: Image.Image, window: Box) -> SynthesisedImage | None:
    """Paint a drawing into its window of the photograph.

    Pixels outside the mask keep their values. ``None``: the window has too few pixels to show the
    drawing.
    """
    scale = window.height / len(drawing.change)
    box = _touched_box(drawing.mask, scale, window.height)
    mask = _enlarge(drawing.change, box, scale) >= _MASK_FROM
    most = _LARGEST * image.width * image.height
    if not 0 < mask.sum() <= most:
        return None
    channels: list[Plane] = []
    for channel in drawing.added:
        enlarged = _enlarge(channel, box, scale)
        channels.append(enlarged[mask])
    left = window.left + box.left
    top = window.top + box.top
    part = image.crop((left, top, left + box.width, top + box.height))
    pixels = np.array(part)
    _add_colours(pixels, np.stack(channels, -1), mask)
    image.paste(Image.fromarray(pixels), (left, top))
    whole_mask = Image.new("L", image.size)
    white = np.where(mask, 255, 0).astype(np.uint8)
    whole_mask.paste(Image.fromarray(white), (left, top))
    kind = drawing.kind.replace("_", " ")
    return SynthesisedImage(image, whole_mask, f"drawn {kind}")


def _touched_box(mask: Plane, scale: float, side: int) -> Box:
    """Return the pixels of a window, ``side`` long, that its canvas's mask reaches."""
    spans: list[tuple[int, int]] = []
    for axis in (1, 0):
        hit = np.flatnonzero(mask.any(axis))
        low = math.floor((hit[0] - 1) * scale)
        high = math.ceil((hit[-1] + 2) * scale)
        spans.append((max(0, low), min(side, high)))
    (top, bottom), (left, right) = spans
    return Box(top, left, bottom - top, right - left)


def _enlarge(plane: Plane, box: Box, scale: float) -> Plane:
    """Return the part of a canvas under a box of its window, at the window's resolution."""
    left = box.left / scale
    top = box.top / scale
    # Pillow refuses the last bit of rounding.
    end = float(len(plane))
    right = min((box.left + box.width) / scale, end)
    bottom = min((box.top + box.height) / scale, end)
    enlarged = Image.fromarray(plane).resize(
        (box.width, box.height), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
    return np.asarray(enlarged)


def _add_colours(pixels: Plane, added: ImageArray, mask: Plane) -> None:
    """Add colours to the masked pixels; alpha is kept.

    Args:
        pixels: (h, w) or (h, w, 3 or 4) uint8, changed in place.
        added: (k, 3) differences in shares of the white level.
        mask: (h, w) bool, true for k pixels.
    """
    colours = pixels[..., None] if pixels.ndim == 2 else pixels
    channels = min(3, colours.shape[2])
    masked = colours[mask]
    shift = 255 * added[:, :channels]
    painted = np.rint(masked[:, :channels] + shift)
    masked[:, :channels] = np.clip(painted, 0, 255)
    colours[mask] = masked
