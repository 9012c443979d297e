"""Small trees in the layout of public downloads, with generated images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Save = Callable[..., Path]


def _save(
    path: Path, size: tuple[int, int] = (24, 16), value: int | None = None, mode: str = "RGB"
) -> Path:
    """Write an image: noise, or one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(path)))
    pixels = (
        rng.integers(0, 256, (size[1], size[0], 3))
        if value is None
        else np.full((size[1], size[0], 3), value)
    )
    image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
    image.save(path, format=Image.registered_extensions()[path.suffix.lower()])
    return path


def _save_mask(path: Path, size: tuple[int, int] = (24, 16), value: int = 255) -> Path:
    """Write a mask whose left upper quarter is defective."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0]), dtype=np.uint8)
    pixels[: size[1] // 2, : size[0] // 2] = value
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def save() -> Save:
    return _save


@pytest.fixture
def save_mask() -> Save:
    return _save_mask


@pytest.fixture
def mvtec_tree(tmp_path: Path) -> Path:
    """Two categories; each: 2 train, 2 good, 2 cracks with masks."""
    root = tmp_path / "mvtec"
    for category in ("tile", "metal_nut"):
        for i in range(2):
            _save(root / category / "train/good" / f"{i:03d}.png")
            _save(root / category / "test/good" / f"{i:03d}.png")
            _save(root / category / "test/crack" / f"{i:03d}.png")
            _save_mask(root / category / "ground_truth/crack" / f"{i:03d}_mask.png")
    return root


@pytest.fixture
def visa_tree(tmp_path: Path) -> Path:
    """One category with upper-case extensions, class-number masks and CRLF tables."""
    root = tmp_path / "visa"
    rows = ["object,split,label,image,mask"]
    notes = ["image,label,mask"]
    for i in range(2):
        normal = f"candle/Data/Images/Normal/{i:04d}.JPG"
        anomalous = f"candle/Data/Images/Anomaly/{i:03d}.JPG"
        mask = f"candle/Data/Masks/Anomaly/{i:03d}.png"
        _save(root / normal)
        _save(root / anomalous)
        _save_mask(root / mask, value=i + 1)
        rows += [
            f"candle,{('train', 'test')[i]},normal,{normal},",
            f"candle,test,anomaly,{anomalous},{mask}",
        ]
        notes += [f"{normal},normal,", f'{anomalous},"burnt,hole",{mask}']
    for name in ("1cls", "2cls_fewshot"):
        _write(root / f"split_csv/{name}.csv", "\r\n".join(rows) + "\r\n")
    _write(root / "candle/image_anno.csv", "\r\n".join(notes) + "\r\n")
    return root


@pytest.fixture
def index_of(tmp_path: Path) -> Callable[..., Path]:
    """Write an index from (image, mask, label) triples of one category."""

    def write(
        *triples: tuple[object, object, object], phase: str = "test", category: str = "tile"
    ) -> Path:
        entries = [
            {
                "img_path": image,
                "mask_path": mask,
                "cls_name": category,
                "specie_name": "",
                "anomaly": label,
            }
            for image, mask, label in triples
        ]
        path = tmp_path / "data_json" / "some.json"
        _write(path, json.dumps({"train": {}, "test": {}} | {phase: {category: entries}}))
        return path

    return write


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
