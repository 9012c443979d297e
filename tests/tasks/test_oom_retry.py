"""If a batch does not fit into memory, its halves do, with the same predictions."""

from __future__ import annotations

import logging

import pytest
import torch

from zsad.tasks.oom_retry import HalveOnOutOfMemory
from zsad.types import Detections, Prediction


class Small:
    """A method that runs out of memory from a number of images on."""

    def __init__(self, room):
        self.room, self.sizes = room, []

    def __call__(self, image, category):
        self.sizes.append(len(image))
        if len(image) > self.room:
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB")
        found = (Detections(torch.zeros(1, 4), torch.ones(1), (name,)) for name in category)
        return Prediction(image.mean(1), image.sum((1, 2, 3)), tuple(found))


IMAGES, NAMES = torch.rand(7, 3, 4, 4, generator=torch.Generator().manual_seed(0)), tuple("abcdefg")


@pytest.mark.parametrize("room", [1, 2, 3, 6])
def test_halves_predict_what_the_whole_would(room, caplog):
    whole = Small(room=7)(IMAGES, NAMES)
    with caplog.at_level(logging.WARNING, "zsad"):
        halves = HalveOnOutOfMemory()(Small(room), IMAGES, NAMES)
    assert torch.equal(halves.map, whole.map)
    assert torch.equal(halves.score, whole.score)
    assert [one.phrases for one in halves.detections] == [(name,) for name in NAMES]
    assert "out of memory with 7 images at once, continuing with 4" in caplog.text


def test_what_did_not_fit_is_not_tried_again():
    method, in_halves = Small(room=2), HalveOnOutOfMemory()
    for _ in range(2):
        in_halves(method, IMAGES[:4], NAMES[:4])
    assert method.sizes == [4, 2, 2, 2, 2]


def test_a_batch_that_fits_is_not_cut():
    method = Small(room=7)
    HalveOnOutOfMemory()(method, IMAGES, NAMES)
    assert method.sizes == [7]


def test_a_single_image_without_room_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        HalveOnOutOfMemory()(Small(room=0), IMAGES, NAMES)
