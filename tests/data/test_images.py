"""From files to tensors."""

from pathlib import Path

import albumentations
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from zsad.data.decoding import UnreadableImageError, load_image
from zsad.data.images import ImageDataset, collate, to_tensor
from zsad.types import Sample

GOLDEN = np.load(Path(__file__).parents[1] / "golden/anomalyclip/preprocessing.npz")
SIZE = int(GOLDEN["image_size"])
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
IMAGES = [
    key.removesuffix(".input") for key in GOLDEN if key.endswith(".input") and "mask" not in key
]


@pytest.mark.parametrize("name", IMAGES)
def test_images_equal_the_published_preprocessing(name):
    tensor = to_tensor(Image.fromarray(GOLDEN[f"{name}.input"]), SIZE)
    torch.testing.assert_close(
        (tensor - MEAN) / STD, torch.from_numpy(GOLDEN[f"{name}.output"]), rtol=0, atol=5e-7
    )


def test_a_worker_process_hands_the_error_on_as_what_it_is(tmp_path):
    (tmp_path / "a.png").write_text("<html>404</html>")
    dataset = ImageDataset([Sample(tmp_path / "a.png", None, "tile", "good", False)], image_size=20)
    with pytest.raises(UnreadableImageError, match=r"cannot read .*a\.png"):
        next(iter(DataLoader(dataset, num_workers=1, collate_fn=collate)))


def samples_of(tmp_path, save, save_mask):
    image, mask = (
        save(tmp_path / "a.png", size=(40, 30)),
        save_mask(tmp_path / "m.png", size=(40, 30)),
    )
    return [
        Sample(image, mask, "tile", "good", False),
        Sample(image, mask, "tile", "crack", True),
        Sample(image, None, "tile", "crack", True),
    ]


def test_a_batch_carries_images_masks_and_names(tmp_path, save, save_mask):
    dataset = ImageDataset(samples_of(tmp_path, save, save_mask), image_size=20)
    batch = collate(dataset[i] for i in range(len(dataset)))
    assert batch.image.shape == (3, 3, 20, 20)
    assert batch.image.dtype == torch.float32
    assert 0 <= batch.image.min() < 0.2 < 0.8 < batch.image.max() <= 1
    assert batch.mask.sum((1, 2)).tolist() == [
        0,
        100,
        0,
    ]  # the normal image's own mask file is not believed
    assert batch.has_mask.tolist() == [True, True, False]
    assert batch.is_anomalous.tolist() == [False, True, True]
    assert (batch.category, batch.defect) == (("tile",) * 3, ("good", "crack", "crack"))
    assert batch.path == (str(tmp_path / "a.png"),) * 3


def test_a_mask_of_another_size_is_refused(tmp_path, save, save_mask):
    sample = Sample(
        save(tmp_path / "a.png"),
        save_mask(tmp_path / "m.png", size=(24, 17)),
        "tile",
        "crack",
        True,
    )
    with pytest.raises(ValueError, match=r"m\.png is 24 x 17, but its image .*a\.png is 24 x 16"):
        ImageDataset([sample], image_size=20)[0]


def test_native_sizes_need_batches_of_one(tmp_path, save):
    samples = [
        Sample(save(tmp_path / f"{w}.png", size=(w, 9)), None, "tile", "good", False)
        for w in (7, 8)
    ]
    dataset = ImageDataset(samples, image_size=None)
    assert dataset[0].image.shape == (1, 3, 9, 7)
    with pytest.raises(
        ValueError, match="7 x 9, 8 x 9 cannot share a batch: set image_size, or a batch size of 1"
    ):
        collate([dataset[0], dataset[1]])


def augmented(tmp_path, save, save_mask, epoch: int):
    augmentation = albumentations.Compose(
        [albumentations.Rotate(limit=180, p=1), albumentations.HorizontalFlip(p=0.5)]
    )
    dataset = ImageDataset(samples_of(tmp_path, save, save_mask), 20, 0, augmentation, seed=5)
    dataset.epoch.fill_(epoch)
    return dataset


def test_augmentation_depends_on_seed_epoch_and_image_alone(tmp_path, save, save_mask):
    first, again = (augmented(tmp_path, save, save_mask, epoch=3) for _ in range(2))
    other = augmented(tmp_path, save, save_mask, epoch=4)
    assert torch.equal(first[1].image, again[1].image)
    assert not torch.equal(first[1].image, other[1].image)
    assert not torch.equal(first[1].image, first[2].image)


def test_augmentation_moves_image_and_mask_together(tmp_path):
    """The image is its own mask, so they must agree after any flip."""
    pixels = np.zeros((20, 20), dtype=np.uint8)
    pixels[:5, :8] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    sample = Sample(tmp_path / "a.png", tmp_path / "a.png", "tile", "crack", True)
    flips = albumentations.Compose([albumentations.D4(p=1)])
    seen = set()
    for seed in range(8):
        batch = ImageDataset([sample], 20, 0, flips, seed=seed)[0]
        assert torch.equal(batch.image[0, 0] > 0.5, batch.mask[0])
        seen.add(batch.mask.numpy().tobytes())
    assert len(seen) > 2


@pytest.fixture
def large_jpeg(tmp_path):
    """1600 x 1200 pixels of soft shapes, as a camera sees them."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=92)
    return tmp_path / "large.jpg"


def test_a_large_jpeg_decoded_coarsely_is_nearly_the_same(large_jpeg):
    assert load_image(large_jpeg, 200).size == (400, 300)
    assert load_image(large_jpeg).size == (1600, 1200)
    samples = [Sample(large_jpeg, None, "x", "good", False)]
    exact, fast = (ImageDataset(samples, 100, fast_jpeg=each)[0].image for each in (False, True))
    assert 0 < (exact - fast).abs().max() < 8 / 255


def test_decoding_coarsely_changes_no_mask_and_no_other_file(large_jpeg, tmp_path):
    load_image(large_jpeg).save(tmp_path / "large.png")
    Image.new("L", (1600, 1200), 255).save(tmp_path / "mask.png")
    for image in (large_jpeg, tmp_path / "large.png"):
        samples = [Sample(image, tmp_path / "mask.png", "x", "hole", True)]
        exact, fast = (ImageDataset(samples, 100, fast_jpeg=each)[0] for each in (False, True))
        assert fast.mask.equal(exact.mask)
    assert fast.image.equal(exact.image)


def test_decoding_coarsely_needs_a_size_and_no_augmentation(large_jpeg):
    with pytest.raises(ValueError, match="fast_jpeg needs an image_size"):
        ImageDataset([], None, fast_jpeg=True)
    with pytest.raises(ValueError, match="augmentation=none"):
        ImageDataset([], 100, augmentation=dict, fast_jpeg=True)
