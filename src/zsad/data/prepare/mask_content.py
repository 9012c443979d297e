"""Tell a mask from a photograph by its pixels: few values, mostly one of them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path

import numpy as np
from PIL import Image

from zsad.data.decoding import UnreadableImageError, decode_image

READERS = 8  # threads: Pillow decodes outside of Python's lock
LEVELS = 4  # grey levels that a mask has at most, but for the soft edges between them
SPREAD = 8  # by which JPEG moves a level
MASK_SHARE = 0.97  # of the pixels near one of the levels; a mask has more
PHOTO_SHARE = 0.8  # a photograph has less
MOST_COMMON_SHARE = 0.4  # of the pixels near the most common level; a mask has more
PHOTO_MOST_COMMON_SHARE = 0.5  # a photograph has less, but before a plain background
_SIDE = 512  # pixels of the longer side that are looked at


class Content(Enum):
    """Kind of an image file, as its pixels tell."""

    MASK = "mask"
    PHOTOGRAPH = "photograph"
    UNCLEAR = "unclear"


def contents(paths: Iterable[Path]) -> list[Content]:
    """Return the kind of each file; a file that cannot be read is taken for what its name says."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(content_of, paths))


def content_of(path: Path) -> Content:
    """Return the kind of a file: a mask where it cannot be read, so that its name counts."""
    try:
        image = decode_image(path)
    except (UnreadableImageError, FileNotFoundError):
        return Content.MASK
    counts = _grey_histogram(image)
    most_common, covered = _share_near_levels(counts)
    if covered >= MASK_SHARE and most_common >= MOST_COMMON_SHARE:
        return Content.MASK
    is_photograph = covered < PHOTO_SHARE and most_common < PHOTO_MOST_COMMON_SHARE
    return Content.PHOTOGRAPH if is_photograph else Content.UNCLEAR


def _grey_histogram(image: Image.Image) -> np.ndarray:
    """Return the counts of 256 levels; 16-bit and float values are scaled by their range."""
    stride = max(1, max(image.size) // _SIDE)
    if image.mode in ("1", "P", "LA", "PA", "RGBA"):
        image = image.convert("RGB")
    values = np.asarray(image)[::stride, ::stride]
    if values.ndim == 3:
        values = values[:, :, :3].max(axis=2)
    if values.dtype != np.uint8:
        lowest = float(values.min())
        span = max(float(values.max()) - lowest, 1.0)
        values = ((values - lowest) * (255 / span)).astype(np.uint8)
    return np.bincount(values.ravel(), minlength=256)


def _share_near_levels(counts: np.ndarray) -> tuple[float, float]:
    """Return the share of pixels near the most common level, and near the ``LEVELS`` commonest."""
    remaining = counts.astype(np.float64)
    total = remaining.sum()
    shares: list[float] = []
    for _ in range(LEVELS):
        level = int(remaining.argmax())
        near = slice(max(0, level - SPREAD), level + SPREAD + 1)
        shares.append(float(remaining[near].sum() / total))
        remaining[near] = 0
    return shares[0], sum(shares)
