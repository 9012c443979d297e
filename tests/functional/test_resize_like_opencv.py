"""Resizing and stretching as the evaluation of SAA+ does with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsad.functional.resample import bicubic, min_max, nearest, resize_levels_linearly

SIDE = st.integers(1, 90)


@given(SIDE, SIDE, SIDE, SIDE)
def test_levels_are_those_of_opencv_to_the_last_bit(
    height: int, width: int, new_height: int, new_width: int
) -> None:
    levels = (
        np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    )
    expected = cv2.resize(levels, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    ours = resize_levels_linearly(
        torch.from_numpy(levels).permute(2, 0, 1)[None] / 255, (new_height, new_width)
    )
    np.testing.assert_array_equal((ours * 255).round()[0].permute(1, 2, 0).numpy(), expected)


@given(SIDE, SIDE, SIDE, SIDE)
def test_masks_take_the_pixels_that_opencv_takes(
    height: int, width: int, new_height: int, new_width: int
) -> None:
    mask = np.random.default_rng(height * width).random((height, width)) < 0.5
    expected = cv2.resize(
        mask.astype(np.uint8), (new_width, new_height), interpolation=cv2.INTER_NEAREST
    )
    ours = nearest(torch.from_numpy(mask)[None], (new_height, new_width))
    np.testing.assert_array_equal(ours[0].numpy(), expected.astype(bool))


def test_72_pixels_become_20_otherwise_than_with_torch() -> None:
    row = torch.arange(72)
    ours = nearest(torch.eye(72, dtype=torch.bool)[:, None], (1, 20)).nonzero()[
        :, 0
    ]  # which mask each new pixel is of
    torchs = torch.nn.functional.interpolate(row[None, None].float(), 20, mode="nearest")[0, 0]
    expected = cv2.resize(row.float()[None].numpy(), (20, 1), interpolation=cv2.INTER_NEAREST)[0]
    assert ours.tolist() == expected.tolist() != torchs.tolist()


@pytest.mark.parametrize(
    "sizes", [((50, 50), (40, 40)), ((60, 70), (40, 41)), ((20, 30), (90, 70))]
)
def test_bicubic_maps_are_those_of_opencv(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    old, new = sizes
    maps = np.random.default_rng(0).random(old)
    expected = cv2.resize(maps, new[::-1], interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(
        bicubic(torch.from_numpy(maps)[None], new)[0].numpy(), expected, atol=3e-6
    )


def test_maps_are_stretched_together() -> None:
    """Maps are stretched together and a constant set becomes zeros."""
    maps = torch.tensor([[[1.0, 2.0]], [[3.0, 5.0]]])
    assert min_max(maps).tolist() == [[[0.0, 0.25]], [[0.5, 1.0]]]
    assert min_max(torch.full((2, 3, 3), 0.7)).tolist() == torch.zeros(2, 3, 3).tolist()
