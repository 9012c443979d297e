"""Picture files that a later run knows as its own."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from zsad.atomic_write import write_whole
from zsad.reports.figures.overlays import Picture

_MARK = ("Software", "zsad")
_MARK_BYTES = b"tEXt" + "\0".join(_MARK).encode()
_HEADER_BYTES = 128  # Pillow writes the texts of a PNG before its pixels


def save_picture(picture: Picture, path: Path) -> None:
    """Write a picture as PNG, whole or not at all, marked as written by this package."""
    buffer, texts = io.BytesIO(), PngInfo()
    texts.add_text(*_MARK)
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=4, pnginfo=texts)
    write_whole(path, buffer.getvalue())


def remove_pictures(folder: Path) -> None:
    """Remove what ``save_picture`` wrote below a folder, and the folders that this empties; nothing else."""
    own = [path for path in folder.rglob("*.png") if _is_marked(path)]
    for path in own:
        path.unlink()
    left = {parent for path in own for parent in path.parents if folder in parent.parents}
    for parent in sorted(left, reverse=True):  # the inner ones first
        if not any(parent.iterdir()):
            parent.rmdir()


def _is_marked(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _MARK_BYTES in file.read(_HEADER_BYTES)
