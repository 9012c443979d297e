"""Arrangement of RGB arrays into figures: rows, columns, titles, captions and margins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zsad.reports.figures.rgb_arrays import BACKGROUND, INK, Colour, RGBArray

MARGIN_PX = 8
TEXT_PX = 13
LINE_PX = 20

PlacedText = tuple[tuple[int, int], str]  # left upper corner, text


def draw_panels(panels: Sequence[tuple[str, RGBArray]], caption: str = "") -> RGBArray:
    """Draw images side by side, each below its title, and a caption below all."""
    titled = [add_title(title, image) for title, image in panels]
    return add_frame(side_by_side(titled), below=caption)


def side_by_side(images: Sequence[RGBArray]) -> RGBArray:
    """Join images into a row, with a margin between them."""
    height = max(image.shape[0] for image in images)
    padded = [pad(image, height, image.shape[1] + MARGIN_PX) for image in images]
    return np.hstack(padded)[:, :-MARGIN_PX]


def stack(images: Sequence[RGBArray], gap: int) -> RGBArray:
    """Join images into a column, with ``gap`` pixels between them."""
    width = max(image.shape[1] for image in images)
    padded = [pad(image, image.shape[0] + gap, width) for image in images]
    return np.vstack(padded)[:-gap]


def pad(image: RGBArray, height: int, width: int) -> RGBArray:
    """Extend an image to the right and downwards."""
    canvas = blank(height, width)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


def blank(height: int, width: int) -> RGBArray:
    """Return an image of the background colour."""
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def add_title(title: str, image: RGBArray) -> RGBArray:
    """Put a line of text above an image; the result is wider where the text needs it."""
    width = max(image.shape[1], text_width_px(title))
    strip = write_texts(blank(LINE_PX, width), [((0, 0), title)])
    return np.vstack((strip, pad(image, image.shape[0], width)))


def add_frame(image: RGBArray, above: str = "", below: str = "") -> RGBArray:
    """Give an image a margin, and a line of text above or below it."""
    width = max(image.shape[1], text_width_px(above), text_width_px(below))
    parts = [pad(image, image.shape[0], width)]
    if above:
        strip = write_texts(blank(LINE_PX, width), [((0, 0), above)])
        parts.insert(0, pad(strip, LINE_PX + 4, width))
    if below:
        parts.append(write_texts(blank(LINE_PX, width), [((0, 4), below)]))
    edge = ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX), (0, 0))
    return np.pad(np.vstack(parts), edge, constant_values=255)


def write_texts(image: RGBArray, texts: Sequence[PlacedText], colour: Colour = INK) -> RGBArray:
    """Return a copy of an image with texts on it."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for position, text in texts:
        draw.text(position, text, fill=colour, font=_font())
    return np.array(canvas)


def shorten(text: str, width_px: int) -> str:
    """Cut a text to a width, with an ellipsis where something is missing."""
    if text_width(text) <= width_px:
        return text
    for length in range(len(text), 0, -1):
        shortened = text[:length] + "…"
        if text_width(shortened) <= width_px:
            return shortened
    return "…"


def text_width(text: str) -> float:
    """Return the width of a text in pixels, unrounded."""
    return _font().getlength(text)


def text_width_px(text: str) -> int:
    """Return the whole pixels that a text needs in width."""
    return math.ceil(text_width(text))


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_PX)
