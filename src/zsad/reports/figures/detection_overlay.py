"""Detections drawn onto an image: boxes, masks, and a legend with score and phrase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from zsad.functional import rle
from zsad.reports.figures.layout import (
    LINE_PX,
    blank,
    shorten,
    side_by_side,
    text_width,
    write_text,
)
from zsad.reports.figures.mask_outlines import Mask, draw_contours, resize_mask
from zsad.reports.figures.rgb_arrays import BACKGROUND, Colour, RGBArray, Size, size_of
from zsad.types import Detections

# The ten colours of Tableau, one for each detection that is drawn.
DETECTION_COLOURS: tuple[Colour, ...] = (
    (31, 119, 180),
    (214, 39, 40),
    (44, 160, 44),
    (255, 127, 14),
    (148, 103, 189),
    (23, 190, 207),
    (227, 119, 194),
    (140, 86, 75),
    (188, 189, 34),
    (127, 127, 127),
)
LEGEND_PX = 190
LABEL_PX = 17
_LEGEND_TEXT_LEFT_PX = 22
_LINES_PER_SIDE = 500  # a line is this part of the longer side

Box = tuple[int, int, int, int]  # left, top, right, bottom
Corner = tuple[int, int]  # left, top


@dataclass(frozen=True, slots=True)
class _Region:
    """A detection in pixels of the drawn image."""

    box: Box
    colour: Colour
    text: str
    mask: Mask | None


def draw_detections(image: RGBArray, detections: Detections, size: tuple[int, int]) -> RGBArray:
    """Draw the ten best detections: box and mask of each, and a legend with score and phrase.

    Args:
        image: The image, of any size; a copy is drawn on.
        detections: Boxes, scores, phrases and masks.
        size: Height and width of the image that the method was given.
    """
    ranking = detections.scores.argsort(descending=True, stable=True)
    regions = []
    for index, colour in zip(ranking.tolist(), DETECTION_COLOURS, strict=False):
        region = _to_region(detections, index, colour, size_of(image), size)
        regions.append(region)
    if not regions:
        return image.copy()
    drawn = _draw_regions(image, regions)
    boxes = [region.box for region in regions]
    corners = _free_corners(boxes, size_of(image))
    for number, corner in enumerate(corners):
        drawn = _add_number(drawn, corner, number)
    legend = _legend([region.text for region in regions])
    return side_by_side([drawn, legend])


def count_detections(number: int) -> str:
    """Return the title of a panel of detections.

    >>> count_detections(3)
    'found: 3'
    """
    most = len(DETECTION_COLOURS)
    if number == 0:
        return "found: nothing"
    if number <= most:
        return f"found: {number}"
    return f"found: {number}, the best {most}"


def _to_region(
    detections: Detections, index: int, colour: Colour, image_size: Size, size: tuple[int, int]
) -> _Region:
    """Scale a detection from the image that the method was given to the drawn image."""
    width, height = image_size
    horizontal = width / size[1]
    vertical = height / size[0]
    scale = np.array([horizontal, vertical, horizontal, vertical])
    box = detections.boxes[index].numpy()
    box = _clip_box(box * scale, image_size)
    mask = None
    if detections.masks:
        encoded = detections.masks[index]
        decoded = rle.decode(encoded).byte()
        mask = resize_mask(decoded.numpy(), image_size)
    score = float(detections.scores[index])
    phrase = detections.phrases[index]
    text = f"{score:.2f} {phrase}"
    return _Region(box, colour, text, mask)


def _clip_box(box: np.ndarray, size: Size) -> Box:
    """Return a box in whole pixels, clipped at the border of the image."""
    limits = [*size, *size]
    clipped = np.clip(np.round(box), 0, limits)
    left, top, right, bottom = clipped.astype(int).tolist()
    last_column = max(left, right - 1)
    last_row = max(top, bottom - 1)
    return left, top, last_column, last_row


def _draw_regions(image: RGBArray, regions: Sequence[_Region]) -> RGBArray:
    longest = max(size_of(image))
    line = max(1, round(longest / _LINES_PER_SIDE))
    drawn = image.copy()
    for region in reversed(regions):  # the best lie on top
        if region.mask is not None:
            drawn = draw_contours(drawn, region.mask, region.colour, line)
        left, top, right, bottom = region.box
        first = (left, top)
        last = (right, bottom)
        cv2.rectangle(drawn, first, last, region.colour, line)
    return drawn


def _free_corners(boxes: Sequence[Box], size: Size) -> list[Corner]:
    """Place the number of each box: in its corner, or to the right of numbers placed before."""
    width, height = size
    taken: list[Corner] = []
    for left, top, _, _ in boxes:
        x = min(left, width - LABEL_PX)
        y = min(top, height - LABEL_PX)
        corner = (x, max(0, y))
        free = _first_free(corner, taken, len(boxes))
        taken.append(free)
    return taken


def _first_free(corner: Corner, taken: Sequence[Corner], steps: int) -> Corner:
    """Step to the right until nothing is covered; give up after ``steps``."""
    left, top = corner
    for _ in range(steps):
        if not any(_overlap((left, top), other) for other in taken):
            return left, top
        left += LABEL_PX
    return corner


def _overlap(a: Corner, b: Corner) -> bool:
    """Tell whether two labels cover each other."""
    left, top = a
    other_left, other_top = b
    horizontal = abs(left - other_left)
    vertical = abs(top - other_top)
    return max(horizontal, vertical) < LABEL_PX


def _add_number(image: RGBArray, corner: Corner, number: int) -> RGBArray:
    """Write a number, counted from 1, onto its colour."""
    left, top = corner
    right = left + LABEL_PX
    bottom = top + LABEL_PX
    labelled = image.copy()
    labelled[top:bottom, left:right] = DETECTION_COLOURS[number]
    text = str(number + 1)
    free = LABEL_PX - text_width(text)
    position = (left + round(free / 2), top)
    return write_text(labelled, position, text, BACKGROUND)


def _legend(lines: Sequence[str]) -> RGBArray:
    """Draw the legend: the text of each number, beside the number in its colour."""
    canvas = blank(LINE_PX * len(lines), LEGEND_PX)
    for number, line in enumerate(lines):
        top = LINE_PX * number
        text = shorten(line, LEGEND_PX - _LEGEND_TEXT_LEFT_PX)
        canvas = _add_number(canvas, (0, top), number)
        position = (_LEGEND_TEXT_LEFT_PX, top - 1)
        canvas = write_text(canvas, position, text)
    return canvas
