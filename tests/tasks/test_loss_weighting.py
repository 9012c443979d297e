"""Weighted means of dealt-out batches are the means of the batches of one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler

from zsad.tasks.loss_weighting import LossWeights

COUNTS = st.integers(1, 4)


def dealt(images: int, processes: int, rank: int) -> list[int]:
    dataset: Any = range(images)
    return list(DistributedSampler(dataset, processes, rank, shuffle=False, drop_last=False))


@given(st.integers(1, 40), COUNTS, COUNTS, COUNTS)
def test_every_step_learns_the_mean_of_one_large_batch(
    images: int, batch_size: int, processes: int, accumulated: int
) -> None:
    value = torch.rand(images, generator=torch.Generator().manual_seed(images), dtype=torch.float64)
    batches = -(-len(dealt(images, processes, 0)) // batch_size)
    shares = LossWeights(images, batch_size, processes, batches, accumulated)
    large = batch_size * processes * accumulated
    for step, whole in enumerate(value.split(large)):
        learned = torch.zeros((), dtype=torch.float64)
        for rank in range(processes):
            own = dealt(images, processes, rank)
            for batch in range(step * accumulated, min((step + 1) * accumulated, batches)):
                some = own[batch * batch_size : (batch + 1) * batch_size]
                counted = some[: max(shares.images_of(batch, rank), 1)]
                # As the trainer does: the mean over processes of a sum divided by the batches.
                learned += (
                    shares.weight(batch, rank) * value[counted].mean() / accumulated / processes
                )
        torch.testing.assert_close(learned, whole.mean())


@given(st.integers(1, 40), COUNTS, COUNTS)
def test_every_image_counts_once_an_epoch(images: int, batch_size: int, processes: int) -> None:
    shares = LossWeights(images, batch_size, processes)
    counted = []
    for rank in range(processes):
        own = dealt(images, processes, rank)
        for batch in range(-(-len(own) // batch_size)):
            some = own[batch * batch_size : (batch + 1) * batch_size]
            counted += some[: shares.images_of(batch, rank)]
    assert sorted(counted) == list(range(images))


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_one_process_learns_its_batches_as_they_are(batch: int) -> None:
    shares = LossWeights(images=10, batch_size=4, batches=3)
    assert (shares.images_of(batch, 0), shares.weight(batch, 0)) == ([4, 4, 2][batch], 1.0)
