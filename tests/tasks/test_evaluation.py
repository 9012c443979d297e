"""A few-shot method gets its references before the first image; other methods refuse them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer
from PIL import Image
from torch import Tensor, nn

from zsad.data.locations import write_json
from zsad.data.module import JsonDataModule
from zsad.metrics import curves
from zsad.metrics.per_category import CategoryMetrics
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.types import Prediction

METRICS = partial(
    CategoryMetrics, image={"image_auroc": curves.auroc}, pixel={"pixel_auroc": curves.auroc}
)


class Forgetful(nn.Module):
    """Scores an image by its brightness."""

    def forward(self, image: Tensor, category: Sequence[str]) -> Prediction:
        brightness = image.float().mean(dim=1)
        return Prediction(brightness, brightness.mean(dim=(1, 2)))


class NearestReference(Forgetful):
    """Scores an image by its distance to the nearest reference of its category."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[str, Tensor] = {}

    def set_references(self, category: str, images: Sequence[Tensor]) -> None:
        self.memory[category] = torch.stack(list(images))

    def clear_references(self) -> None:
        self.memory = {}

    def forward(self, image: Tensor, category: Sequence[str]) -> Prediction:
        distances = [
            (one - self.memory[name]).abs().amin(dim=0)
            for one, name in zip(image, category, strict=True)
        ]
        nearest = torch.stack(distances).float().mean(dim=1)
        return Prediction(nearest, nearest.mean(dim=(1, 2)))


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., JsonDataModule]:
    """Two categories: 3 grey training images each; 2 grey test images, and 2 with a bright half."""
    phases: dict[str, dict[str, list[dict[str, object]]]] = {"train": {}, "test": {}}
    for phase, labels in (("train", [0, 0, 0]), ("test", [0, 1, 0, 1])):
        for shade, category in ((40, "nut"), (90, "cork")):
            phases[phase][category] = []
            for number, label in enumerate(labels):
                pixels = np.full((8, 8, 3), shade, dtype=np.uint8)
                pixels[4:] = 250 if label else shade
                name = f"{phase}_{category}_{number}"
                Image.fromarray(pixels).save(tmp_path / f"{name}.png")
                Image.fromarray(np.where(pixels[..., 0] == 250, 255, 0).astype(np.uint8)).save(
                    tmp_path / f"{name}_m.png"
                )
                mask = f"{name}_m.png" if label else ""
                entry = {
                    "img_path": f"{name}.png",
                    "mask_path": mask,
                    "cls_name": category,
                    "specie_name": "",
                    "anomaly": label,
                }
                phases[phase][category].append(entry)
    write_json(tmp_path / "index.json", phases)
    common = {"index": tmp_path / "index.json", "root": tmp_path, "image_size": 8, "num_workers": 0}
    return lambda **options: JsonDataModule("shades", **common, **options)


def trainer(**options: str) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        accelerator="cpu",
        enable_checkpointing=False,
        use_distributed_sampler=False,
        **quiet,
        **options,
    )


@pytest.mark.parametrize("phase", ["train", "none"])
def test_references_come_first_and_tell_defects_apart(
    data: Callable[..., JsonDataModule], phase: str
) -> None:
    task = ZeroShotEvaluation(NearestReference(), METRICS)
    trainer().test(task, data(shots=1, reference_phase=phase), verbose=False)
    assert task.results is not None
    assert task.results.mean == {"image_auroc": 1.0, "pixel_auroc": 1.0}
    normal = 2 if phase == "train" else 1  # a reference that comes from the test is not tested
    assert task.results.images == {"nut": (normal, 2), "cork": (normal, 2)}


def test_references_are_known_in_a_prediction_too(data: Callable[..., JsonDataModule]) -> None:
    task = ZeroShotEvaluation(NearestReference(), METRICS)
    predictions = trainer().predict(task, data(shots=2))
    assert {name: len(images) for name, images in task.method.memory.items()} == {
        "nut": 2,
        "cork": 2,
    }
    assert [float(one.score) > 0 for one in predictions] == [False, True] * 4


def test_references_have_the_precision_of_the_images(data: Callable[..., JsonDataModule]) -> None:
    task = ZeroShotEvaluation(NearestReference(), METRICS)
    trainer(precision="bf16-true").test(task, data(shots=1), verbose=False)
    assert task.method.memory["nut"].dtype == torch.bfloat16


def test_a_zero_shot_method_is_not_tested_with_references(
    data: Callable[..., JsonDataModule],
) -> None:
    with pytest.raises(ValueError, match="Forgetful takes no reference images: leave k_shot out"):
        trainer().test(ZeroShotEvaluation(Forgetful(), METRICS), data(shots=1), verbose=False)
    trainer().test(ZeroShotEvaluation(Forgetful(), METRICS), data(), verbose=False)
