"""RGB images as arrays, for everything that is drawn: (height, width, 3), uint8."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

RGBArray = NDArray[np.uint8]
Colour = tuple[int, int, int]
Size = tuple[int, int]  # (width, height), as in Pillow and OpenCV

BACKGROUND: Colour = (255, 255, 255)
INK: Colour = (32, 32, 32)


def size_of(image: RGBArray) -> Size:
    """Return width and height of an image."""
    height, width, _ = image.shape
    return width, height


def to_rgb_array(image: Tensor, size: Size) -> RGBArray:
    """Convert an image (3, H, W) in [0, 1] to an RGB array of the given size."""
    values = image.detach().float().clamp(0, 1)
    levels = values.mul(255).round().byte()
    channels_last = levels.cpu().permute(1, 2, 0)
    return resize_smoothly(channels_last.numpy(), size)


def resize_smoothly(pixels: NDArray, size: Size) -> NDArray:
    """Resize linearly, and by averaging when it gets smaller: linear interpolation would alias."""
    width = pixels.shape[1]
    interpolation = cv2.INTER_LINEAR
    if size[0] < width:
        interpolation = cv2.INTER_AREA
    return cv2.resize(pixels, size, interpolation=interpolation)


def fit_longest_side(size: Size, longest: int) -> Size:
    """Scale a size so that its longer side is ``longest``.

    >>> fit_longest_side((400, 200), 100)
    (100, 50)
    """
    width, height = size
    scale = longest / max(size)
    scaled_width = round(width * scale)
    scaled_height = round(height * scale)
    return max(1, scaled_width), max(1, scaled_height)
