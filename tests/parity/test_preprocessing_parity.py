"""Images and masks enter the network exactly as in the published AnomalyCLIP code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zsad.backbones.clip import OPENAI_MEAN, OPENAI_STD
from zsad.data.images import resize_mask, soft_mask, to_tensor

ONE_ROUNDING = 1e-6  # of values below 3: one float32 rounding of the normalisation


@pytest.fixture
def preprocessing_case(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    path: Path = request.param
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def _inputs(case: dict[str, np.ndarray], of_masks: bool) -> list[str]:
    names = [match[1] for key in case if (match := re.fullmatch(r"(.+)\.input", key))]
    chosen = [name for name in names if name.endswith(".mask") == of_masks]
    assert chosen, "the file holds no such case"
    return chosen


def _normalize(image: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    return (image - mean) / std


def test_images_of_every_stored_mode(preprocessing_case: dict[str, np.ndarray]) -> None:
    size = int(preprocessing_case["image_size"])
    for name in _inputs(preprocessing_case, of_masks=False):
        ours = _normalize(to_tensor(Image.fromarray(preprocessing_case[f"{name}.input"]), size)).numpy()
        np.testing.assert_allclose(ours, preprocessing_case[f"{name}.output"], atol=ONE_ROUNDING, rtol=0, err_msg=name)


def test_masks_are_exact(preprocessing_case: dict[str, np.ndarray]) -> None:
    size = int(preprocessing_case["image_size"])
    for name in _inputs(preprocessing_case, of_masks=True):
        mask = Image.fromarray(preprocessing_case[f"{name}.input"])
        np.testing.assert_array_equal(soft_mask(mask, size).numpy(), preprocessing_case[f"{name}.resized"], name)
        np.testing.assert_array_equal(resize_mask(mask, size).numpy(), preprocessing_case[f"{name}.output"], name)
