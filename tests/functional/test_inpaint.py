"""The smoothest surface over a defect: harmonic functions come back, and every masked pixel is its
neighbours' mean.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zsad.functional.inpaint import difference_map, dilate, harmonic_fill


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def mask_of(height: int, width: int, density: float, seed: int) -> Tensor:
    return torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < density


def distance_to_neighbours(image: Tensor) -> Tensor:
    """How far each pixel is from the mean of the neighbours that it has."""
    padded = torch.nn.functional.pad(image.double(), (1, 1, 1, 1), value=torch.nan)
    sides = torch.stack(
        [padded[:, 1:-1, :-2], padded[:, 1:-1, 2:], padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]]
    )
    return (sides.nanmean(dim=0) - image).abs().amax(dim=0)


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    st.integers(0, 50),
)
def test_masked_pixels_become_the_mean_of_their_neighbours(
    height: int, width: int, density: float, seed: int
) -> None:
    """Masked pixels are the mean of their neighbours and the others stay."""
    image, mask = noise(height, width, seed), mask_of(height, width, density, seed)
    mask[0, 0] = False
    restored = harmonic_fill(image, mask)
    assert torch.equal(restored[:, ~mask], image[:, ~mask])
    assert (
        distance_to_neighbours(restored)[mask].max().item() < 1e-4
        if mask.any()
        else torch.equal(restored, image)
    )


def test_a_harmonic_surface_comes_back() -> None:
    y, x = (
        axis / 128
        for axis in torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    )
    image, mask = torch.stack([x, x * y, x**2 - y**2]), torch.zeros(128, 128, dtype=torch.bool)
    mask[20:100, 30:110] = True
    torch.testing.assert_close(harmonic_fill(image, mask), image, atol=1 / 255, rtol=0)


def test_a_surface_level_across_the_border_is_restored() -> None:
    """A surface that is level across the border comes back there."""
    image = (torch.arange(128.0) / 128).expand(3, 100, 128)
    mask = torch.zeros(100, 128, dtype=torch.bool)
    mask[:60, 30:110] = True
    torch.testing.assert_close(harmonic_fill(image, mask), image, atol=1 / 255, rtol=0)


def test_what_is_under_the_mask_does_not_matter() -> None:
    image, mask = noise(40, 30), torch.zeros(40, 30, dtype=torch.bool)
    mask[10:30, 5:20] = True
    other = image.clone()
    other[:, mask] = torch.nan
    assert torch.equal(harmonic_fill(other, mask), harmonic_fill(image, mask))


def test_a_fully_masked_image_becomes_its_mean_colour() -> None:
    """An image that is masked altogether becomes its mean colour."""
    image = noise(5, 6)
    restored = harmonic_fill(image, torch.ones(5, 6, dtype=torch.bool))
    torch.testing.assert_close(restored, image.mean(dim=(1, 2))[:, None, None].expand(3, 5, 6))


@given(st.integers(1, 9), st.integers(0, 100))
def test_dilation_equals_that_of_opencv(kernel_size: int, seed: int) -> None:
    mask = mask_of(12, 17, 0.05, seed)
    expected = cv2.dilate(
        mask.numpy().astype(np.uint8), np.ones((kernel_size, kernel_size), np.uint8)
    )
    np.testing.assert_array_equal(dilate(mask, kernel_size).numpy(), expected.astype(bool))


def test_a_kernel_without_a_pixel_is_an_error() -> None:
    with pytest.raises(ValueError, match="kernel_size=0"):
        dilate(torch.ones(2, 2, dtype=torch.bool), 0)


def test_the_difference_is_the_grey_value_of_opencv() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (20, 30, 3)).astype(np.uint8) for _ in range(2))
    expected = cv2.cvtColor(cv2.absdiff(first, second), cv2.COLOR_RGB2GRAY)
    images = [torch.from_numpy(one).permute(2, 0, 1) / 255 for one in (first, second)]
    for threshold in (0, 15, 100):
        np.testing.assert_array_equal(
            difference_map(*images, threshold).numpy(), expected > threshold
        )
