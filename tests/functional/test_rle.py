"""Masks come back from their runs, and the runs are COCO's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from zsad.functional.rle import area, decode, encode
from zsad.types import RunLengths

MASKS = arrays(
    bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.booleans()
)


def slow_counts(mask: np.ndarray) -> list[int]:
    """Count as COCO's ``binary_mask_to_rle`` does."""
    counts, inside = [0], False
    for value in mask.flatten(order="F").tolist():
        if value != inside:
            counts.append(0)
            inside = value
        counts[-1] += 1
    return counts


@given(MASKS)
def test_a_mask_comes_back(mask: np.ndarray) -> None:
    runs = encode(torch.from_numpy(mask))
    assert runs.size == mask.shape
    np.testing.assert_array_equal(decode(runs).numpy(), mask)


@given(MASKS)
def test_the_runs_and_the_area_are_those_of_a_slow_loop(mask: np.ndarray) -> None:
    runs = encode(torch.from_numpy(mask))
    assert runs.counts.dtype == torch.int64
    assert runs.counts.tolist() == slow_counts(mask)
    assert area(runs) == mask.sum()


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_a_mask_without_pixels_comes_back(shape: tuple[int, int]) -> None:
    mask = torch.zeros(shape, dtype=torch.bool)
    assert decode(encode(mask)).shape == shape
    assert area(encode(mask)) == 0


def test_a_view_of_a_larger_mask_comes_back() -> None:
    mask = torch.rand(9, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    view = mask.T[1:7, 2:5]
    assert torch.equal(decode(encode(view)), view)


def test_runs_that_do_not_fill_the_mask_are_an_error() -> None:
    """Runs that do not fill the mask are an error with both numbers."""
    with pytest.raises(ValueError, match="runs of 5 pixels in all, but the mask has 2 x 3"):
        decode(RunLengths((2, 3), torch.tensor([2, 3])))


def test_a_blob_takes_less_than_a_hundredth_of_its_memory() -> None:
    """A blob of a megapixel takes less than a hundredth of its memory."""
    y, x = torch.meshgrid(torch.arange(1024), torch.arange(1024), indexing="ij")
    blob = (y - 500) ** 2 + (x - 300) ** 2 < 200**2
    assert encode(blob).counts.nbytes * 100 < blob.nbytes
