"""Camera of the generated world: light, lens and sensor noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import ImageArray, gaussian_blur, grid, rotate_axes
from zsad.data.synthetic.noise import pixel_noise

_WHITE = 255
_SHARPER_FROM = 256  # pixels


class Camera:
    """Exposes every version of a scene with the same light, lens and sensor noise.

    A clean and a damaged version that pass through a camera differ only in the damaged part.
    """

    def __init__(self, appearance: Appearance, size: int, rng: Generator):
        x, y = grid(size)
        along, across = rotate_axes(x, y, appearance.light_angle)
        corner = along * along + across * across
        falloff = 1 + appearance.light_falloff * along - appearance.vignette * 2 * corner
        self.light = appearance.gain * falloff
        self.noise = (appearance.grain * _WHITE) * pixel_noise(rng, size, sigma_px=0.4)
        self.blur_px = blur_px(appearance, size)
        self.saturation = appearance.saturation

    def __call__(self, image: ImageArray) -> NDArray[np.uint8]:
        """Return the photograph, (H, W, 3) uint8 RGB."""
        lit = image * (self.light * _WHITE)
        if self.saturation != 1:
            grey = 0.3 * lit[0] + 0.59 * lit[1] + 0.11 * lit[2]
            lit = grey + (lit - grey) * self.saturation
        channels = [gaussian_blur(channel, self.blur_px) + self.noise for channel in lit]
        photo = cv2.merge(channels)
        return np.clip(photo + 0.5, 0, _WHITE).astype(np.uint8)


def blur_px(appearance: Appearance, size: int) -> float:
    """Return the deviation of the lens's blur in pixels."""
    sharper = _SHARPER_FROM * (size / _SHARPER_FROM) ** 0.4
    return appearance.blur * min(size, sharper)
