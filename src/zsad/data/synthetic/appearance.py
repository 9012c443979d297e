"""Appearance of a part in an image: colours, pose, light and lens, and their variation."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, replace

from numpy.random import Generator

from zsad.data.synthetic.canvas import Rgb


@dataclass(frozen=True, slots=True)
class Appearance:
    """Properties that vary from image to image of a category.

    Attributes:
        base: Colour of the part.
        accent: Colour of its second material or print.
        background: Colour of the backdrop.
        scale: Size of the pattern or of the object, 1 as designed.
        angle: Turn of the pattern or of the object, radians.
        free_turn: Parts lie in any direction, even on an inspection line.
        shift: Place of the object's middle, units of the image's side.
        contrast: Strength of the surface's own pattern, 1 as designed.
        light_angle: Direction to the lamp, radians.
        light_falloff: Loss of light across the image, as a share.
        vignette: Darkening of the corners, as a share.
        gain: Exposure.
        saturation: 0 for a grey camera.
        blur: Blur of the lens, units of the side for images up to 256 pixels; larger ones have a
            sharper lens.
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


def vary_slightly(appearance: Appearance, rng: Generator) -> Appearance:
    """Return the next part on an inspection line: nearly the same pose, light and colour."""
    near = rng.normal
    turn = rng.uniform(-math.pi, math.pi) if appearance.free_turn else near(0, 0.035)
    tint = 1 + near(0, 0.015)
    red, green, blue = (min(1.0, part * tint) for part in appearance.base)
    dx, dy = appearance.shift
    return replace(
        appearance,
        base=(red, green, blue),
        scale=appearance.scale * (1 + near(0, 0.012)),
        angle=appearance.angle + turn,
        shift=(dx + near(0, 0.012), dy + near(0, 0.012)),
        contrast=appearance.contrast * (1 + near(0, 0.05)),
        light_angle=appearance.light_angle + near(0, 0.06),
        light_falloff=appearance.light_falloff + near(0, 0.02),
        gain=appearance.gain * (1 + near(0, 0.025)),
    )


def vary_freely(appearance: Appearance, rng: Generator) -> Appearance:
    """Return an appearance of any colour, light, size and turn."""
    free = rng.uniform
    keeps_colours = rng.random() < 0.5
    colours: list[Rgb] = []
    for rgb in (appearance.base, appearance.accent, appearance.background):
        colours.append(_jittered(rgb, rng) if keeps_colours else _any_colour(rng))
    base, accent, background = colours
    brightest = max(*base, *accent, *background)
    return Appearance(
        base,
        accent,
        background,
        scale=appearance.scale * math.exp(free(-0.35, 0.3)),
        angle=free(-math.pi, math.pi),
        shift=(free(-0.08, 0.08), free(-0.08, 0.08)),
        contrast=appearance.contrast * free(0.4, 1.5),
        light_angle=free(-math.pi, math.pi),
        light_falloff=free(0, 0.6),
        vignette=free(0, 0.35),
        gain=min(free(0.65, 1.3), 1.1 / brightest),
        saturation=0.0 if rng.random() < 0.3 else free(0.5, 1.2),
        blur=free(0, 0.007),
        grain=free(0, 0.04),
    )


def _any_colour(rng: Generator) -> Rgb:
    hue = rng.random()
    saturation = rng.random() ** 1.5
    value = rng.uniform(0.15, 0.95)
    return colorsys.hsv_to_rgb(hue, saturation, value)


def _jittered(rgb: Rgb, rng: Generator) -> Rgb:
    hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
    value = value * math.exp(rng.normal(0, 0.2))
    value = min(0.97, max(0.08, value))
    hue = (hue + rng.normal(0, 0.03)) % 1
    saturation = min(1.0, saturation * rng.uniform(0.6, 1.4))
    return colorsys.hsv_to_rgb(hue, saturation, value)
