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


def to_rgb_array(image: Tensor, size: Size) -> RGBArray:
    """Convert an image (3, H, W) in [0, 1] to an RGB array of the given size."""
    levels = image.detach().float().clamp(0, 1).mul(255).round().byte()
    pixels = levels.cpu().permute(1, 2, 0).numpy()
    return resize_smoothly(pixels, size)


def resize_smoothly(pixels: NDArray, size: Size) -> NDArray:
    """Resize linearly, and by averaging when it gets smaller: linear interpolation would alias."""
    is_smaller = size[0] < pixels.shape[1]
    interpolation = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    return cv2.resize(pixels, size, interpolation=interpolation)


def fit_longest_side(size: Size, longest: int) -> Size:
    """Scale a size so that its longer side is ``longest``.

    >>> fit_longest_side((400, 200), 100)
    (100, 50)
    """
    scale = longest / max(size)
    width = max(1, round(size[0] * scale))
    height = max(1, round(size[1] * scale))
    return width, height
