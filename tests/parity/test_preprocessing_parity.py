"""Images and masks enter the network exactly as in the published AnomalyCLIP code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zsad.backbones.clip.build import OPENAI_MEAN, OPENAI_STD
from zsad.data.images import to_tensor
from zsad.data.masks import resize_mask, soft_mask

ONE_ROUNDING = 1e-6  # of values below 3: one float32 rounding of the normalisation


@pytest.fixture
def preprocessing_case(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    path: Path = request.param
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def _inputs(case: dict[str, np.ndarray], of_masks: bool) -> list[str]:
    """Names of the stored pictures: a mask comes out with two axes, an image with three."""
    names = [
        match[1]
        for key in case
        if (match := re.fullmatch(r"(.+)\.input", key)) and f"{match[1]}.output" in case
    ]
    chosen = [name for name in names if (case[f"{name}.output"].ndim == 2) == of_masks]
    if not chosen:
        pytest.skip(f"the file holds no {'masks' if of_masks else 'images'}")
    return chosen


def _normalize(image: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    return (image - mean) / std


def test_images_of_every_stored_mode(preprocessing_case: dict[str, np.ndarray]) -> None:
    for name in _inputs(preprocessing_case, of_masks=False):
        reference = preprocessing_case[f"{name}.output"]
        image = to_tensor(Image.fromarray(preprocessing_case[f"{name}.input"]), reference.shape[-1])
        np.testing.assert_allclose(
            _normalize(image).numpy(), reference, atol=ONE_ROUNDING, rtol=0, err_msg=name
        )


def test_masks_are_exact(preprocessing_case: dict[str, np.ndarray]) -> None:
    for name in _inputs(preprocessing_case, of_masks=True):
        mask, reference = (
            Image.fromarray(preprocessing_case[f"{name}.input"]),
            preprocessing_case[f"{name}.output"],
        )
        np.testing.assert_array_equal(resize_mask(mask, len(reference)).numpy(), reference, name)
        if f"{name}.resized" in preprocessing_case:
            soft = soft_mask(mask, len(reference)).numpy()
            np.testing.assert_array_equal(soft, preprocessing_case[f"{name}.resized"], name)
