"""A picture before the camera: how a category looks today, what lies in front of it, and how the camera exposes it."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from zsad.data.synthetic.canvas import (
    Picture,
    Plane,
    Rgb,
    grain,
    grid,
    noise,
    plane,
    soften,
    turned,
)


@dataclass(frozen=True, slots=True)
class Look:
    """What varies from picture to picture of one category.

    Attributes:
        base, accent, ground: Colour of the part, of its second material or print, and of what it lies on.
        scale: Size of the pattern or of the object, 1 as designed.
        angle: Turn of the pattern or of the object, radians.
        free_turn: Parts lie in any direction, even on an inspection line.
        shift: Place of the object's middle, units of the picture's side.
        contrast: Strength of the surface's own pattern, 1 as designed.
        toward: Direction to the lamp, radians.
        slope: How much the light falls off across the picture, as a share.
        vignette: How much darker the corners are, as a share.
        gain: Exposure.
        saturation: 0 for a grey camera.
        blur: Blur of the lens, units of the side for pictures up to 256 pixels; larger ones have a sharper lens.
        grain: Deviation of the sensor's noise, in [0, 1] of the white level.
    """

    base: Rgb = (0.6, 0.6, 0.6)
    accent: Rgb = (0.3, 0.3, 0.3)
    ground: Rgb = (0.2, 0.2, 0.2)
    scale: float = 1.0
    angle: float = 0.0
    free_turn: bool = False
    shift: tuple[float, float] = (0.0, 0.0)
    contrast: float = 1.0
    toward: float = -2.2
    slope: float = 0.12
    vignette: float = 0.1
    gain: float = 1.0
    saturation: float = 1.0
    blur: float = 0.003
    grain: float = 0.012


@dataclass(frozen=True, slots=True)
class Scene:
    """A clean part, with what a defect needs to know about it.

    Attributes:
        look: How the picture looks today.
        image: (3, H, W) the clean picture before light and camera.
        part: (H, W) coverage of the part; all ones for a texture.
        body: (3, H, W) the part's surface with its print, also where ``part`` is 0.
        blank: (3, H, W) the same without print.
        ground: (3, H, W) what one would see without the part; ``None`` for a texture.
        ink: (H, W) coverage of print, ``None`` without any.
        ink_colour: Colour of the print.
    """

    look: Look
    image: Picture
    part: Plane
    body: Picture
    blank: Picture
    ground: Picture | None = None
    ink: Plane | None = None
    ink_colour: Rgb = (0.1, 0.1, 0.1)


def texture(
    look: Look, surface: Picture, ink: Plane | None = None, ink_colour: Rgb = (0.1, 0.1, 0.1)
) -> Scene:
    """Return a surface that fills the picture."""
    body = _printed(surface, ink, ink_colour)
    return Scene(
        look, body, np.ones(surface.shape[1:], np.float32), body, surface, None, ink, ink_colour
    )


def placed(
    look: Look,
    surface: Picture,
    part: Plane,
    rng: np.random.Generator,
    ink: Plane | None = None,
    ink_colour: Rgb = (0.1, 0.1, 0.1),
) -> Scene:
    """Return an object that lies on its backdrop and throws a soft shadow."""
    size = part.shape[0]
    fleck = 1 + 0.03 * look.contrast * noise(rng, size, 24, 3) + 0.02 * noise(rng, size, 3)
    ground = plane(look.ground) * fleck
    body = _printed(surface, ink, ink_colour)
    return Scene(
        look, compose(ground, body, part, look), part, body, surface, ground, ink, ink_colour
    )


def _printed(surface: Picture, ink: Plane | None, colour: Rgb) -> Picture:
    return surface if ink is None else surface + (plane(colour) - surface) * ink


def compose(ground: Picture | None, surface: Picture, part: Plane, look: Look) -> Picture:
    """Return the part over its backdrop, with the shadow that it throws away from the lamp; a texture has neither."""
    if ground is None:
        return surface
    size = part.shape[0]
    reach = 0.02 * size
    move = np.array(
        [[1, 0, -reach * math.cos(look.toward)], [0, 1, -reach * math.sin(look.toward)]]
    )
    shadow = soften(cv2.warpAffine(part, move, (size, size)), 0.016 * size)
    return ground * (1 - 0.45 * shadow) * (1 - part) + surface * part


def pose(size: int, look: Look) -> tuple[Plane, Plane]:
    """Return the coordinates in the object's own frame, where it spans about [-0.4, 0.4]."""
    x, y = grid(size)
    u, v = turned(x - look.shift[0], y - look.shift[1], look.angle)
    return u * (1 / look.scale), v * (1 / look.scale)


def posed(sheet: Plane, look: Look) -> Plane:
    """Return a drawing that was made upright and centred, in the object's pose."""
    size = sheet.shape[0]
    c, s = look.scale * math.cos(look.angle), look.scale * math.sin(look.angle)
    half, dx, dy = size / 2, look.shift[0] * size, look.shift[1] * size
    forward = np.array([[c, -s, half + dx - half * (c - s)], [s, c, half + dy - half * (s + c)]])
    return cv2.warpAffine(sheet, forward, (size, size), flags=cv2.INTER_LINEAR)


def on_the_line(look: Look, rng: np.random.Generator) -> Look:
    """Return the look of the next part on an inspection line: nearly the same pose, light and colour each time."""
    near = rng.normal
    turn = rng.uniform(-math.pi, math.pi) if look.free_turn else near(0, 0.035)
    tint = 1 + near(0, 0.015)
    return replace(
        look,
        base=tuple(min(1.0, c * tint) for c in look.base),
        scale=look.scale * (1 + near(0, 0.012)),
        angle=look.angle + turn,
        shift=(look.shift[0] + near(0, 0.012), look.shift[1] + near(0, 0.012)),
        contrast=look.contrast * (1 + near(0, 0.05)),
        toward=look.toward + near(0, 0.06),
        slope=look.slope + near(0, 0.02),
        gain=look.gain * (1 + near(0, 0.025)),
    )


def in_the_wild(look: Look, rng: np.random.Generator) -> Look:
    """Return a look whose colours, light, size and turn are free."""
    free = rng.uniform
    own = rng.random() < 0.5
    colours = [
        _jittered(c, rng) if own else _any_colour(rng)
        for c in (look.base, look.accent, look.ground)
    ]
    return Look(
        *colours,
        scale=look.scale * math.exp(free(-0.35, 0.3)),
        angle=free(-math.pi, math.pi),
        shift=(free(-0.08, 0.08), free(-0.08, 0.08)),
        contrast=look.contrast * free(0.4, 1.5),
        toward=free(-math.pi, math.pi),
        slope=free(0, 0.6),
        vignette=free(0, 0.35),
        gain=min(free(0.65, 1.3), 1.1 / max(max(colour) for colour in colours)),
        saturation=0.0 if rng.random() < 0.3 else free(0.5, 1.2),
        blur=free(0, 0.007),
        grain=free(0, 0.04),
    )


def _any_colour(rng: np.random.Generator) -> Rgb:
    return colorsys.hsv_to_rgb(rng.random(), rng.random() ** 1.5, rng.uniform(0.15, 0.95))


def _jittered(colour: Rgb, rng: np.random.Generator) -> Rgb:
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    value = min(0.97, max(0.08, value * math.exp(rng.normal(0, 0.2))))
    return colorsys.hsv_to_rgb(
        (hue + rng.normal(0, 0.03)) % 1, min(1.0, saturation * rng.uniform(0.6, 1.4)), value
    )


def blur_px(look: Look, size: int) -> float:
    """Return the deviation of the lens's blur in pixels."""
    return look.blur * min(size, 256 * (size / 256) ** 0.4)


class Camera:
    """One exposure: the same light, lens and sensor noise for every version of a scene.

    A clean and a damaged version that pass through one camera differ only where the scene differs.
    """

    def __init__(self, look: Look, size: int, rng: np.random.Generator):
        x, y = grid(size)
        along, across = turned(x, y, look.toward)
        fall = 1 + look.slope * along - look.vignette * 2 * (along * along + across * across)
        self.light = look.gain * fall
        self.noise = (look.grain * 255) * grain(rng, size, 0.4)
        self.blur_px = blur_px(look, size)
        self.saturation = look.saturation

    def __call__(self, image: Picture) -> NDArray[np.uint8]:
        """Return the photograph, (H, W, 3) uint8 RGB."""
        lit = image * (self.light * 255)
        if self.saturation != 1:
            grey = 0.3 * lit[0] + 0.59 * lit[1] + 0.11 * lit[2]
            lit = grey + (lit - grey) * self.saturation
        photo = cv2.merge([soften(channel, self.blur_px) + self.noise for channel in lit])
        return np.clip(photo + 0.5, 0, 255).astype(np.uint8)
