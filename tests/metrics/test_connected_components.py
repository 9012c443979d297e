"""Regions are 8-connected, and weigh the same whatever their size."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage import measure

from zsad.metrics.connected_components import label_regions, region_weights

MASKS = arrays(
    bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.booleans()
)


@given(MASKS)
def test_regions_equal_those_of_scikit_image(mask):
    ours, theirs = (
        label_regions(torch.from_numpy(mask)).numpy(),
        measure.label(mask, connectivity=2),
    )
    pairs = np.unique(np.stack((ours, theirs)).reshape(2, -1), axis=1)
    assert (
        len(set(pairs[0])) == len(set(pairs[1])) == pairs.shape[1]
    )  # one name for one region, both ways


@given(MASKS)
def test_the_weights_of_each_region_sum_to_one(mask):
    """They come in the order of the pixels."""
    weights = region_weights(torch.from_numpy(mask))
    labels = measure.label(mask, connectivity=2)[mask]
    for region in range(1, labels.max(initial=0) + 1):
        assert weights[torch.from_numpy(labels == region)].sum().item() == pytest.approx(1)
    assert len(weights) == mask.sum()
