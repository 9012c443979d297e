"""Detections drawn onto an image: boxes, masks, and a legend with score and phrase."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from zsad.functional import rle
from zsad.reports.figures.layout import (
    LINE_PX,
    blank,
    shorten,
    side_by_side,
    text_width,
    write_texts,
)
from zsad.reports.figures.mask_outlines import draw_contours, resize_mask
from zsad.reports.figures.rgb_arrays import BACKGROUND, Colour, RGBArray, Size
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

Box = tuple[int, int, int, int]  # left, top, right, bottom


def draw_detections(image: RGBArray, detections: Detections, size: tuple[int, int]) -> RGBArray:
    """Draw the ten best detections: box and mask of each, and a legend with score and phrase.

    Args:
        image: The image, of any size; a copy is drawn on.
        detections: Boxes, scores, phrases and masks.
        size: Height and width of the image that the method was given.
    """
    ranking = detections.scores.argsort(descending=True, stable=True)
    best = ranking[: len(DETECTION_COLOURS)].tolist()
    boxes = _scale_boxes(image, detections, best, size)
    drawn = _draw_regions(image, detections, best, boxes)
    for number, corner in enumerate(_free_corners(boxes, (image.shape[1], image.shape[0]))):
        drawn = _add_number(drawn, corner, number)
    if not best:
        return drawn
    lines = [f"{float(detections.scores[i]):.2f} {detections.phrases[i]}" for i in best]
    return side_by_side([drawn, _legend(lines)])


def count_detections(number: int) -> str:
    """Return the title of a panel of detections.

    >>> count_detections(3)
    'found: 3'
    """
    if number <= len(DETECTION_COLOURS):
        return f"found: {number or 'nothing'}"
    return f"found: {number}, the best {len(DETECTION_COLOURS)}"


def _scale_boxes(
    image: RGBArray, detections: Detections, indices: Sequence[int], size: tuple[int, int]
) -> list[Box]:
    """Return boxes in pixels of the drawn image."""
    height, width = image.shape[:2]
    horizontal = width / size[1]
    vertical = height / size[0]
    scale = np.array([horizontal, vertical, horizontal, vertical])
    boxes = []
    for index in indices:
        box = detections.boxes[index].numpy() * scale
        boxes.append(_clip_box(box, (width, height)))
    return boxes


def _draw_regions(
    image: RGBArray, detections: Detections, indices: Sequence[int], boxes: Sequence[Box]
) -> RGBArray:
    height, width = image.shape[:2]
    line = max(1, round(max(width, height) / 500))
    drawn = image.copy()
    for number in reversed(range(len(boxes))):  # the best lie on top
        colour = DETECTION_COLOURS[number]
        if detections.masks:
            mask = rle.decode(detections.masks[indices[number]]).byte().numpy()
            drawn = draw_contours(drawn, resize_mask(mask, (width, height)), colour, line)
        cv2.rectangle(drawn, boxes[number][:2], boxes[number][2:], colour, line)
    return drawn


def _clip_box(box: NDArray[np.floating], size: Size) -> Box:
    """Return a box in whole pixels, clipped at the border of the image."""
    x0, y0, x1, y1 = np.clip(np.round(box), 0, [*size, *size]).astype(int).tolist()
    return x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)


def _free_corners(boxes: Sequence[Box], size: Size) -> list[tuple[int, int]]:
    """Place the number of each box: in its corner, or to the right of numbers placed before."""
    taken: list[tuple[int, int]] = []
    for left, top, _, _ in boxes:
        x = min(left, size[0] - LABEL_PX)
        y = max(0, min(top, size[1] - LABEL_PX))
        taken.append(_first_free((x, y), taken, len(boxes)))
    return taken


def _first_free(
    corner: tuple[int, int], taken: Sequence[tuple[int, int]], steps: int
) -> tuple[int, int]:
    """Step to the right until nothing is covered; give up after ``steps``."""
    x, y = corner
    for step in range(steps):
        left = x + LABEL_PX * step
        if all(max(abs(left - u), abs(y - v)) >= LABEL_PX for u, v in taken):
            return left, y
    return corner


def _add_number(image: RGBArray, corner: tuple[int, int], number: int) -> RGBArray:
    """Write a number, counted from 1, onto its colour."""
    left, top = corner
    labelled = image.copy()
    labelled[top : top + LABEL_PX, left : left + LABEL_PX] = DETECTION_COLOURS[number]
    text = str(number + 1)
    indent = round((LABEL_PX - text_width(text)) / 2)
    return write_texts(labelled, [((left + indent, top), text)], BACKGROUND)


def _legend(lines: Sequence[str]) -> RGBArray:
    """Draw the legend: the text of each number, beside the number in its colour."""
    canvas = blank(LINE_PX * len(lines), LEGEND_PX)
    for number, line in enumerate(lines):
        top = LINE_PX * number
        text = shorten(line, LEGEND_PX - _LEGEND_TEXT_LEFT_PX)
        canvas = _add_number(canvas, (0, top), number)
        canvas = write_texts(canvas, [((_LEGEND_TEXT_LEFT_PX, top - 1), text)])
    return canvas
