"""A picture before the camera: how a category looks today, what lies in front of it, and how the camera exposes it."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from zsad.data.synthetic.canvas import (
    ImageArray,
    Plane,
    Rgb,
    colour,
    gaussian_blur,
    grid,
    noise,
    pixel_noise,
    rotate_axes,
)


@dataclass(frozen=True, slots=True)
class Appearance:
    """What varies from picture to picture of one category.

    Attributes:
        base, accent, background: Colour of the part, of its second material or print, and of what it lies on.
        scale: Size of the pattern or of the object, 1 as designed.
        angle: Turn of the pattern or of the object, radians.
        free_turn: Parts lie in any direction, even on an inspection line.
        shift: Place of the object's middle, units of the picture's side.
        contrast: Strength of the surface's own pattern, 1 as designed.
        light_angle: Direction to the lamp, radians.
        light_falloff: How much the light falls off across the picture, as a share.
        vignette: How much darker the corners are, as a share.
        gain: Exposure.
        saturation: 0 for a grey camera.
        blur: Blur of the lens, units of the side for pictures up to 256 pixels; larger ones have a sharper lens.
        grain: Deviation of the sensor's noise, in [0, 1] of the white level.
    """

    base: Rgb = (0.6, 0.6, 0.6)
    accent: Rgb = (0.3, 0.3, 0.3)
    background: Rgb = (0.2, 0.2, 0.2)
    scale: float = 1.0
    angle: float = 0.0
    free_turn: bool = False
    shift: tuple[float, float] = (0.0, 0.0)
    contrast: float = 1.0
    light_angle: float = -2.2
    light_falloff: float = 0.12
    vignette: float = 0.1
    gain: float = 1.0
    saturation: float = 1.0
    blur: float = 0.003
    grain: float = 0.012


@dataclass(frozen=True, slots=True)
class Scene:
    """A clean part, with what a defect needs to know about it.

    Attributes:
        appearance: Of this image.
        image: (3, H, W) the clean picture before light and camera.
        part: (H, W) coverage of the part; all ones for a texture.
        body: (3, H, W) the part's surface with its print, also where ``part`` is 0.
        blank: (3, H, W) the same without print.
        background: (3, H, W) what one would see without the part; ``None`` for a texture.
        ink: (H, W) coverage of print, ``None`` without any.
        ink_colour: Colour of the print.
    """

    appearance: Appearance
    image: ImageArray
    part: Plane
    body: ImageArray
    blank: ImageArray
    background: ImageArray | None = None
    ink: Plane | None = None
    ink_colour: Rgb = (0.1, 0.1, 0.1)


def texture_scene(
    appearance: Appearance,
    surface: ImageArray,
    ink: Plane | None = None,
    ink_colour: Rgb = (0.1, 0.1, 0.1),
) -> Scene:
    """Return a surface that fills the picture."""
    body = _printed(surface, ink, ink_colour)
    return Scene(
        appearance,
        body,
        np.ones(surface.shape[1:], np.float32),
        body,
        surface,
        None,
        ink,
        ink_colour,
    )


def object_scene(
    appearance: Appearance,
    surface: ImageArray,
    part: Plane,
    rng: np.random.Generator,
    ink: Plane | None = None,
    ink_colour: Rgb = (0.1, 0.1, 0.1),
) -> Scene:
    """Return an object that lies on its backdrop and throws a soft shadow."""
    size = part.shape[0]
    fleck = 1 + 0.03 * appearance.contrast * noise(rng, size, 24, 3) + 0.02 * noise(rng, size, 3)
    background = colour(appearance.background) * fleck
    body = _printed(surface, ink, ink_colour)
    return Scene(
        appearance,
        compose(background, body, part, appearance),
        part,
        body,
        surface,
        background,
        ink,
        ink_colour,
    )


def _printed(surface: ImageArray, ink: Plane | None, ink_colour: Rgb) -> ImageArray:
    return surface if ink is None else surface + (colour(ink_colour) - surface) * ink


def compose(
    background: ImageArray | None, surface: ImageArray, part: Plane, appearance: Appearance
) -> ImageArray:
    """Return the part over its backdrop, with the shadow that it throws away from the lamp; a texture has neither."""
    if background is None:
        return surface
    size = part.shape[0]
    reach = 0.02 * size
    move = np.array(
        [
            [1, 0, -reach * math.cos(appearance.light_angle)],
            [0, 1, -reach * math.sin(appearance.light_angle)],
        ]
    )
    shadow = gaussian_blur(cv2.warpAffine(part, move, (size, size)), 0.016 * size)
    return background * (1 - 0.45 * shadow) * (1 - part) + surface * part


def object_axes(size: int, appearance: Appearance) -> tuple[Plane, Plane]:
    """Return the coordinates in the object's own frame, where it spans about [-0.4, 0.4]."""
    x, y = grid(size)
    u, v = rotate_axes(x - appearance.shift[0], y - appearance.shift[1], appearance.angle)
    return u * (1 / appearance.scale), v * (1 / appearance.scale)


def pose_drawing(sheet: Plane, appearance: Appearance) -> Plane:
    """Return a drawing that was made upright and centred, in the object's pose."""
    size = sheet.shape[0]
    c, s = (
        appearance.scale * math.cos(appearance.angle),
        appearance.scale * math.sin(appearance.angle),
    )
    half, dx, dy = size / 2, appearance.shift[0] * size, appearance.shift[1] * size
    forward = np.array([[c, -s, half + dx - half * (c - s)], [s, c, half + dy - half * (s + c)]])
    return cv2.warpAffine(sheet, forward, (size, size), flags=cv2.INTER_LINEAR)


def vary_slightly(appearance: Appearance, rng: np.random.Generator) -> Appearance:
    """Return the look of the next part on an inspection line: nearly the same pose, light and colour each time."""
    near = rng.normal
    turn = rng.uniform(-math.pi, math.pi) if appearance.free_turn else near(0, 0.035)
    tint = 1 + near(0, 0.015)
    return replace(
        appearance,
        base=tuple(min(1.0, c * tint) for c in appearance.base),
        scale=appearance.scale * (1 + near(0, 0.012)),
        angle=appearance.angle + turn,
        shift=(appearance.shift[0] + near(0, 0.012), appearance.shift[1] + near(0, 0.012)),
        contrast=appearance.contrast * (1 + near(0, 0.05)),
        light_angle=appearance.light_angle + near(0, 0.06),
        light_falloff=appearance.light_falloff + near(0, 0.02),
        gain=appearance.gain * (1 + near(0, 0.025)),
    )


def vary_freely(appearance: Appearance, rng: np.random.Generator) -> Appearance:
    """Return a look whose colours, light, size and turn are free."""
    free = rng.uniform
    own = rng.random() < 0.5
    colours = [
        _jittered(c, rng) if own else _any_colour(rng)
        for c in (appearance.base, appearance.accent, appearance.background)
    ]
    return Appearance(
        *colours,
        scale=appearance.scale * math.exp(free(-0.35, 0.3)),
        angle=free(-math.pi, math.pi),
        shift=(free(-0.08, 0.08), free(-0.08, 0.08)),
        contrast=appearance.contrast * free(0.4, 1.5),
        light_angle=free(-math.pi, math.pi),
        light_falloff=free(0, 0.6),
        vignette=free(0, 0.35),
        gain=min(free(0.65, 1.3), 1.1 / max(max(rgb) for rgb in colours)),
        saturation=0.0 if rng.random() < 0.3 else free(0.5, 1.2),
        blur=free(0, 0.007),
        grain=free(0, 0.04),
    )


def _any_colour(rng: np.random.Generator) -> Rgb:
    return colorsys.hsv_to_rgb(rng.random(), rng.random() ** 1.5, rng.uniform(0.15, 0.95))


def _jittered(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
    value = min(0.97, max(0.08, value * math.exp(rng.normal(0, 0.2))))
    return colorsys.hsv_to_rgb(
        (hue + rng.normal(0, 0.03)) % 1, min(1.0, saturation * rng.uniform(0.6, 1.4)), value
    )


def blur_px(appearance: Appearance, size: int) -> float:
    """Return the deviation of the lens's blur in pixels."""
    return appearance.blur * min(size, 256 * (size / 256) ** 0.4)


class Camera:
    """One exposure: the same light, lens and sensor noise for every version of a scene.

    A clean and a damaged version that pass through one camera differ only where the scene differs.
    """

    def __init__(self, appearance: Appearance, size: int, rng: np.random.Generator):
        x, y = grid(size)
        along, across = rotate_axes(x, y, appearance.light_angle)
        fall = (
            1
            + appearance.light_falloff * along
            - appearance.vignette * 2 * (along * along + across * across)
        )
        self.light = appearance.gain * fall
        self.noise = (appearance.grain * 255) * pixel_noise(rng, size, 0.4)
        self.blur_px = blur_px(appearance, size)
        self.saturation = appearance.saturation

    def __call__(self, image: ImageArray) -> NDArray[np.uint8]:
        """Return the photograph, (H, W, 3) uint8 RGB."""
        lit = image * (self.light * 255)
        if self.saturation != 1:
            grey = 0.3 * lit[0] + 0.59 * lit[1] + 0.11 * lit[2]
            lit = grey + (lit - grey) * self.saturation
        photo = cv2.merge([gaussian_blur(channel, self.blur_px) + self.noise for channel in lit])
        return np.clip(photo + 0.5, 0, 255).astype(np.uint8)
