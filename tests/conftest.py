"""Switches and fixtures that more than one room of the tests needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
sys.path.insert(
    0, str(TESTS / "golden")
)  # tiny_clip.py: regenerates the weights of the golden vectors

# The same examples in every run: a random draw must not decide whether a change may land.
# To search for new examples: HYPOTHESIS_PROFILE=searching pytest …
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("searching", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        type=Path,
        default=TESTS / "golden",
        metavar="DIR",
        help="folder of golden vectors for tests/parity (default: the project's own, tests/golden)",
    )


@pytest.fixture
def tiny_backbone():
    """A random CLIP of OpenAI's structure: 56 px, patch 14, four blocks.

    It is small enough to build in every test.
    """
    from zsad.backbones.clip.model import CLIP

    architecture = {
        "embed_dim": 64,
        "vision_cfg": {
            "image_size": 56,
            "patch_size": 14,
            "width": 128,
            "layers": 4,
            "head_width": 64,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 64,
            "heads": 1,
            "layers": 4,
        },
    }
    return CLIP(pretrained=None, architecture=architecture)


@pytest.fixture
def random_batch():
    """One normal and one defective image of 56 px."""
    import torch

    from zsad.types import Batch

    mask = torch.zeros(2, 56, 56, dtype=torch.bool)
    mask[1, 10:30, 20:40] = True
    return Batch(
        image=torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0)),
        mask=mask,
        has_mask=torch.tensor([True, True]),
        is_anomalous=torch.tensor([False, True]),
        category=("nut", "nut"),
        defect=("good", "scratch"),
        path=("good/0.png", "scratch/0.png"),
    )
