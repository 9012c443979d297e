"""The data of a run."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsad.data.images import ImageDataset
from zsad.data.module import JsonDataModule
from zsad.data.prepare.write_index import prepare
from zsad.data.sampling import evenly_spaced
from zsad.data.synthetic.into_photos import SyntheticDefects
from zsad.types import Sample


@pytest.fixture
def module(tmp_path, mvtec_tree):
    prepare("tiles", mvtec_tree, "mvtec", data_json=tmp_path / "dj", conf=tmp_path / "conf")

    def make(**options):
        defaults = {
            "data_json": tmp_path / "dj",
            "image_size": 16,
            "batch_size": 3,
            "num_workers": 0,
        }
        return JsonDataModule("tiles", **{**defaults, **options})

    return make


def paths(loader) -> list[str]:
    return [path for batch in loader for path in batch.path]


def test_the_default_is_to_train_and_test_on_the_test_split(module):
    data = module()
    data.setup()
    assert len(data.train_samples) == len(data.test_samples) == 8
    data = module(train_phase="train", synthetic_defects=SyntheticDefects())
    data.setup()
    assert (len(data.train_samples), len(data.test_samples)) == (4, 8)
    assert not any(sample.is_anomalous for sample in data.train_samples)


def test_a_stage_reads_only_what_it_needs(module):
    data = module()
    data.setup("fit")
    assert (len(data.train_samples), data.test_samples) == (8, [])
    data.setup("test")
    assert data.categories == ["metal_nut", "tile"]


def test_categories_filter(module):
    data = module(categories=["tile"])
    data.setup("test")
    assert data.categories == ["tile"]
    assert len(data.test_samples) == 4


def test_numbers_and_single_names_are_categories(tmp_path, save):
    entries = {}
    for name in ("7", "true", "lid"):
        save(tmp_path / f"{name}.png")
        entries[name] = [{"img_path": f"{name}.png", "mask_path": "", "anomaly": 0}]
    index = tmp_path / "meta.json"
    index.write_text(json.dumps({"test": entries}))
    for given_names, expected in (
        ([7, True], ["7", "true"]),
        (7, ["7"]),
        ("lid", ["lid"]),
        (["lid", "7"], ["7", "lid"]),
    ):
        data = JsonDataModule("parts", index=index, root=tmp_path, categories=given_names)
        data.setup("test")
        assert data.categories == expected


def test_test_batches_hold_every_image_once_in_index_order(module):
    data = module(test_batch_size=3)
    data.setup("test")
    assert paths(data.test_dataloader()) == [str(sample.image_path) for sample in data.test_samples]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_the_test_images_without_repeating_any(module, world):
    data = module()
    data.setup("test")
    seen = []
    for rank in range(world):
        data.trainer = SimpleNamespace(world_size=world, global_rank=rank)
        seen += paths(data.test_dataloader())
    assert sorted(seen) == sorted(str(sample.image_path) for sample in data.test_samples)


def test_training_order_depends_on_seed_and_epoch_alone(module):
    """A run that resumes at epoch 1 sees what an undisturbed one sees there."""

    def epoch(number: int, seed: int = 111) -> list[str]:
        data = module(seed=seed)
        data.setup("fit")
        loader = data.train_dataloader()
        loader.sampler.set_epoch(number)
        torch.rand(number + 1)  # the state of the global generator must not matter
        return paths(loader)

    orders = [epoch(0), epoch(1), epoch(0, seed=112)]
    assert epoch(1) == orders[1]
    assert all(a != b for a, b in itertools.combinations(orders, 2))
    assert all(sorted(order) == sorted(orders[0]) for order in orders)


def test_the_sampler_tells_the_dataset_its_epoch(module):
    data = module()
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(7)
    assert int(loader.dataset.epoch) == 7


def test_workers_see_the_epoch_too(module):
    """Workers outlive an epoch; their augmentation must still follow it."""

    class PaintTheSeed:
        def set_random_seed(self, seed: int) -> None:
            self.value = seed % 256

        def __call__(self, image, **mask):
            return {"image": np.full_like(image, self.value), **mask}

    def pictures(workers: int) -> list[list[float]]:
        data = module(num_workers=workers, augmentation=PaintTheSeed())
        data.setup("fit")
        loader = data.train_dataloader()
        found = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            found.append([value for batch in loader for value in batch.image[:, 0, 0, 0].tolist()])
        return found

    assert pictures(1) == pictures(0)


def test_a_mistake_shows_at_setup(module, tmp_path):
    for options, message in (
        ({"root": tmp_path / "gone"}, "looked in"),
        ({"index": tmp_path / "gone.json"}, r"gone\.json"),
        ({"test_phase": "val"}, "no images in phase 'val'"),
        ({"categories": ["tiel"]}, "Did you mean tile"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            module(**options).setup("test")


def test_an_unknown_dataset_gets_the_nearest_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="Did you mean visa"):
        JsonDataModule("vsia", data_json=tmp_path).setup("test")


def test_max_images_keeps_both_labels(module):
    data = module(max_images=2)
    data.setup("test")
    assert sorted(sample.is_anomalous for sample in data.test_samples) == [False, True]


def test_references_are_train_images_preprocessed_as_the_test(module):
    data = module(shots=2)
    data.setup("test")
    assert len(data.test_samples) == 8
    shown = dict(data.reference_images())
    assert list(shown) == data.categories
    train = module(train_phase="train", synthetic_defects=SyntheticDefects())
    train.setup("fit")
    as_tested = [train_image.image[0] for train_image in ImageDataset(train.train_samples, 16)]
    for images in shown.values():
        assert len(images) == 2
        assert all(any(torch.equal(image, one) for one in as_tested) for image in images)


def test_references_leave_the_test_if_nothing_else_is_normal(module):
    data = module(shots=1, reference_phase="nothing", categories=["tile"])
    data.setup("test")
    data.setup("test")  # as the trainer does once more
    (shown,) = data.references.samples["tile"]
    assert str(shown.image_path) not in paths(data.test_dataloader())
    assert [sample.is_anomalous for sample in data.test_samples].count(False) == 1
    remark = data.references.remark
    assert remark.endswith(
        "those of tile come from the tested images, which are tested without them"
    )


def test_a_quick_trial_draws_the_references_of_the_whole_test(module):
    shown = []
    for max_images in (None, 2):
        data = module(shots=2, max_images=max_images)
        data.setup("test")
        shown.append(data.references.samples)
    assert shown[0] == shown[1]
    assert len(data.test_samples) == 2


def test_a_negative_number_of_references_is_refused(module):
    with pytest.raises(ValueError, match="k_shot=-1: expected 0"):
        module(shots=-1)


@given(labels=st.lists(st.booleans(), min_size=1, max_size=60), count=st.integers(1, 70))
def test_an_even_subset_has_its_size_its_order_and_both_labels(labels, count):
    samples = [Sample(Path(str(i)), None, "a", "", label) for i, label in enumerate(labels)]
    chosen = evenly_spaced(samples, count)
    numbers = [int(str(sample.image_path)) for sample in chosen]
    assert len(chosen) == min(count, len(samples))
    assert numbers == sorted(set(numbers))
    if count >= 2:
        assert {sample.is_anomalous for sample in chosen} == set(labels)


def test_a_subset_of_nothing_is_refused():
    with pytest.raises(ValueError, match="max_images is 0"):
        evenly_spaced([], 0)


def test_defects_alone_teach_nothing_without_masks(tmp_path, save, save_mask):
    def setup(name, **options):
        places = {"data_json": tmp_path / "dj", "conf": tmp_path / "conf"}
        prepare(name, tmp_path / "raw", "folder", **places, **options)
        JsonDataModule(name, data_json=tmp_path / "dj", num_workers=0).setup("fit")

    save(tmp_path / "raw/bad/a.png")
    with pytest.raises(ValueError, match="defective images alone, and no masks"):
        setup("bare", allow_missing_masks=True)
    save_mask(tmp_path / "raw/masks/a.png")
    setup("masked")
