"""Whether an image file is sound as far as its first and its last bytes tell, and how large its image is.

Indexes list 150,000 files and more. Pillow takes apart every segment of a header; here only what says size, orientation
and end is read, and whatever is not plain is left to Pillow.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image

from zsad.data.images import UnreadableImageError, load_image, upright_size

HEAD = 4096  # bytes that hold the size in nearly every file
TAIL = 12
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB\x60\x82"
_JPEG_END = b"\xff\xd9"
_NO_SIZE = (0xC4, 0xC8, 0xCC)  # JPEG segments among those of the frame that are none


def read_image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) as ``load_image`` will give it; a file without a proper end is decoded to see.

    Raises:
        UnreadableImageError: Truncated, damaged, or no image.
        FileNotFoundError: No such file.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(HEAD)
        if len(head) == HEAD:
            file.seek(-TAIL, 2)
            tail = file.read()
        else:
            tail = head[-TAIL:]
    is_whole = tail == _PNG_END if head.startswith(_PNG) else tail.rstrip(b"\0").endswith(_JPEG_END)
    if is_whole:
        size = _png_size(head) if head.startswith(_PNG) else _jpeg_size(head)
        return size or upright_size(path)
    if head.startswith((_PNG, _JPEG)):
        _require_pixels(path)
    return upright_size(path)


def _require_pixels(path: Path) -> None:
    """Decode an image whose end is not where it should be: cut short, or followed by something else."""
    try:
        load_image(path)
    except UnreadableImageError:
        raise
    except ValueError:
        return  # its kind of pixels is not for here


def _png_size(head: bytes) -> tuple[int, int] | None:
    """Return the size in a PNG's header; ``None`` where it is damaged, or an orientation may follow."""
    if head[8:16] != b"\x00\x00\x00\rIHDR" or zlib.crc32(head[12:29]) != int.from_bytes(
        head[29:33], "big"
    ):
        return None
    at = 33
    while at + 8 <= len(head):
        length, kind = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        if kind == b"IDAT":
            return _plausible(*struct.unpack(">II", head[16:24]))
        if kind == b"eXIf":
            return None
        at += 12 + length
    return None


def _plausible(width: int, height: int) -> tuple[int, int] | None:
    """Return a size that needs no word of Pillow, which has one about images without pixels and of too many."""
    return (width, height) if 0 < width * height <= (Image.MAX_IMAGE_PIXELS or 0) else None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Return the size in a JPEG's frame; ``None`` where an orientation comes first, or something unusual."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        kind = head[at + 1]
        if 0xC0 <= kind <= 0xCF and kind not in _NO_SIZE:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return _plausible(width, height)
        if kind == 0xE1 or not 0xC0 <= kind <= 0xFE:  # EXIF or XMP; no segment
            return None
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None
