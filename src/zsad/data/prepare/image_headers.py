"""Read the size of an image file, and check that the file is sound, from its first and last bytes.

Indexes list 150,000 files and more. Pillow takes apart every segment of a header; here only size,
orientation and end are read, and whatever is not plain is left to Pillow.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image

from zsad.data.decoding import UnreadableImageError, load_image, upright_size

HEAD = 4096  # bytes that hold the size in nearly every file
TAIL = 12
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB\x60\x82"
_PNG_HEADER_START = b"\x00\x00\x00\rIHDR"  # length and kind of the first chunk
_PNG_FIRST_CHUNK_END = 33
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # JPEG segments numbered like frames, but without a size
_APP1 = 0xE1  # EXIF or XMP


def read_image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) as ``load_image`` will give it.

    A file without a proper end is decoded to see whether it is whole.

    Raises:
        UnreadableImageError: Truncated, damaged, or no image.
        FileNotFoundError: No such file.
    """
    head, tail = _read_ends(path)
    is_png = head.startswith(_PNG)
    is_whole = tail.rstrip(b"\0").endswith(_JPEG_END)
    if is_png:
        is_whole = tail == _PNG_END
    if is_whole:
        size = _png_size(head) if is_png else _jpeg_size(head)
        return size or upright_size(path)
    if head.startswith((_PNG, _JPEG)):
        _require_pixels(path)
    return upright_size(path)


def _read_ends(path: Path) -> tuple[bytes, bytes]:
    """Return the first ``HEAD`` and the last ``TAIL`` bytes of a file, or fewer."""
    with path.open("rb", buffering=0) as file:
        head = file.read(HEAD)
        if len(head) < HEAD:
            return head, head[-TAIL:]
        file.seek(-TAIL, 2)
        return head, file.read()


def _require_pixels(path: Path) -> None:
    """Decode an image that ends where it should not: it is cut short, or something follows it."""
    try:
        load_image(path)
    except UnreadableImageError:
        raise
    except ValueError:
        return  # its kind of pixels is checked elsewhere


def _png_size(head: bytes) -> tuple[int, int] | None:
    """Return the size in a PNG's header.

    ``None`` where the header is damaged, or an orientation may follow.
    """
    checksum = int.from_bytes(head[29:33], "big")
    is_sound = zlib.crc32(head[12:29]) == checksum
    if head[8:16] != _PNG_HEADER_START or not is_sound:
        return None
    at = _PNG_FIRST_CHUNK_END
    while at + 8 <= len(head):
        length = int.from_bytes(head[at : at + 4], "big")
        kind = head[at + 4 : at + 8]
        if kind == b"IDAT":
            width, height = struct.unpack(">II", head[16:24])
            return _plausible(width, height)
        if kind == b"eXIf":
            return None
        at += 12 + length
    return None


def _plausible(width: int, height: int) -> tuple[int, int] | None:
    """Return a usual size; Pillow has its own words about images of no pixels or too many."""
    most = Image.MAX_IMAGE_PIXELS or 0
    return (width, height) if 0 < width * height <= most else None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Return the size in a JPEG's frame.

    ``None`` where an orientation comes first, or something unusual.
    """
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        kind = head[at + 1]
        is_frame = 0xC0 <= kind <= 0xCF and kind not in _NO_FRAME
        if is_frame:
            size = head[at + 5 : at + 9]
            height, width = struct.unpack(">HH", size)
            return _plausible(width, height)
        is_segment = 0xC0 <= kind <= 0xFE
        if kind == _APP1 or not is_segment:
            return None
        length = int.from_bytes(head[at + 2 : at + 4], "big")
        at += 2 + length
    return None
