"""Learning from the train phase: normal photographs, some of them with a defect drawn in."""

import albumentations
import numpy as np
import pytest
import torch
from PIL import Image

from zsad.config import compose, instantiate
from zsad.data.images import ImageDataset
from zsad.data.module import JsonDataModule
from zsad.data.prepare.write_index import prepare
from zsad.data.synthetic.into_photos import SyntheticDefects
from zsad.types import Batch, Sample

SIZE = 40


@pytest.fixture
def normal(tmp_path) -> list[Sample]:
    """Parts of one value each, so that every change shows."""
    samples = []
    for i in range(8):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (SIZE, SIZE), (100 + i,) * 3).save(path)
        samples.append(Sample(path, None, "tile", "good", False))
    return samples


def dataset(samples, epoch: int = 0, seed: int = 5, **options) -> ImageDataset:
    shown = ImageDataset(
        samples, SIZE, seed=seed, **{"synthetic_defects": SyntheticDefects(), **options}
    )
    shown.epoch.fill_(epoch)
    return shown


def changed(batch: Batch, index: int) -> torch.Tensor:
    return (batch.image[0] * 255 - (100 + index)).abs().amax(0) > 0.5


def same(first: Batch, second: Batch) -> bool:
    tensors = ("image", "mask", "is_anomalous", "has_mask")
    return first.defect == second.defect and all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in tensors
    )


def test_label_mask_and_name_say_what_was_drawn(normal):
    labels = []
    for epoch in range(3):
        shown = dataset(normal, epoch)
        for i in range(len(normal)):
            batch = shown[i]
            labels.append(bool(batch.is_anomalous))
            assert bool(batch.has_mask)
            assert bool(batch.mask.any()) == labels[-1]
            assert not (changed(batch, i) & ~batch.mask[0]).any()
            assert (changed(batch, i) & batch.mask[0]).sum() >= 0.5 * batch.mask.sum()
            assert batch.defect[0].startswith("drawn ") if labels[-1] else batch.defect == ("good",)
    assert 6 <= sum(labels) <= 18  # of 24, half of them wanted


def test_what_is_drawn_depends_on_seed_epoch_and_image_alone(normal):
    def epoch(number: int, seed: int = 5) -> list[Batch]:
        shown = dataset(normal, number, seed)
        return [shown[i] for i in range(len(normal))]

    first = epoch(3)
    assert all(same(a, b) for a, b in zip(first, epoch(3), strict=True))
    for other in (epoch(4), epoch(3, seed=6)):
        assert not all(same(a, b) for a, b in zip(first, other, strict=True))


def test_nothing_is_drawn_into_anomalous_images(tmp_path, save, save_mask):
    """They keep their own mask, or none."""
    defective = save(tmp_path / "a.png")
    for mask in (save_mask(tmp_path / "m.png"), None):
        sample = Sample(defective, mask, "tile", "crack", True)
        with_drawing, without = (
            dataset([sample], synthetic_defects=d) for d in (SyntheticDefects(share=1), None)
        )
        assert same(with_drawing[0], without[0])


def test_the_augmentation_moves_drawn_defects_and_their_masks(normal):
    """Defects are drawn before the augmentation."""
    plain = dataset(normal, synthetic_defects=SyntheticDefects(share=1))
    flipped = dataset(
        normal,
        synthetic_defects=SyntheticDefects(share=1),
        augmentation=albumentations.Compose([albumentations.HorizontalFlip(p=1)]),
    )
    for i in range(len(normal)):
        assert torch.equal(flipped[i].image, plain[i].image.flip(-1))
        assert torch.equal(flipped[i].mask, plain[i].mask.flip(-1))
        assert flipped[i].is_anomalous.all()


@pytest.fixture
def module(tmp_path, mvtec_tree):
    prepare("tiles", mvtec_tree, "mvtec", data_json=tmp_path / "dj", conf=tmp_path / "conf")

    def make(**options) -> JsonDataModule:
        defaults = {"image_size": 16, "batch_size": 2, "num_workers": 0, "train_phase": "train"}
        return JsonDataModule("tiles", data_json=tmp_path / "dj", **{**defaults, **options})

    return make


def test_only_the_training_loader_draws(module):
    data = module(synthetic_defects=SyntheticDefects(share=1, view_px=16), shots=1)
    data.setup()
    trained = list(data.train_dataloader())
    assert any(batch.is_anomalous.any() for batch in trained)
    assert all(torch.equal(batch.mask.flatten(1).any(1), batch.is_anomalous) for batch in trained)
    untouched = module(shots=1)
    untouched.setup("test")
    for batch, expected in zip(data.test_dataloader(), untouched.test_dataloader(), strict=True):
        assert same(batch, expected)
    for (_, shown), (_, expected) in zip(
        data.reference_images(), untouched.reference_images(), strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(shown, expected, strict=True))


def test_workers_draw_what_one_process_draws(module):
    def epochs(workers: int) -> list[Batch]:
        data = module(synthetic_defects=SyntheticDefects(), num_workers=workers)
        data.setup("fit")
        loader = data.train_dataloader()
        batches = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            batches += list(loader)
        return batches

    alone, together = epochs(0), epochs(2)
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    assert any(batch.is_anomalous.any() for batch in alone)


def test_normal_images_alone_are_refused_with_both_ways_out(module):
    with pytest.raises(
        ValueError,
        match=r"(?s)'train' of tiles.*augmentation=synthetic_defects.*dataset\.train_phase=test",
    ):
        module().setup("fit")
    module(train_phase="test").setup("fit")
    module().setup("test")


@pytest.mark.parametrize(
    ("choice", "steps"), [("synthetic_defects", 0), ("synthetic_defects_standard", 5)]
)
def test_the_command_line_chooses_them(choice, steps):
    overrides = [
        "backbone=pocket",
        "dataset.train_phase=train",
        f"augmentation={choice}",
        "paths.output_dir=/nowhere",
    ]
    data = instantiate.build(
        compose.compose_config(
            "train", [*overrides, "dataset.synthetic_defects.share=0.25"]
        ).dataset
    )
    assert isinstance(data.synthetic_defects, SyntheticDefects)
    assert data.synthetic_defects.share == 0.25
    assert np.size(data.augmentation.transforms if steps else []) == steps
    assert (data.augmentation is None) == (steps == 0)
