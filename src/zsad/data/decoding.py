"""Decode image files of any mode, recognised by their content and turned upright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
SIXTEEN_TO_EIGHT = 257  # 65535 / 255
# Other formats are refused, whatever the name of a file: Pillow would hand an EPS to Ghostscript.
# JPEG covers MPO.
_PIL_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
# Exceptions of Pillow on broken files.
_DECODE_ERRORS = (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError)
_ORIENTATION = 0x0112  # EXIF
_SIDEWAYS = (5, 6, 7, 8)
_RESIZED_AS_STORED = frozenset({"RGB", "L", "RGBA"})


class UnreadableImageError(ValueError):
    """An existing file that cannot be decoded."""


def load_image(path: Path, decode_px: int | None = None) -> Image.Image:
    """Open an image by its content and return its first frame, upright, as 8-bit RGB, L or RGBA.

    The published code ignores EXIF and shows a turned photograph as stored; here we knowingly
    differ.

    Args:
        path: The file.
        decode_px: Both sides need no more pixels than these. A larger JPEG may be decoded to a
            half, a quarter or an eighth, the smallest that is still as large: several times as
            fast, with slightly different pixels.

    Raises:
        UnreadableImageError: Truncated, damaged, or no image.
        ValueError: Floating-point pixels, whose range has no agreed meaning.
        FileNotFoundError: No such file.
    """
    image = decode_image(path, decode_px)
    if image.mode == "F":
        raise ValueError(
            f"{path} has floating-point pixels of unknown range: save it with 8 or 16 bits"
        )
    return to_eight_bits(image)


def decode_image(path: Path, decode_px: int | None = None) -> Image.Image:
    """Return the first frame of an image, upright, in its stored mode; see ``load_image``."""
    with open_image(path) as image:
        if decode_px is not None:
            image.draft(None, (decode_px, decode_px))  # JPEG alone; other formats ignore it
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return image


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB, L or RGBA, the three modes that Pillow resizes as they are.

    Palettes and CMYK become colours, 1 bit black and white, grey with alpha RGBA; 16 bits are
    scaled from their full range. Here we knowingly differ from the published code, which resizes
    palettes and 1 bit by nearest neighbour and clips 16 bits at 255. RGB, L and RGBA pass
    unchanged, exactly as published.
    """
    if image.mode in _RESIZED_AS_STORED:
        return image
    if image.mode in SIXTEEN_BIT_MODES:
        values = np.asarray(image).astype(np.float64) / SIXTEEN_TO_EIGHT
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
