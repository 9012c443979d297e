"""Decode image files of any mode, recognised by their content and turned upright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
SIXTEEN_TO_EIGHT = 257  # 65535 / 255
# Other formats are refused, whatever the name of a file: Pillow would hand an EPS to Ghostscript.
# JPEG covers MPO.
_PIL_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
# Exceptions of Pillow on broken files.
_DECODE_ERRORS = (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError)
_ORIENTATION = 0x0112  # EXIF
_BITS_PER_SAMPLE = 258  # TIFF
_SAMPLE_FORMAT = 339  # TIFF
_SIXTEEN_BIT_MAX = 65535
_SIDEWAYS = (5, 6, 7, 8)
_RESIZED_AS_STORED = frozenset({"RGB", "L", "RGBA"})


class UnreadableImageError(ValueError):
    """An existing file that cannot be decoded."""


def load_image(
    path: Path, decode_px: int | None = None, value_range: tuple[float, float] | None = None
) -> Image.Image:
    """Open an image by its content and return its first frame, upright, as 8-bit RGB, L or RGBA.

    The published code ignores EXIF and shows a turned photograph as stored; here we knowingly
    differ.

    Args:
        path: The file.
        decode_px: Both sides need no more pixels than these. A larger JPEG may be decoded to a
            half, a quarter or an eighth, the smallest that is still as large: several times as
            fast, with slightly different pixels.
        value_range: Values shown as black and as white in an image of more than 8 bits; ``None``
            for 0 and 65535.

    Raises:
        UnreadableImageError: Truncated, damaged, or no image.
        ValueError: Without a range: floating-point pixels, whose range has no agreed meaning, or
            whole numbers that 16 bits do not hold.
        FileNotFoundError: No such file.
    """
    image = decode_image(path, decode_px)
    if value_range is None:
        _require_sixteen_bits(path, image)
    return to_eight_bits(image, value_range)


def deep_values(image: Image.Image, only_mode: bool = False) -> NDArray[Any] | None:
    """Return (h, w), the stored values of an image with more than 8 bits; ``None`` for others.

    Args:
        image: Decoded, or opened where ``only_mode`` is true.
        only_mode: Look at the mode alone; the values are those of an empty image then.
    """
    if image.mode != "F" and image.mode not in SIXTEEN_BIT_MODES:
        return None
    if only_mode:
        return np.empty((0, 0))
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", None)
    if tags is not None and image.mode == "I":
        is_unsigned = tags.get(_SAMPLE_FORMAT, (1,)) in (1, (1,))
        if is_unsigned and tags.get(_BITS_PER_SAMPLE) in (32, (32,)):
            return values.view(np.uint32)  # Pillow has no such mode, and reads them as signed
    return values


def _require_sixteen_bits(path: Path, image: Image.Image) -> None:
    values = deep_values(image)
    if values is None:
        return
    hint = (
        "prepare its dataset again, or give the values of black and white: "
        "dataset.value_range=[0,4095]"
    )
    if image.mode == "F":
        raise ValueError(f"{path} has floating-point pixels of unknown range: {hint}")
    low = int(values.min())
    high = int(values.max())
    if low < 0 or high > _SIXTEEN_BIT_MAX:
        raise ValueError(f"{path} has values from {low} to {high}, beyond 16 bits: {hint}")


def decode_image(path: Path, decode_px: int | None = None) -> Image.Image:
    """Return the first frame of an image, upright, in its stored mode; see ``load_image``."""
    with open_image(path) as image:
        if decode_px is not None:
            image.draft(None, (decode_px, decode_px))  # JPEG alone; other formats ignore it
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return image


def to_eight_bits(
    image: Image.Image, value_range: tuple[float, float] | None = None
) -> Image.Image:
    """Convert any mode to RGB, L or RGBA, the three modes that Pillow resizes as they are.

    Palettes and CMYK become colours, 1 bit black and white, grey with alpha RGBA; more than 8 bits
    are scaled from their range, by default all of 16 bits. Here we knowingly differ from the
    published code, which resizes palettes and 1 bit by nearest neighbour and clips 16 bits at 255.
    RGB, L and RGBA pass unchanged, exactly as published.
    """
    if image.mode in _RESIZED_AS_STORED:
        return image
    deep = deep_values(image)
    if deep is not None:
        low, high = value_range or (0, _SIXTEEN_BIT_MAX)
        values = (deep.astype(np.float64) - low) / ((high - low) / 255)
        return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def upright_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of the image that ``load_image`` returns, from the header alone."""
    with open_image(path) as image:
        width, height = image.size
        # Pillow has turned the size of a TIFF already, unlike all others.
        if image.format == "TIFF":
            return width, height
        # The base class reads the header alone; a PNG's own method decodes the whole file in
        # search of a late EXIF block.
        orientation = Image.Image.getexif(image).get(_ORIENTATION)
        if orientation in _SIDEWAYS:
            return height, width
        return width, height


@contextmanager
def open_image(path: Path, file: BytesIO | None = None) -> Iterator[Image.Image]:
    """Open an image; errors of Pillow about the header or the pixels name the file.

    Args:
        path: The file.
        file: Its content, where it has been read before.

    Raises:
        UnreadableImageError: Truncated, damaged, or no image.
        FileNotFoundError: No such file.
    """
    try:
        # From an open file: by its name, Pillow would map a TIFF that lies on its side into
        # memory with width and height exchanged, and show it scrambled.
        stream = path.open("rb") if file is None else file
        with stream, Image.open(stream, formats=_PIL_FORMATS) as image:
            yield image
    except FileNotFoundError:
        raise
    except _DECODE_ERRORS as error:
        raise UnreadableImageError(
            f"cannot read {path} ({error}): fetch it again; zsad verify NAME lists every such file"
        ) from error
