"""Contact sheets: rows of thumbnails on one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsad.reports.figures.layout import (
    MARGIN_PX,
    add_frame,
    add_title,
    shorten,
    side_by_side,
    stack,
    text_line,
)
from zsad.reports.figures.rgb_arrays import RGBArray

GOOD_COLOUR = (38, 139, 80)
DEFECTIVE_COLOUR = (196, 52, 45)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """Small images above each other, with a caption below: one image of a contact sheet."""

    images: tuple[RGBArray, ...]
    caption: str
    is_anomalous: bool


Row = tuple[str, Sequence[Thumbnail]]  # heading, thumbnails


def draw_contact_sheet(title: str, rows: Sequence[Row]) -> RGBArray:
    """Draw rows of thumbnails, each row under its heading; empty rows are left out."""
    strips = []
    for heading, thumbnails in rows:
        if not thumbnails:
            continue
        images = [_add_caption(thumbnail) for thumbnail in thumbnails]
        row = side_by_side(images)
        strips.append(add_title(heading, row))
    sheet = stack(strips, gap=MARGIN_PX)
    return add_frame(sheet, above=title)


def _add_caption(thumbnail: Thumbnail) -> RGBArray:
    images = stack(thumbnail.images, gap=2)
    width = images.shape[1]
    caption = shorten(thumbnail.caption, width)
    colour = DEFECTIVE_COLOUR if thumbnail.is_anomalous else GOOD_COLOUR
    line = text_line(caption, width, top=2, colour=colour)
    return np.vstack((images, line))
