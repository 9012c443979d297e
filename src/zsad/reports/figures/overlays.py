"""Pictures of anomaly maps: arrays in, arrays out.

A picture is (h, w, 3) uint8, RGB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zsad.functional import rle
from zsad.types import Detections

Picture = NDArray[np.uint8]
Size = tuple[int, int]  # (width, height), as Pillow and OpenCV have it
Range = tuple[float, float]

BACKGROUND = (255, 255, 255)
INK = (32, 32, 32)
TRUTH = (255, 255, 255)
CALLED = (255, 0, 255)  # a colour that the maps do not have
GOOD, DEFECTIVE = (38, 139, 80), (196, 52, 45)
FOUND = (  # one colour for each thing that a detector found: the ten of Tableau
    *((31, 119, 180), (214, 39, 40), (44, 160, 44), (255, 127, 14), (148, 103, 189)),
    *((23, 190, 207), (227, 119, 194), (140, 86, 75), (188, 189, 34), (127, 127, 127)),
)
LEGEND_PX = 190
TAG_PX = 17
OPACITY = (0.25, 0.7)  # of the lowest and of the highest value: what looks normal stays visible
MARGIN_PX = 8
TEXT_PX = 13
LINE_PX = 20


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One image of a contact sheet: small pictures above each other, and what to say below them."""

    pictures: tuple[Picture, ...]
    caption: str
    is_anomalous: bool


def to_picture(image: Tensor, size: Size) -> Picture:
    """Turn an image (3, H, W) in [0, 1] into a picture of the given size."""
    pixels = (
        image.detach().float().clamp(0, 1).mul(255).round().byte().cpu().permute(1, 2, 0).numpy()
    )
    return _resized(pixels, size)


def heat(picture: Picture, anomaly_map: Tensor, value_range: Range | None = (0.0, 1.0)) -> Picture:
    """Lay a coloured anomaly map (H, W) over a picture.

    A fixed range gives the same colour to the same value in every image, so that normal images do not glow. With
    ``None`` each map is stretched by its own minimum and maximum.
    """
    values = _resized(
        anomaly_map.detach().float().cpu().numpy(), (picture.shape[1], picture.shape[0])
    )
    low, high = value_range or (float(values.min()), float(values.max()))
    level = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    grey = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(
        np.uint8
    )
    return _blended(level, grey)


def outline(picture: Picture, mask: Tensor) -> Picture:
    """Draw the outline of a ground-truth mask (H, W) onto a copy of a picture: white with a dark rim.

    The line runs around the defect, not over its border, so that small defects stay visible.
    """
    height, width = picture.shape[:2]
    line = max(1, round(max(width, height) / 300))
    filled = _covered(mask.cpu().numpy().astype(np.uint8), (width, height))
    around = cv2.dilate(filled, np.ones((2 * line + 7, 2 * line + 7), np.uint8)).astype(np.uint8)
    return _lined(picture, around, TRUTH, line)


def contour(picture: Picture, anomaly_map: Tensor, threshold: float) -> Picture:
    """Draw the contours of the regions of a map (H, W) from a threshold on, onto a copy of a picture."""
    height, width = picture.shape[:2]
    called = (anomaly_map.detach().float().cpu() >= threshold).byte().numpy()
    return _lined(
        picture, _covered(called, (width, height)), CALLED, max(1, round(max(width, height) / 300))
    )


def found(picture: Picture, detections: Detections, size: tuple[int, int]) -> Picture:
    """Draw the ten best of what a detector found: box and mask of each, and beside the picture score and phrase.

    Args:
        picture: The image, of any size; a copy is drawn on.
        detections: What was found.
        size: Height and width of the image that the method was given.
    """
    height, width = picture.shape[:2]
    scale = np.array([width / size[1], height / size[0]] * 2)
    best = detections.scores.argsort(descending=True, stable=True)[: len(FOUND)].tolist()
    boxes = [_inside(detections.boxes[i].numpy() * scale, (width, height)) for i in best]
    drawn, line = picture.copy(), max(1, round(max(width, height) / 500))
    for place in reversed(range(len(best))):  # the best lie on top
        if detections.masks:
            mask = rle.decode(detections.masks[best[place]]).byte().numpy()
            drawn = _lined(drawn, _covered(mask, (width, height)), FOUND[place], line)
        cv2.rectangle(drawn, boxes[place][:2], boxes[place][2:], FOUND[place], line)
    for place, corner in enumerate(_free_corners(boxes, (width, height))):
        drawn = _tagged(drawn, corner, place)
    lines = [f"{float(detections.scores[i]):.2f} {detections.phrases[i]}" for i in best]
    return _side_by_side([drawn, _legend(lines)]) if lines else drawn


def overlay(
    image: Tensor,
    anomaly_map: Tensor,
    mask: Tensor | None = None,
    *,
    size: Size | None = None,
    value_range: Range | None = (0.0, 1.0),
    caption: str = "",
    threshold: float | None = None,
    detections: Detections | None = None,
) -> Picture:
    """Draw image, ground truth, what was found and anomaly map side by side, with a colour bar and a caption.

    Args:
        image: (3, H, W) in [0, 1].
        anomaly_map: (H', W'), higher is more anomalous.
        mask: (H, W) bool; without one there is no panel of the ground truth.
        size: Of one panel; by default that of the map.
        value_range: The values at the two ends of the colours, ``None`` for the map's own.
        caption: A line below.
        threshold: Regions of the map from this value on get a contour.
        detections: What a detector found, in pixels of the map; without it there is no panel of it.
    """
    picture = to_picture(image, size or (anomaly_map.shape[1], anomaly_map.shape[0]))
    heated = heat(picture, anomaly_map, value_range)
    title = "anomaly map" if threshold is None else f"anomaly map, contours at {threshold:.3g}"
    if threshold is not None:
        heated = contour(heated, anomaly_map, threshold)
    panels = [("image", picture)]
    if mask is not None:
        heated = outline(heated, mask)
        panels.append(("ground truth", outline(picture, mask)))
    if detections is not None:
        size_seen = (anomaly_map.shape[0], anomaly_map.shape[1])
        panels.append((_count(len(detections)), found(picture, detections, size_seen)))
    panels.append((title, heated))
    low, high = value_range or (float(anomaly_map.min()), float(anomaly_map.max()))
    bar = _colour_bar(picture.shape[0], f"{low:.2g}", f"{high:.2g}")
    cells = [*(_titled(title, panel) for title, panel in panels), _titled("", bar)]
    return _framed(_side_by_side(cells), below=caption)


def panels(titled: Sequence[tuple[str, Picture]], caption: str = "") -> Picture:
    """Draw pictures side by side, each below its title, and a caption below all."""
    return _framed(
        _side_by_side([_titled(title, picture) for title, picture in titled]), below=caption
    )


def contact_sheet(title: str, rows: Sequence[tuple[str, Sequence[Thumbnail]]]) -> Picture:
    """Draw rows of thumbnails, each row under its heading; empty rows are left out."""
    strips = [
        _titled(heading, _side_by_side([_captioned(t) for t in row]))
        for heading, row in rows
        if row
    ]
    return _framed(_stacked(strips, gap=MARGIN_PX), above=title)


def fit(size: Size, longest: int) -> Size:
    """Scale a size so that its longer side is ``longest``."""
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _inside(box: NDArray[np.floating], size: Size) -> tuple[int, int, int, int]:
    """Return a box in whole pixels, cut at the border of the picture."""
    x0, y0, x1, y1 = np.clip(np.round(box), 0, [*size, *size]).astype(int).tolist()
    return x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)


def _free_corners(boxes: Sequence[tuple[int, int, int, int]], size: Size) -> list[tuple[int, int]]:
    """Return where the number of each box goes: into its corner, or to the right of those that are there already."""
    taken: list[tuple[int, int]] = []
    for left, top, _, _ in boxes:
        x, y = min(left, size[0] - TAG_PX), max(0, min(top, size[1] - TAG_PX))
        steps = ((x + TAG_PX * step, y) for step in range(len(boxes)))
        free = (
            at
            for at in steps
            if all(max(abs(at[0] - u), abs(at[1] - v)) >= TAG_PX for u, v in taken)
        )
        taken.append(next(free, (x, y)))
    return taken


def _tagged(picture: Picture, corner: tuple[int, int], place: int) -> Picture:
    """Write a number, counted from 1, onto its colour."""
    left, top = corner
    picture = picture.copy()
    picture[top : top + TAG_PX, left : left + TAG_PX] = FOUND[place]
    text = str(place + 1)
    return _written(
        picture, [((left + round((TAG_PX - _font().getlength(text)) / 2), top), text)], BACKGROUND
    )


def _legend(lines: Sequence[str]) -> Picture:
    """Say what each number in a picture stands for, in its colour."""
    canvas = np.full((LINE_PX * len(lines), LEGEND_PX, 3), BACKGROUND, np.uint8)
    for place, line in enumerate(lines):
        canvas = _tagged(canvas, (0, LINE_PX * place), place)
        canvas = _written(canvas, [((22, LINE_PX * place - 1), _shortened(line, LEGEND_PX - 22))])
    return canvas


def _count(number: int) -> str:
    if number <= len(FOUND):
        return f"found: {number or 'nothing'}"
    return f"found: {number}, the best {len(FOUND)}"


def _blended(level: NDArray[np.floating], grey: Picture) -> Picture:
    """Lay the colours of levels in [0, 1] over a grey picture; the higher, the more opaque."""
    colours = cv2.applyColorMap(np.round(level * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[
        ..., ::-1
    ]
    opacity = (OPACITY[0] + (OPACITY[1] - OPACITY[0]) * level)[..., None]
    return np.round(opacity * colours + (1 - opacity) * grey).astype(np.uint8)


def _lined(
    picture: Picture, mask: NDArray[np.uint8], colour: tuple[int, int, int], line: int
) -> Picture:
    """Draw the contours of a mask of the picture's size, with a dark rim."""
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = picture.copy()
    cv2.drawContours(drawn, contours, -1, (0, 0, 0), line + 2, cv2.LINE_AA)
    cv2.drawContours(drawn, contours, -1, colour, line, cv2.LINE_AA)
    return drawn


def _covered(mask: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize a mask so that every defect leaves at least one pixel."""
    if size[0] < mask.shape[1]:
        return (cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0).astype(
            np.uint8
        )
    return cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def _resized(pixels: NDArray, size: Size) -> NDArray:
    """Resize; averaging when it gets smaller, which linear interpolation would alias."""
    smaller = size[0] < pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _colour_bar(height: int, low: str, high: str) -> Picture:
    """Draw the colours from the highest value down to the lowest, as the maps show them over mid grey."""
    level = np.repeat(np.linspace(1, 0, height)[:, None], 12, axis=1)
    grey = np.full((height, 12, 3), 128, np.uint8)
    width = 18 + math.ceil(max(_font().getlength(text) for text in (low, high)))
    canvas = np.full((height, width, 3), BACKGROUND, np.uint8)
    canvas[:, :12] = _blended(level, grey)
    return _written(canvas, [((16, 0), high), ((16, height - TEXT_PX - 4), low)])


def _captioned(thumbnail: Thumbnail) -> Picture:
    stack = _stacked(thumbnail.pictures, gap=2)
    colour = DEFECTIVE if thumbnail.is_anomalous else GOOD
    strip = np.full((LINE_PX, stack.shape[1], 3), BACKGROUND, np.uint8)
    return np.vstack(
        (stack, _written(strip, [((0, 2), _shortened(thumbnail.caption, stack.shape[1]))], colour))
    )


def _titled(title: str, picture: Picture) -> Picture:
    """Put a line above a picture, which becomes wider where the line needs it."""
    width = max(picture.shape[1], math.ceil(_font().getlength(title)))
    strip = np.full((LINE_PX, width, 3), BACKGROUND, np.uint8)
    return np.vstack(
        (_written(strip, [((0, 0), title)]), _padded(picture, picture.shape[0], width))
    )


def _framed(picture: Picture, above: str = "", below: str = "") -> Picture:
    """Give a picture a margin, and a line above or below."""
    width = max(picture.shape[1], *(math.ceil(_font().getlength(text)) for text in (above, below)))
    parts = [_padded(picture, picture.shape[0], width)]
    blank = np.full((LINE_PX, width, 3), BACKGROUND, np.uint8)
    if above:
        parts.insert(0, _padded(_written(blank, [((0, 0), above)]), LINE_PX + 4, width))
    if below:
        parts.append(_written(blank, [((0, 4), below)]))
    edge = ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX), (0, 0))
    return np.pad(np.vstack(parts), edge, constant_values=255)


def _side_by_side(pictures: Sequence[Picture]) -> Picture:
    height = max(picture.shape[0] for picture in pictures)
    padded = [_padded(picture, height, picture.shape[1] + MARGIN_PX) for picture in pictures]
    return np.hstack(padded)[:, :-MARGIN_PX]


def _stacked(pictures: Sequence[Picture], gap: int) -> Picture:
    width = max(picture.shape[1] for picture in pictures)
    padded = [_padded(picture, picture.shape[0] + gap, width) for picture in pictures]
    return np.vstack(padded)[:-gap]


def _padded(picture: Picture, height: int, width: int) -> Picture:
    """Extend a picture to the right and downwards."""
    canvas = np.full((height, width, 3), BACKGROUND, np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    return canvas


def _written(
    picture: Picture,
    lines: Sequence[tuple[tuple[int, int], str]],
    colour: tuple[int, int, int] = INK,
) -> Picture:
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    for position, text in lines:
        draw.text(position, text, fill=colour, font=_font())
    return np.array(canvas)


def _shortened(text: str, width_px: int) -> str:
    """Cut a text to a width, with an ellipsis where something is missing."""
    if _font().getlength(text) <= width_px:
        return text
    kept = next(
        (n for n in range(len(text), 0, -1) if _font().getlength(text[:n] + "…") <= width_px), 0
    )
    return text[:kept] + "…"


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_PX)
