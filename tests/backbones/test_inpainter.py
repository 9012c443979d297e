"""Inpainting: smooth without a network, or with a diffusion model whose package may be missing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from zsad.backbones.inpainter import DiffusionInpainter, HarmonicInpainter
from zsad.config import compose, instantiate

IMAGE = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
MASK = torch.zeros(40, 60, dtype=torch.bool)
MASK[10:20, 30:45] = True


class FakePipeline:
    """Fills with the noise it is given, and remembers what it was called with."""

    def __init__(self) -> None:
        self.device, self.calls = torch.device("meta"), []

    @classmethod
    def from_pretrained(cls, name: str, torch_dtype: torch.dtype, **_: Any) -> FakePipeline:
        pipeline = cls()
        pipeline.loaded = (Path(name).name, torch_dtype)
        return pipeline

    def set_progress_bar_config(self, disable: bool) -> None:
        self.silent = disable

    def to(self, device: torch.device) -> FakePipeline:
        self.device = device
        return self

    def __call__(
        self, image: Tensor, mask_image: Tensor, generator: torch.Generator, **given: Any
    ) -> Any:
        self.calls.append((image, mask_image, given))
        return SimpleNamespace(images=torch.rand(image.shape, generator=generator))


@pytest.fixture
def diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("diffusers")
    package.AutoPipelineForInpainting = FakePipeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffusers", package)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())


@pytest.fixture
def inpainter(diffusers: None, tmp_path: Path) -> DiffusionInpainter:
    return DiffusionInpainter(str(tmp_path), size_px=32, steps=2, device="cpu")


def test_a_harmonic_fill_keeps_all_other_pixels() -> None:
    """And stays between those around."""
    filled = HarmonicInpainter().restore(IMAGE, MASK)
    assert torch.equal(filled[:, ~MASK], IMAGE[:, ~MASK])
    around = IMAGE[:, 9:21, 29:46]
    assert (filled[:, MASK] >= around.amin(dim=(1, 2))[:, None] - 1e-4).all()
    assert (filled[:, MASK] <= around.amax(dim=(1, 2))[:, None] + 1e-4).all()


def test_a_diffusion_model_fills_the_region_alone_and_alike(inpainter: DiffusionInpainter) -> None:
    filled = inpainter.restore(IMAGE, MASK)
    assert torch.equal(filled[:, ~MASK], IMAGE[:, ~MASK])
    assert not torch.isclose(filled[:, MASK], IMAGE[:, MASK], atol=1e-3).all(dim=0).any()
    assert torch.equal(filled, inpainter.restore(IMAGE, MASK))


def test_a_diffusion_model_sees_a_square_and_every_masked_pixel(
    inpainter: DiffusionInpainter,
) -> None:
    speck = torch.zeros(500, 500, dtype=torch.bool)
    speck[250, 250] = True
    inpainter.restore(torch.rand(3, 500, 500), speck)
    pipeline = inpainter._pipeline
    image, mask, given = pipeline.calls[0]
    assert (image.shape, mask.shape) == ((1, 3, 32, 32), (1, 1, 32, 32))
    assert mask.sum() == 1
    assert (given["prompt"], given["num_inference_steps"], given["height"], given["width"]) == (
        "",
        2,
        32,
        32,
    )
    assert (pipeline.loaded[1], pipeline.device, pipeline.silent) == (
        torch.float32,
        torch.device("cpu"),
        True,
    )


def test_nothing_to_fill_needs_no_model(inpainter: DiffusionInpainter) -> None:
    assert torch.equal(inpainter.restore(IMAGE, torch.zeros_like(MASK)), IMAGE)
    assert inpainter._pipeline is None


@pytest.mark.usefixtures("diffusers")
def test_a_diffusion_model_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the inpainting model.*hf download"):
        DiffusionInpainter(str(tmp_path / "nowhere"), device="cpu").restore(IMAGE, MASK)


def test_without_the_package_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "zsad\[restoration\]".*inpainter=harmonic'):
        DiffusionInpainter("some/model")


@pytest.mark.usefixtures("diffusers")
@pytest.mark.parametrize("name", compose.choices("inpainter"))
def test_every_configured_inpainter_builds(name: str) -> None:
    choice = f"inpainter@callbacks.restoration.inpainter={name}"
    config = compose.compose_config("test", [choice, "paths.output_dir=/nowhere"])
    assert torch.equal(
        instantiate.build(config.callbacks.restoration.inpainter).restore(IMAGE, ~MASK & MASK),
        IMAGE,
    )
