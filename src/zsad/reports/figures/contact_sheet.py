"""Contact sheets: rows of thumbnails on one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsad.reports.figures.layout import (
    LINE_PX,
    MARGIN_PX,
    add_frame,
    add_title,
    blank,
    shorten,
    side_by_side,
    stack,
    write_texts,
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


def draw_contact_sheet(title: str, rows: Sequence[tuple[str, Sequence[Thumbnail]]]) -> RGBArray:
    """Draw rows of thumbnails, each row under its heading; empty rows are left out."""
    strips = []
    for heading, thumbnails in rows:
        if thumbnails:
            row = side_by_side([_add_caption(thumbnail) for thumbnail in thumbnails])
            strips.append(add_title(heading, row))
    return add_frame(stack(strips, gap=MARGIN_PX), above=title)


def _add_caption(thumbnail: Thumbnail) -> RGBArray:
    images = stack(thumbnail.images, gap=2)
    width = images.shape[1]
    colour = DEFECTIVE_COLOUR if thumbnail.is_anomalous else GOOD_COLOUR
    caption = shorten(thumbnail.caption, width)
    strip = write_texts(blank(LINE_PX, width), [((0, 2), caption)], colour)
    return np.vstack((images, strip))
