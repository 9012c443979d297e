"""Upsampling and smoothing against SciPy and by property."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from zsad.functional import resample
from zsad.functional.resample import gaussian_smooth, upsample


@pytest.mark.parametrize("shape", [(1, 7, 40), (3, 25, 25), (2, 1, 9)])
@pytest.mark.parametrize("sigma", [0.4, 1.0, 4.0, 8.0])
def test_smoothing_equals_scipy(shape: tuple, sigma: float) -> None:
    """Smoothing equals scipy even where the kernel is wider than the map."""
    maps = np.random.default_rng(0).random(shape).astype(np.float32)
    expected = np.stack([gaussian_filter(one, sigma=sigma) for one in maps])
    ours = gaussian_smooth(torch.from_numpy(maps), sigma)
    np.testing.assert_allclose(ours.numpy(), expected, atol=2e-6)


def test_a_constant_map_stays_and_zero_sigma_changes_nothing() -> None:
    constant = torch.full((1, 9, 9), 0.3)
    torch.testing.assert_close(gaussian_smooth(constant, 4.0), constant)
    noise = torch.rand(1, 9, 9)
    assert torch.equal(gaussian_smooth(noise, 0.0), noise)


def test_a_negative_sigma_is_an_error_with_its_value() -> None:
    with pytest.raises(ValueError, match=r"sigma_px must be 0 or more, got -1.0"):
        gaussian_smooth(torch.rand(1, 4, 4), -1.0)


def test_upsampling_keeps_a_ramp_a_ramp() -> None:
    ramp = torch.arange(4.0).repeat(1, 4, 1)
    big = upsample(ramp, (8, 8))
    assert big.shape == (1, 8, 8)
    torch.testing.assert_close(big[0, :, 1:-1].diff(), torch.full((8, 5), 0.5))


def test_a_large_map_is_smoothed_in_strips_that_do_not_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maps = torch.rand(2, 203, 31, generator=torch.Generator().manual_seed(0))
    whole = gaussian_smooth(maps, 2.0)
    monkeypatch.setattr(resample, "_STRIP_PX", 1)  # strips of 32 rows, the least for this sigma
    torch.testing.assert_close(gaussian_smooth(maps, 2.0), whole, atol=1e-6, rtol=0)


def test_a_row_goes_on_as_in_two_facing_mirrors() -> None:
    expected = np.pad(np.arange(3), (7, 5), mode="symmetric")
    assert resample.mirrored(3, -7, 8).tolist() == expected.tolist()
