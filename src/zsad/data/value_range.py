"""Value range of images with more than 8 bits: found over all images of a set, not image by image.

Cameras write 10, 12 or 14 bits into 16-bit files that do not say so, scanners signed numbers,
programs 32-bit integers and floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsad.data.decoding import UnreadableImageError, decode_image, deep_values, open_image

ValueRange = tuple[float, float]
"""Values that are shown as black and as white."""

_READERS = 8  # threads: Pillow decodes outside of Python's lock
_BITS = (8, 10, 12, 14, 16)  # of cameras and their files
_SIXTEEN_BITS = (0.0, 65535.0)
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH_AT = 24
_HEAD = 26  # bytes


@dataclass(frozen=True)
class StoredValues:
    """Values of images with more than 8 bits.

    Attributes:
        files: The images.
        low: Their smallest value.
        high: Their largest value.
        is_float: Some have floating-point pixels.
    """

    files: tuple[Path, ...]
    low: float
    high: float
    is_float: bool

    @property
    def range(self) -> ValueRange:
        """The range that the values use.

        Whole numbers from 0 on use 8, 10, 12, 14, 16 or more bits, floats between 0 and 1 all of
        these, and all others the range between their smallest and their largest.
        """
        if self.is_float and self.low >= 0 and self.high <= 1:
            return 0.0, 1.0
        if self.is_float or self.low < 0:
            return self.low, self.high if self.high > self.low else self.low + 1
        for bits in (*_BITS, int(self.high).bit_length()):
            if self.high < 2**bits:
                return 0.0, float(2**bits - 1)
        raise AssertionError(self.high)

    @property
    def is_usual(self) -> bool:
        """The values use all 16 bits: they are shown as ever, without a range."""
        return self.range == _SIXTEEN_BITS

    def describe(self) -> str:
        """Return how many images there are, their values, and the range shown."""
        count = "1 image has" if len(self.files) == 1 else f"{len(self.files)} images have"
        low, high = self.range
        return (
            f"{count} more than 8 bits a pixel, such as {self.files[0]}, with values from "
            f"{self.low:.6g} to {self.high:.6g}: {low:.6g} is shown black, {high:.6g} white"
        )


def read_stored_values(path: Path) -> StoredValues | None:
    """Return the values of an image, ``None`` where it has 8 bits or fewer.

    Raises:
        UnreadableImageError: Truncated, damaged, or no image.
        ValueError: NaN or infinite pixels.
    """
    if not _may_be_deep(path):
        return None
    with open_image(path) as image:
        if deep_values(image, only_mode=True) is None:
            return None
    values = deep_values(decode_image(path))
    if values is None:
        return None
    low = float(values.min())
    high = float(values.max())
    if not np.isfinite((low, high)).all():
        raise ValueError(f"{path} has pixels that are no finite numbers (NaN or infinite)")
    return StoredValues((path,), low, high, np.issubdtype(values.dtype, np.floating))


def join_stored_values(parts: Iterable[StoredValues | None]) -> StoredValues | None:
    """Return the values of several images together; ``None`` where all have 8 bits."""
    deep = [part for part in parts if part is not None]
    if not deep:
        return None
    files: list[Path] = []
    for part in deep:
        files += part.files
    low = min(part.low for part in deep)
    high = max(part.high for part in deep)
    return StoredValues(tuple(files), low, high, any(part.is_float for part in deep))


def find_stored_values(paths: Sequence[Path]) -> StoredValues | None:
    """Return the values of all images with more than 8 bits.

    Images that cannot be read are left out: they are refused where they are shown.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        return join_stored_values(pool.map(_read_if_sound, paths))


def check_value_range(value_range: Sequence[int | float]) -> ValueRange:
    """Return a range that a user has given.

    Raises:
        ValueError: It is not two finite numbers, the smaller first.
    """
    values = list(value_range) if isinstance(value_range, Sequence) else [value_range]
    is_sound = len(values) == 2 and all(type(value) in (int, float) for value in values)
    if not is_sound or not np.isfinite(values).all() or values[0] >= values[1]:
        raise ValueError(
            f"dataset.value_range={values}: expected two numbers, black and white, the smaller "
            "first: dataset.value_range=[0,4095]"
        )
    low, high = values
    return float(low), float(high)


def _read_if_sound(path: Path) -> StoredValues | None:
    try:
        return read_stored_values(path)
    except (UnreadableImageError, FileNotFoundError, ValueError):
        return None


def _may_be_deep(path: Path) -> bool:
    """Return whether an image may have more than 8 bits, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_JPEG):
        return False
    if head.startswith(_PNG) and len(head) == _HEAD:
        return head[_PNG_DEPTH_AT] == 16
    return True
