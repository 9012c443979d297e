"""Ten small training images, and a task that trains on them in a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import seed_everything
from PIL import Image

from zsad.backbones.clip.model import CLIP
from zsad.data.locations import write_json
from zsad.data.module import JsonDataModule
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.metrics import curves
from zsad.metrics.per_category import CategoryMetrics
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.tasks.prompt_tuning import PromptTuning

METRICS = partial(
    CategoryMetrics, image={"image_auroc": curves.auroc}, pixel={"pixel_auroc": curves.auroc}
)
ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))
IMAGES = 10


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., JsonDataModule]:
    """Ten images of 56 px, every second with a bright square, and their index."""
    rng = np.random.default_rng(0)
    entries = []
    for number in range(IMAGES):
        pixels = rng.integers(60, 120, (56, 56, 3), dtype=np.uint8)
        mask = np.zeros((56, 56), dtype=np.uint8)
        if number % 2:
            mask[14:28, 14:28] = 255
            pixels[mask > 0] = 250
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / f"{number}_mask.png")
        entries.append(
            {
                "img_path": f"{number}.png",
                "mask_path": f"{number}_mask.png" if number % 2 else "",
                "cls_name": "plate",
                "specie_name": "spot" if number % 2 else "good",
                "anomaly": number % 2,
            }
        )
    write_json(tmp_path / "index.json", {"train": {}, "test": {"plate": entries}})
    usual: dict[str, Any] = {
        "index": tmp_path / "index.json",
        "root": tmp_path,
        "image_size": 56,
        "batch_size": 4,
        "num_workers": 0,
    }
    return lambda **settings: JsonDataModule("plates", **(usual | settings))


@pytest.fixture
def task(tiny_backbone: CLIP) -> Callable[..., PromptTuning]:
    def make(deep_blocks: int = 3, method: Any = AnomalyCLIP, **settings: Any) -> PromptTuning:
        seed_everything(111, verbose=False)
        prompts = partial(ObjectAgnosticPrompts, deep_blocks=deep_blocks)
        return PromptTuning(method(tiny_backbone, prompts=prompts), METRICS, ADAM, **settings)

    return make
