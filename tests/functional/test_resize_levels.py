"""Resizing 8-bit pictures against Pillow and by property."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zsad.functional.resample import resize_levels

SIDES = st.integers(1, 90)


def as_levels(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255


def as_picture(image: torch.Tensor) -> np.ndarray:
    return (image[0].permute(1, 2, 0) * 255).round().byte().numpy()


def resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.BICUBIC)


@settings(max_examples=60, deadline=None)
@given(old=st.tuples(SIDES, SIDES), new=st.tuples(SIDES, SIDES), seed=st.integers(0, 9))
def test_it_equals_pillow_rows_first_then_columns(
    old: tuple[int, int], new: tuple[int, int], seed: int
) -> None:
    """It is pillows pass along the rows and then along the columns."""
    random = np.random.default_rng(seed)
    picture = random.choice([0, 255, 17, 200], (*old, 3)).astype(
        np.uint8
    )  # overshoots at 0 and 255
    # One pass a call: of two passes at once, Pillow 13 takes the cheaper one first.
    theirs = resized(resized(Image.fromarray(picture), new[1], old[0]), new[1], new[0])
    np.testing.assert_array_equal(
        as_picture(resize_levels(as_levels(picture), new)), np.asarray(theirs)
    )


@pytest.mark.parametrize(("old", "new"), [(672, 336), (1036, 518), (384, 192), (100, 56)])
def test_a_square_shrunk_is_what_every_pillow_makes_of_it(old: int, new: int) -> None:
    picture = np.random.default_rng(old).integers(0, 256, (old, old, 3)).astype(np.uint8)
    theirs = np.asarray(resized(Image.fromarray(picture), new, new))
    np.testing.assert_array_equal(as_picture(resize_levels(as_levels(picture), (new, new))), theirs)


def test_the_same_size_changes_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype(np.uint8)
    assert torch.equal(resize_levels(as_levels(picture), (9, 13)), as_levels(picture))


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_flat_picture_stays_flat(level: int) -> None:
    flat = torch.full((1, 3, 40, 31), level / 255)
    assert torch.equal(resize_levels(flat, (17, 57)), torch.full((1, 3, 17, 57), level / 255))


def test_the_result_has_256_levels_and_the_type_of_the_input() -> None:
    """The result has 256 levels and the type of the input under autocast too."""
    image = as_levels(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8))
    small = resize_levels(image, (20, 20))
    assert torch.equal(small, (small * 255).round() / 255)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resize_levels(image, (20, 20)), small)
    assert resize_levels(image.bfloat16(), (20, 20)).dtype == torch.bfloat16


def test_a_batch_is_resized_image_by_image() -> None:
    images = torch.randint(0, 256, (3, 3, 30, 20), generator=torch.Generator().manual_seed(0)) / 255
    each = torch.cat([resize_levels(image[None], (12, 11)) for image in images])
    assert torch.equal(resize_levels(images, (12, 11)), each)
