"""Miniature downloads, written anew from a list of their files.

``tests/golden/layouts/NAME.json`` lists the content of a fabricated download: ``pictures`` (kind →
folder → names, where a kind is format, mode, size and, for masks, the value of their defects),
``texts`` and ``samples`` ([category, split, label, defect, [[image, mask, ...], ...]], as a correct
reader finds them). The names, colour modes and encodings are those of the public downloads; the
pixels are not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

GOLDEN = Path(__file__).parents[1] / "golden" / "layouts"
# (image, masks, category, phase, label, defect) of every sample, sorted.
Facts = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Download:
    """One fabricated download: its name, the row that reads it, its files and its samples."""

    name: str
    layout: str
    tree: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def facts(self) -> Facts:
        """The samples that a correct reader finds; without a split, everything is for testing."""
        rows = [
            (image, tuple(masks), category, split or "test", label, defect or "")
            for category, split, label, defect, samples in self.tree["samples"]
            for image, *masks in samples
        ]
        return sorted(rows)

    @property
    def images(self) -> list[str]:
        """Every image, sample or not."""
        return [path for path, _ in self._images()]

    def write(self, root: Path) -> Path:
        """Write all files below a root."""
        for path, kind in self._images():
            _paint(_made(root / path), *kind.split(" "))
        for path, text in self.tree["texts"].items():
            _made(root / path).write_bytes(text.encode())
        return root

    def _images(self) -> list[tuple[str, str]]:
        return [
            (f"{folder}/{name}".lstrip("/"), kind)
            for kind, folders in self.tree["pictures"].items()
            for folder, names in folders.items()
            for name in names
        ]


def downloads() -> list[Download]:
    """Return every fabricated download; seeds that differ in names are separate downloads."""
    found = []
    for path in sorted(GOLDEN.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found += [Download(path.stem, content["layout"], tree) for tree in content["trees"]]
    return found


def download(name: str) -> Download:
    """Return the first fabricated download of a name."""
    return next(each for each in downloads() if each.name == name)


def index_facts(index: Path) -> Facts:
    """Return what an index says, in the form of ``Download.facts``."""
    phases = json.loads(index.read_text(encoding="utf-8"))
    rows = [
        (entry["img_path"], _masks(entry), category, phase, entry["anomaly"], entry["specie_name"])
        for phase, part in phases.items()
        for category, entries in part.items()
        for entry in entries
    ]
    return sorted(rows)


def _masks(entry: dict[str, Any]) -> tuple[str, ...]:
    masks = entry["mask_path"]
    return tuple(masks) if isinstance(masks, list) else (masks,) if masks else ()


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _paint(path: Path, file_format: str, mode: str, size: str, value: str = "") -> None:
    """Write a plain image; of a mask the left upper quarter has the value."""
    width, height = (int(side) for side in size.split("x"))
    image = Image.new(mode, (width, height))
    if value:
        quarter = (width // 2, height // 2)
        image.paste(Image.new("L", quarter, int(value)).convert(mode), (0, 0))
    image.save(path, format=file_format)
