"""Clean scenes of the generated world: a surface or an object, its pose, light and print."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import (
    ImageArray,
    Number,
    Plane,
    Rgb,
    colour,
    coverage,
    gaussian_blur,
    grid,
    relief,
    rotate_axes,
)
from zsad.data.synthetic.drawing import lettering
from zsad.data.synthetic.noise import noise

_INK: Rgb = (0.1, 0.1, 0.1)
_SHADOW = 0.45  # share of the light that it takes


@dataclass(frozen=True, slots=True)
class Scene:
    """A clean part, with all that a defect needs to know about it.

    Attributes:
        appearance: Of this image.
        image: (3, H, W) the clean image before light and camera.
        part: (H, W) coverage of the part; all ones for a texture.
        body: (3, H, W) the part's surface with its print, also where ``part`` is 0.
        blank: (3, H, W) the same without print.
        background: (3, H, W) the backdrop without the part; ``None`` for a texture.
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
    ink_colour: Rgb = _INK


def texture_scene(
    appearance: Appearance, surface: ImageArray, ink: Plane | None = None, ink_colour: Rgb = _INK
) -> Scene:
    """Return a surface that fills the image."""
    body = _printed(surface, ink, ink_colour)
    return Scene(
        appearance,
        image=body,
        part=np.ones(surface.shape[1:], np.float32),
        body=body,
        blank=surface,
        ink=ink,
        ink_colour=ink_colour,
    )


def object_scene(
    appearance: Appearance,
    surface: ImageArray,
    distance: Plane,
    rng: Generator,
    ink: Plane | None = None,
    ink_colour: Rgb = _INK,
) -> Scene:
    """Return an object that lies on its backdrop and throws a soft shadow.

    Args:
        appearance: Of this image.
        surface: (3, H, W) the object without print.
        distance: (H, W) signed distance to its outline, in the object's own frame.
        rng: Random stream of the backdrop.
        ink: (H, W) coverage of print.
        ink_colour: Colour of the print.
    """
    part = object_coverage(distance, appearance)
    background = _backdrop(appearance, len(part), rng)
    body = _printed(surface, ink, ink_colour)
    return Scene(
        appearance,
        image=compose(background, body, part, appearance),
        part=part,
        body=body,
        blank=surface,
        background=background,
        ink=ink,
        ink_colour=ink_colour,
    )


def _backdrop(appearance: Appearance, size: int, rng: Generator) -> ImageArray:
    flecks = 0.03 * appearance.contrast * noise(rng, size, cells=24, octaves=3)
    clouds = 0.02 * noise(rng, size, cells=3)
    return colour(appearance.background) * (1 + flecks + clouds)


def _printed(surface: ImageArray, ink: Plane | None, ink_colour: Rgb) -> ImageArray:
    if ink is None:
        return surface
    return surface + (colour(ink_colour) - surface) * ink


def compose(
    background: ImageArray | None, surface: ImageArray, part: Plane, appearance: Appearance
) -> ImageArray:
    """Return the part over its backdrop, with the shadow that it throws away from the lamp.

    A texture has neither.
    """
    if background is None:
        return surface
    size = len(part)
    reach = 0.02 * size
    dx = -reach * math.cos(appearance.light_angle)
    dy = -reach * math.sin(appearance.light_angle)
    shadow = gaussian_blur(shifted(part, dx, dy), 0.016 * size)
    shaded = background * (1 - _SHADOW * shadow)
    return shaded * (1 - part) + surface * part


def shifted(plane: Plane, dx: float, dy: float) -> Plane:
    """Return a square plane moved by pixels, 0 where it came from outside."""
    move = np.array([[1, 0, dx], [0, 1, dy]])
    return cv2.warpAffine(plane, move, plane.shape)


def shading(height: Plane, appearance: Appearance, limit: Number = 1) -> Plane:
    """Return the brightening by a relief, at most ``limit`` to either side."""
    return np.clip(relief(height, appearance.light_angle), -limit, limit)


def texture_axes(size: int, appearance: Appearance) -> tuple[Plane, Plane]:
    """Return the coordinates along and across the pattern of a texture."""
    x, y = grid(size)
    return rotate_axes(x, y, appearance.angle)


def object_axes(size: int, appearance: Appearance) -> tuple[Plane, Plane]:
    """Return the coordinates in the object's own frame, which it spans to about [-0.4, 0.4]."""
    x, y = grid(size)
    dx, dy = appearance.shift
    along, across = rotate_axes(x - dx, y - dy, appearance.angle)
    zoom = 1 / appearance.scale
    return along * zoom, across * zoom


def object_coverage(distance: Plane, appearance: Appearance) -> Plane:
    """Return the coverage of a shape in the object's own frame."""
    return coverage(distance, len(distance) * appearance.scale)


def pose_drawing(sheet: Plane, appearance: Appearance) -> Plane:
    """Return a drawing that was made upright and centred, in the object's pose."""
    size = len(sheet)
    half = size / 2
    c = appearance.scale * math.cos(appearance.angle)
    s = appearance.scale * math.sin(appearance.angle)
    dx = appearance.shift[0] * size
    dy = appearance.shift[1] * size
    to_x = [c, -s, half + dx - half * (c - s)]
    to_y = [s, c, half + dy - half * (s + c)]
    forward = np.array([to_x, to_y])
    return cv2.warpAffine(sheet, forward, (size, size), flags=cv2.INTER_LINEAR)


def printed_words(
    size: int, appearance: Appearance, rows: list[tuple[str, float, float, float]], pen: Number
) -> Plane:
    """Return the coverage of words in the object's pose; arguments as for ``lettering``."""
    return pose_drawing(lettering(size, rows, pen), appearance)
