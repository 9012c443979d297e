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
    for number, corner in enumerate(_free_corners(boxes, size_of(image))):
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
    box = _clip_box(detections.boxes[index].numpy() * scale, image_size)
    mask = None
    if detections.masks:
        encoded = detections.masks[index]
        mask = resize_mask(rle.decode(encoded).byte().numpy(), image_size)
    score = float(detections.scores[index])
    text = f"{score:.2f} {detections.phrases[index]}"
    return _Region(box, colour, text, mask)


def _clip_box(box: np.ndarray, size: Size) -> Box:
    """Return a box in whole pixels, clipped at the border of the image."""
    clipped = np.clip(np.round(box), 0, [*size, *size])
    left, top, right, bottom = clipped.astype(int).tolist()
    return left, top, max(left, right - 1), max(top, bottom - 1)


def _draw_regions(image: RGBArray, regions: Sequence[_Region]) -> RGBArray:
    longest = max(size_of(image))
    line = max(1, round(longest / _LINES_PER_SIDE))
    drawn = image.copy()
    for region in reversed(regions):  # the best lie on top
        if region.mask is not None:
            drawn = draw_contours(drawn, region.mask, region.colour, line)
        left, top, right, bottom = region.box
        cv2.rectangle(drawn, (left, top), (right, bottom), region.colour, line)
    return drawn


def _free_corners(boxes: Sequence[Box], size: Size) -> list[Corner]:
    """Place the number of each box: in its corner, or to the right of numbers placed before."""
    width, height = size
    taken: list[Corner] = []
    for left, top, _, _ in boxes:
        x = min(left, width - LABEL_PX)
        y = min(top, height - LABEL_PX)
        corner = (x, max(0, y))
        taken.append(_first_free(corner, taken, len(boxes)))
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
    horizontal = abs(a[0] - b[0])
    vertical = abs(a[1] - b[1])
    return max(horizontal, vertical) < LABEL_PX


def _add_number(image: RGBArray, corner: Corner, number: int) -> RGBArray:
    """Write a number, counted from 1, onto its colour."""
    left, top = corner
    right = left + LABEL_PX
    bottom = top + LABEL_PX
    labelled = image.copy()
    labelled[top:bottom, left:right] = DETECTION_COLOURS[number]
    text = str(number + 1)
    indent = round((LABEL_PX - text_width(text)) / 2)
    return write_text(labelled, (left + indent, top), text, BACKGROUND)


def _legend(lines: Sequence[str]) -> RGBArray:
    """Draw the legend: the text of each number, beside the number in its colour."""
    canvas = blank(LINE_PX * len(lines), LEGEND_PX)
    for number, line in enumerate(lines):
        top = LINE_PX * number
        text = shorten(line, LEGEND_PX - _LEGEND_TEXT_LEFT_PX)
        canvas = _add_number(canvas, (0, top), number)
        canvas = write_text(canvas, (_LEGEND_TEXT_LEFT_PX, top - 1), text)
    return canvas
