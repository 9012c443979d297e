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

Position = tuple[int, int]  # left, top
TitledImage = tuple[str, RGBArray]


def draw_panels(panels: Sequence[TitledImage], caption: str = "") -> RGBArray:
    """Draw images side by side, each below its title, and a caption below all."""
    titled = [add_title(title, image) for title, image in panels]
    row = side_by_side(titled)
    return add_frame(row, below=caption)


def side_by_side(images: Sequence[RGBArray]) -> RGBArray:
    """Join images into a row, with a margin between them."""
    height = max(image.shape[0] for image in images)
    padded = []
    for image in images:
        width = image.shape[1] + MARGIN_PX
        padded.append(pad(image, height, width))
    row = np.hstack(padded)
    return row[:, :-MARGIN_PX]


def stack(images: Sequence[RGBArray], gap: int) -> RGBArray:
    """Join images into a column, with ``gap`` pixels between them."""
    width = max(image.shape[1] for image in images)
    padded = []
    for image in images:
        height = image.shape[0] + gap
        padded.append(pad(image, height, width))
    column = np.vstack(padded)
    return column[:-gap]


def pad(image: RGBArray, height: int, width: int) -> RGBArray:
    """Extend an image to the right and downwards."""
    image_height, image_width, _ = image.shape
    canvas = blank(height, width)
    canvas[:image_height, :image_width] = image
    return canvas


def blank(height: int, width: int) -> RGBArray:
    """Return an image of the background colour."""
    shape = (height, width, 3)
    return np.full(shape, BACKGROUND, np.uint8)


def text_line(text: str, width: int, top: int = 0, colour: Colour = INK) -> RGBArray:
    """Return a line of text, ``width`` pixels wide."""
    canvas = blank(LINE_PX, width)
    return write_text(canvas, (0, top), text, colour)


def add_title(title: str, image: RGBArray) -> RGBArray:
    """Put a line of text above an image; the result is wider where the text needs it."""
    height, width, _ = image.shape
    width = max(width, text_width_px(title))
    line = text_line(title, width)
    padded = pad(image, height, width)
    return np.vstack((line, padded))


def add_frame(image: RGBArray, above: str = "", below: str = "") -> RGBArray:
    """Give an image a margin, and a line of text above or below it."""
    height, width, _ = image.shape
    width = max(width, text_width_px(above), text_width_px(below))
    parts = []
    if above:
        line = text_line(above, width)
        line = pad(line, LINE_PX + 4, width)
        parts.append(line)
    padded = pad(image, height, width)
    parts.append(padded)
    if below:
        parts.append(text_line(below, width, top=4))
    margin = (MARGIN_PX, MARGIN_PX)
    margins = (margin, margin, (0, 0))
    stacked = np.vstack(parts)
    return np.pad(stacked, margins, constant_values=255)


def write_text(image: RGBArray, position: Position, text: str, colour: Colour = INK) -> RGBArray:
    """Return a copy of an image with a text on it."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
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
