"""Ground-truth masks: read, united, resized."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsad.data.masks import binarise, load_mask, resize_mask, soft_mask

GOLDEN = np.load(Path(__file__).parents[1] / "golden/anomalyclip/preprocessing.npz")
SIZE = int(GOLDEN["image_size"])
MASKS = [key.removesuffix(".input") for key in GOLDEN if key.endswith("mask.input")]


@pytest.mark.parametrize("name", MASKS)
def test_masks_equal_the_published_preprocessing(name):
    mask = Image.fromarray(GOLDEN[f"{name}.input"])
    assert np.array_equal(soft_mask(mask, SIZE), GOLDEN[f"{name}.resized"])
    assert np.array_equal(resize_mask(mask, SIZE), GOLDEN[f"{name}.output"])


def test_the_threshold_decides_what_a_mask_value_means():
    mask = Image.fromarray(np.array([[0, 1, 9, 127, 128, 255]], dtype=np.uint8))
    assert binarise(mask, 0).tolist() == [[False, True, True, True, True, True]]
    assert binarise(mask, 127).tolist() == [[False, False, False, False, True, True]]


def test_masks_of_any_mode_mean_the_same_as_grey_ones():
    expected = np.array([[False, True], [True, False]])
    red = np.zeros((2, 2, 3), dtype=np.uint8)
    red[expected, 0] = 255
    deep = np.where(expected, 65535, 100 * 257).astype(np.uint16)
    for mask in (Image.fromarray(red), Image.fromarray(deep), Image.fromarray(expected)):
        assert np.array_equal(binarise(mask, 127), expected)


def test_eight_bits_in_a_sixteen_bit_mask_are_read_as_such():
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
