"""Names of the files that are drawn of images."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path


class ImageFileNames:
    """Names PNG files after their images, so that no two images share a file.

    The first choice is the name of the image. If another image has it, the folder of the image
    joins the name; if that is taken too, a number does.
    """

    def __init__(self) -> None:
        self._sources: dict[Path, str] = {}

    @property
    def files(self) -> dict[str, Path]:
        """Path of each image → its file."""
        return {source: file for file, source in self._sources.items()}

    def name(self, folder: Path, source: str) -> Path:
        """Return the file of an image in a folder; the same file if asked again."""
        image = Path(source)
        stem = image.stem
        file = folder / f"{stem}.png"
        if self._is_taken(file, source):
            file = folder / f"{image.parent.name}_{stem}.png"
        numbers = count(2)
        while self._is_taken(file, source):
            file = folder / f"{stem}_{next(numbers)}.png"
        self._sources[file] = source
        return file

    def _is_taken(self, file: Path, source: str) -> bool:
        return self._sources.get(file, source) != source


def folder_name(name: str) -> str:
    """Turn a name from an index into a name that stays inside its folder."""
    safe = re.sub(r"[^\w\-. ]", "_", name)
    return safe.lstrip(".") or "_"
