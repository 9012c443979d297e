"""Corruptions: repeatable, worse with severity, and masks go where the image goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zsad.config import compose, instantiate
from zsad.data.corruptions import (
    CorruptedDataModule,
    Corruption,
    CorruptionTransform,
    blur,
    rotation,
    scale,
)
from zsad.data.images import ImageDataset
from zsad.types import Sample

STANDARD: dict[str, Corruption] = instantiate.build(
    compose.compose_config(
        "test", ["robustness=standard", "paths.output_dir=/nowhere"]
    ).robustness.corruptions
)
MOVING = {"rotation", "scale"}


def textured(side: int = 96) -> np.ndarray:
    """Return a blurred random image with a dark square, and nothing else that dark."""
    coarse = np.random.default_rng(0).integers(90, 200, (12, 12, 3), dtype=np.uint8)
    image = np.array(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    image[30:50, 40:70] = 0
    return image


def square(side: int = 96) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[30:50, 40:70] = 255
    return mask


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def changed(corrupt: CorruptionTransform, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    corrupt.set_random_seed(seed)
    result = corrupt(image=textured(), mask=square())
    return result["image"], result["mask"]


@pytest.mark.parametrize("name", STANDARD)
def test_each_severity_changes_more_than_the_weaker_one(name: str) -> None:
    images = [changed(STANDARD[name].at_severity(severity, 96))[0] for severity in range(1, 6)]
    distances = [distance(image, textured()) for image in images]
    assert distances[0] > 0
    assert distances == sorted(distances)


@pytest.mark.parametrize("name", STANDARD)
def test_the_same_seed_gives_the_same_image(name: str) -> None:
    for one, other in zip(
        changed(STANDARD[name].at_severity(3, 96)),
        changed(STANDARD[name].at_severity(3, 96)),
        strict=True,
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", sorted(set(STANDARD) - MOVING))
def test_a_mask_stays_where_nothing_moves(name: str) -> None:
    assert np.array_equal(changed(STANDARD[name].at_severity(5, 96))[1], square())


@pytest.mark.parametrize(
    "corrupt",
    [CorruptionTransform(rotation(10.0), 96), CorruptionTransform(scale(0.3), 96)],
    ids=["rotation", "scale"],
)
@pytest.mark.parametrize("seed", range(4))
def test_a_mask_goes_where_its_defect_goes(corrupt: CorruptionTransform, seed: int) -> None:
    image, mask = changed(corrupt, seed)
    dark, marked = image.max(axis=2) < 45, mask > 127
    overlap = (dark & marked).sum() / (dark | marked).sum()
    assert overlap > 0.85
    assert (square() != mask).sum() > 60  # it went somewhere


def test_strength_holds_at_the_size_of_the_input() -> None:
    small, large = (
        textured(),
        np.array(Image.fromarray(textured()).resize((480, 480), Image.Resampling.BICUBIC)),
    )
    corrupt = CorruptionTransform(blur(2.0), 96)
    assert distance(corrupt(image=small)["image"], corrupt(image=large)["image"]) < 3
    assert CorruptionTransform(blur(2.0), None)(image=large)["image"].shape == large.shape


def test_a_severity_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="severity 3: expected 1 to 2"):
        Corruption(blur, [1.0, 2.0]).at_severity(3, 96)


def test_a_corrupted_dataset_differs_in_its_test_images_alone(tmp_path: Path) -> None:
    Image.fromarray(textured()).save(tmp_path / "a.png")
    Image.fromarray(square()).save(tmp_path / "m.png")
    sample = Sample(tmp_path / "a.png", tmp_path / "m.png", "nut", "hole", is_anomalous=True)
    config = compose.compose_config(
        "test", ["dataset.image_size=48", "dataset.num_workers=0", "paths.output_dir=/nowhere"]
    )
    clean = instantiate.build(config.dataset)
    clean.test_samples = [sample]
    untouched, corrupted = (
        CorruptedDataModule(clean, one) for one in (None, CorruptionTransform(blur(3.0), 48))
    )
    one, other, original = (
        next(iter(data.test_dataloader())) for data in (untouched, corrupted, clean)
    )
    assert torch.equal(one.image, original.image)
    assert not torch.equal(other.image, original.image)
    assert torch.equal(other.mask, original.mask)
    assert torch.equal(next(iter(clean.test_dataloader())).image, original.image)
    assert isinstance(clean.test_dataloader().dataset, ImageDataset)
    assert corrupted.categories == ["nut"]
