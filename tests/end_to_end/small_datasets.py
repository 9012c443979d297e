"""Small datasets that end-to-end tests write: images, masks and an index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 48


def write_image(path: Path, size: tuple[int, int], seed: int) -> Path:
    """An image of grey and coloured noise, height and width in pixels."""
    pixels = np.random.default_rng(seed).integers(60, 200, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_tiles(
    folder: Path,
    sizes: Sequence[tuple[int, int]],
    defective: Sequence[int],
    categories: Sequence[str],
    defect: str = "",
) -> list[str]:
    """Flat grey tiles, some with a black square, their masks and ``index.json``, all for testing.

    Args:
        folder: Where they are written.
        sizes: Height and width of each tile in pixels, at least 32.
        defective: Numbers of the tiles with a square.
        categories: The category of each tile.
        defect: The kind of the defects.

    Returns:
        The arguments that choose this dataset.
    """
    random = np.random.default_rng(0)
    index: dict[str, list] = {category: [] for category in categories}
    for number, (size, category) in enumerate(zip(sizes, categories, strict=True)):
        label = int(number in defective)
        pixels = random.integers(90, 110, (*size, 3), dtype=np.uint8)
        mask = np.zeros(size, dtype=np.uint8)
        if label:
            mask[16:32, 16:32] = 255
            pixels[16:32, 16:32] = 0
        Image.fromarray(pixels).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"{number}_mask.png")
        index[category].append(
            {
                "img_path": f"{number}.png",
                "mask_path": f"{number}_mask.png" if label else "",
                "cls_name": category,
                "specie_name": defect if label else "",
                "anomaly": label,
            }
        )
    (folder / "index.json").write_text(json.dumps({"train": {}, "test": index}))
    return [f"dataset.index={folder}/index.json", f"dataset.root={folder}"]


def write_dataset(place: Path, name: str, seed: int) -> None:
    """Two categories of grey noise, some of it with a white square, and the index."""
    noise = np.random.default_rng(seed)
    index: dict[str, list] = {}
    for category in ("nut", "bolt"):
        entries = index.setdefault(category, [])
        (place / name / category).mkdir(parents=True, exist_ok=True)
        for number in range(4):
            label = number % 2
            pixels = noise.integers(60, 190, (SIZE, SIZE, 3), dtype=np.uint8)
            mask = np.zeros((SIZE, SIZE), np.uint8)
            if label:
                mask[10:25, 20:35] = 255
                pixels[mask > 0] = 255
            image = f"{category}/{number}.png"
            truth = f"{category}/{number}_mask.png"
            Image.fromarray(pixels).save(place / name / image)
            Image.fromarray(mask).save(place / name / truth)
            entries.append(
                {
                    "img_path": image,
                    "mask_path": truth if label else "",
                    "cls_name": category,
                    "specie_name": "square" if label else "good",
                    "anomaly": label,
                }
            )
    (place / "data_json").mkdir(exist_ok=True)
    (place / "data_json" / f"{name}.json").write_text(json.dumps({"train": {}, "test": index}))
