"""PNG files with run metadata: a later run recognises and removes them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from zsad.atomic_write import write_whole
from zsad.reports.figures.rgb_arrays import RGBArray

_MARK = ("Software", "zsad")
_MARK_BYTES = b"tEXt" + "\0".join(_MARK).encode()
_HEADER_BYTES = 128  # Pillow writes the texts of a PNG before its pixels


def save_png(image: RGBArray, path: Path) -> None:
    """Write an image as PNG, whole or not at all, marked as written by this package."""
    metadata = PngInfo()
    metadata.add_text(*_MARK)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=4, pnginfo=metadata)
    write_whole(path, buffer.getvalue())


def remove_own_pngs(folder: Path) -> None:
    """Remove the files of ``save_png`` below a folder, and the folders that this empties."""
    own = [path for path in folder.rglob("*.png") if _is_marked(path)]
    parents: set[Path] = set()
    for path in own:
        path.unlink()
        parents.update(parent for parent in path.parents if folder in parent.parents)
    for parent in sorted(parents, reverse=True):  # the inner ones first
        if not any(parent.iterdir()):
            parent.rmdir()


def _is_marked(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _MARK_BYTES in file.read(_HEADER_BYTES)
