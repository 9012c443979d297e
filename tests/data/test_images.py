"""From files to tensors."""

from pathlib import Path

import albumentations
import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from torch.utils.data import DataLoader

from zsad.data.images import (
    ImageDataset,
    UnreadableImageError,
    binarise,
    collate,
    load_image,
    load_mask,
    resize_mask,
    soft_mask,
    to_tensor,
    upright_size,
)
from zsad.types import Sample

GOLDEN = np.load(Path(__file__).parents[1] / "golden/anomalyclip/preprocessing.npz")
SIZE = int(GOLDEN["image_size"])
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
IMAGES = [
    key.removesuffix(".input") for key in GOLDEN if key.endswith(".input") and "mask" not in key
]
MASKS = [key.removesuffix(".input") for key in GOLDEN if key.endswith("mask.input")]


@pytest.mark.parametrize("name", IMAGES)
def test_images_equal_the_published_preprocessing(name):
    tensor = to_tensor(Image.fromarray(GOLDEN[f"{name}.input"]), SIZE)
    torch.testing.assert_close(
        (tensor - MEAN) / STD, torch.from_numpy(GOLDEN[f"{name}.output"]), rtol=0, atol=5e-7
    )


@pytest.mark.parametrize("name", MASKS)
def test_masks_equal_the_published_preprocessing(name):
    mask = Image.fromarray(GOLDEN[f"{name}.input"])
    assert np.array_equal(soft_mask(mask, SIZE), GOLDEN[f"{name}.resized"])
    assert np.array_equal(resize_mask(mask, SIZE), GOLDEN[f"{name}.output"])


GRADIENT = np.linspace(0, 255, 24 * 16).reshape(16, 24).round().astype(np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
def test_every_mode_shows_the_same_picture(tmp_path, mode):
    """A grey gradient, stored in any mode, arrives as that gradient (black and white where there is one bit)."""
    grey = Image.fromarray(GRADIENT)
    if mode in ("I;16", "I"):
        stored = Image.fromarray(GRADIENT.astype(np.uint16 if mode == "I;16" else np.int32) * 257)
    elif mode == "P":
        stored = grey.convert("RGB").quantize(256)
    else:
        stored = grey.convert(mode)
    path = tmp_path / "image.tif"
    stored.save(path)
    expected = (
        np.asarray(grey.convert("1").convert("L") if mode == "1" else grey, dtype=np.float32) / 255
    )
    tensor = to_tensor(load_image(path), None)
    assert (
        np.abs(tensor.numpy() - expected).max() <= (2.01 if mode in ("YCbCr", "P") else 0.51) / 255
    )


def test_a_palette_is_resized_by_its_colours_not_by_its_numbers(tmp_path):
    """Two neighbours of far numbers but equal colours: bicubic must not see the numbers, nor fall back to nearest."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)).quantize(64)
    colours.save(tmp_path / "p.png")
    expected = to_tensor(colours.convert("RGB"), 11)
    assert torch.equal(to_tensor(load_image(tmp_path / "p.png"), 11), expected)


def test_big_endian_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16)
    header = b"P5 2 2 65535\n"
    (tmp_path / "a.png").write_bytes(
        header + values.astype(">u2").tobytes()
    )  # PGM, whatever its name says
    assert np.asarray(load_image(tmp_path / "a.png")).tolist() == [[0, 100], [200, 255]]


def test_the_content_decides_not_the_extension(tmp_path):
    Image.fromarray(GRADIENT).save(tmp_path / "png.jpg", format="PNG")
    assert np.array_equal(np.asarray(load_image(tmp_path / "png.jpg")), GRADIENT)


# EXIF orientation: what turns the stored picture upright
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, 3),
    7: lambda stored: np.rot90(stored.T, 2),
    8: np.rot90,
    9: lambda stored: stored,  # no such orientation
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_photograph_is_turned_upright_and_its_size_with_it(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GRADIENT).save(path, exif=exif)
    upright = UPRIGHT[orientation](GRADIENT)
    shown = np.asarray(load_image(path).convert("L"), dtype=int)
    assert upright_size(path) == (upright.shape[1], upright.shape[0])
    assert shown.shape == upright.shape
    assert np.abs(shown - upright).mean() < (4 if suffix in ("jpg", "webp") else 0.01)


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "a.tif").getextrema() == (10, 10)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_file_is_named_with_the_command_that_finds_all(tmp_path, save, suffix):
    path = save(tmp_path / f"a{suffix}", size=(200, 200))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=rf"a\{suffix}(.|\n)*zsad verify"):
        load_image(path)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_text("<html>404</html>")
    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        load_image(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        upright_size(tmp_path / "a.png")


def test_a_file_outside_the_listed_formats_never_reaches_its_plugin(tmp_path, monkeypatch):
    """An EPS would be drawn by Ghostscript, a program that runs what is in it."""
    path = tmp_path / "a.png"
    Image.fromarray(GRADIENT).save(path, format="EPS")
    opened: list[str] = []
    monkeypatch.setattr(EpsImagePlugin.EpsImageFile, "_open", lambda self: opened.append("EPS"))
    for read in (load_image, upright_size):
        with pytest.raises(UnreadableImageError, match=r"cannot read .*a\.png"):
            read(path)
    assert opened == []


DAMAGED = {
    "png": lambda whole: whole[:8] + bytes(4) + whole[12:],  # header chunk of length 0
    "ppm": lambda whole: whole.replace(b"24", b"2x"),  # a width that is no number
    "jp2": lambda whole: whole.replace(b"\xff\x64\x00", b"\xff\x64\x00\x00", 1),
}


@pytest.mark.parametrize("suffix", DAMAGED)
def test_a_damaged_header_is_unreadable_whatever_pillow_raises(tmp_path, save, suffix):
    path = save(tmp_path / f"a.{suffix}")
    path.write_bytes(DAMAGED[suffix](path.read_bytes()))
    for read in (load_image, upright_size):
        with pytest.raises(UnreadableImageError, match=rf"cannot read .*a\.{suffix}"):
            read(path)


def test_a_worker_process_hands_the_error_on_as_what_it_is(tmp_path):
    (tmp_path / "a.png").write_text("<html>404</html>")
    dataset = ImageDataset([Sample(tmp_path / "a.png", None, "tile", "good", False)], image_size=20)
    with pytest.raises(UnreadableImageError, match=r"cannot read .*a\.png"):
        next(iter(DataLoader(dataset, num_workers=1, collate_fn=collate)))


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif has floating-point pixels"):
        load_image(tmp_path / "a.tif")


def test_the_threshold_decides_what_a_mask_value_means():
    mask = Image.fromarray(np.array([[0, 1, 9, 127, 128, 255]], dtype=np.uint8))
    assert binarise(mask, 0).tolist() == [[False, True, True, True, True, True]]
    assert binarise(mask, 127).tolist() == [[False, False, False, False, True, True]]


def test_colour_sixteen_bit_and_one_bit_masks_mean_the_same_as_grey_ones():
    expected = np.array([[False, True], [True, False]])
    red = np.zeros((2, 2, 3), dtype=np.uint8)
    red[expected, 0] = 255
    deep = np.where(expected, 65535, 100 * 257).astype(np.uint16)
    for mask in (Image.fromarray(red), Image.fromarray(deep), Image.fromarray(expected)):
        assert np.array_equal(binarise(mask, 127), expected)


def test_a_sixteen_bit_mask_that_holds_eight_bits_is_read_as_such():
    mask = Image.fromarray(np.array([[0, 100, 255]], dtype=np.uint16))
    assert binarise(mask, 127).tolist() == [[False, False, True]]
    assert binarise(mask, 0).tolist() == [[False, True, True]]


def test_masks_of_one_image_are_united(tmp_path):
    parts = np.eye(3, dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, row in zip(paths, range(3), strict=True):
        Image.fromarray(
            np.where(np.arange(3)[:, None] == row, parts * 255, 0).astype(np.uint8)
        ).save(path)
    assert np.array_equal(np.asarray(load_mask(paths, 127)), parts * 255)


def test_masks_of_one_image_must_agree_in_size(tmp_path, save_mask):
    paths = [save_mask(tmp_path / "a.png", size=(8, 4)), save_mask(tmp_path / "b.png", size=(8, 5))]
    with pytest.raises(ValueError, match=r"a\.png and .*b\.png are 8 x 4 and 8 x 5"):
        load_mask(paths, 0)


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


def test_a_mask_of_another_size_is_refused_with_both_names_and_sizes(tmp_path, save, save_mask):
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
    """The picture is its own mask, so they must agree after any flip."""
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


def test_a_large_jpeg_can_be_decoded_coarsely_and_is_nearly_the_same(large_jpeg):
    assert load_image(large_jpeg, 200).size == (400, 300)
    assert load_image(large_jpeg).size == (1600, 1200)
    samples = [Sample(large_jpeg, None, "x", "good", False)]
    exact, fast = (ImageDataset(samples, 100, fast_jpeg=each)[0].image for each in (False, True))
    assert 0 < (exact - fast).abs().max() < 8 / 255


def test_decoding_coarsely_leaves_masks_and_other_files_as_they_are(large_jpeg, tmp_path):
    load_image(large_jpeg).save(tmp_path / "large.png")
    Image.new("L", (1600, 1200), 255).save(tmp_path / "mask.png")
    for image in (large_jpeg, tmp_path / "large.png"):
        samples = [Sample(image, tmp_path / "mask.png", "x", "hole", True)]
        exact, fast = (ImageDataset(samples, 100, fast_jpeg=each)[0] for each in (False, True))
        assert fast.mask.equal(exact.mask)
    assert fast.image.equal(exact.image)


def test_decoding_coarsely_does_not_go_with_native_sizes_or_augmentation(large_jpeg):
    with pytest.raises(ValueError, match="fast_jpeg needs an image_size"):
        ImageDataset([], None, fast_jpeg=True)
    with pytest.raises(ValueError, match="augmentation=none"):
        ImageDataset([], 100, augmentation=dict, fast_jpeg=True)
