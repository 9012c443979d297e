"""What is in a picture: fixed words, CLIP over a list, and RAM where its package is installed."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP
from zsad.config import compose, instantiate
from zsad.prompts.object_tagger import CLIPTagger, RAMTagger, StaticTagger, parse_tags

IMAGE = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def clip() -> CLIP:
    return CLIP(pretrained="pocket")


def test_the_name_of_a_category_is_a_tag_as_it_is_spoken() -> None:
    assert StaticTagger().tags(IMAGE, "metal_nut") == ["metal nut"]
    assert StaticTagger(["{}", "surface", "surface"]).tags(IMAGE, "leather") == [
        "leather",
        "surface",
    ]


def test_fixed_words_are_a_list() -> None:
    with pytest.raises(ValueError, match="expected a list of tags"):
        StaticTagger("surface")


def test_clip_ranks_words_as_its_cosines_do(clip: CLIP) -> None:
    from zsad.backbones.clip.tokenizer import tokenize

    nouns = ["carpet", "bottle", "grid", "wood", "screw"]
    side = clip.native_size
    small = nn.functional.interpolate(
        IMAGE[None], size=(side, side), mode="bicubic", antialias=True
    ).clamp(0, 1)
    seen = clip.encode_image(clip.normalize(small)).image
    text = clip.encode_text(tokenize([f"a photo of a {noun}." for noun in nouns]))
    cosines = nn.functional.cosine_similarity(seen, text)
    expected = [noun for _, noun in sorted(zip(cosines.tolist(), nouns, strict=True), reverse=True)]
    assert CLIPTagger(clip, nouns, count=9).tags(IMAGE, "") == expected
    assert CLIPTagger(clip, nouns, count=2).tags(IMAGE, "") == expected[:2]


def test_clip_does_not_depend_on_the_order_of_the_list(clip: CLIP) -> None:
    nouns = ["carpet", "bottle", "grid", "wood", "screw"]
    assert CLIPTagger(clip, nouns).tags(IMAGE, "") == CLIPTagger(clip, nouns[::-1]).tags(IMAGE, "")


def test_clip_encodes_its_words_once(clip: CLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, encode = [], clip.encode_text
    monkeypatch.setattr(
        clip, "encode_text", lambda tokens: calls.append(len(tokens)) or encode(tokens)
    )
    tagger = CLIPTagger(clip, ["carpet", "bottle"], templates=["a {}.", "the {}."])
    assert tagger.tags(IMAGE, "") == tagger.tags(IMAGE, "")
    assert calls == [4]


def test_clip_needs_words(clip: CLIP) -> None:
    with pytest.raises(ValueError, match="got 0 nouns"):
        CLIPTagger(clip, [])


def test_tags_of_ram_are_read_in_order_and_once() -> None:
    assert parse_tags(" leather | close-up | red  cloth|leather|number |") == [
        "leather",
        "red cloth",
    ]


def test_ram_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"not on PyPI.*recognize-anything.*tagger@model.method.tagger=clip"
    ):
        RAMTagger(tmp_path / "ram.pth")


class FakeRAM(nn.Module):
    def __init__(self, pretrained: str, image_size: int, vit: str) -> None:
        super().__init__()
        self.given = (Path(pretrained).name, image_size, vit)
        self.weight = nn.Parameter(torch.zeros(1))

    def generate_tag(self, image: Tensor) -> Any:
        self.image = image
        return ["leather | close-up | brown"], ["皮革"]


@pytest.fixture
def ram_package(monkeypatch: pytest.MonkeyPatch) -> None:
    package, models = ModuleType("ram"), ModuleType("ram.models")
    models.ram = FakeRAM  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ram", package)
    monkeypatch.setitem(sys.modules, "ram.models", models)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())


@pytest.mark.usefixtures("ram_package")
def test_ram_sees_a_normalised_square_and_is_frozen(tmp_path: Path) -> None:
    (tmp_path / "ram.pth").touch()
    tagger = RAMTagger(tmp_path / "ram.pth")
    assert tagger.tags(torch.full((3, 30, 50), 0.5), "") == ["leather", "brown"]
    assert tagger.model.given == ("ram.pth", 384, "swin_l")
    assert tagger.model.image.shape == (1, 3, 384, 384)
    torch.testing.assert_close(
        tagger.model.image[0, 0, 0, 0].item(), (0.5 - 0.485) / 0.229, atol=1e-5, rtol=0
    )
    assert not any(parameter.requires_grad for parameter in tagger.parameters())


@pytest.mark.usefixtures("ram_package")
def test_ram_without_weights_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"fetch ram_swin_large_14m\.pth"):
        RAMTagger(tmp_path / "ram.pth")


def test_what_is_configured_for_ram_is_what_it_takes() -> None:
    choices = ["model=dot", "backbone=grounded_sam_random", "tagger@model.method.tagger=ram"]
    config = compose.compose_config("test", [*choices, "paths.output_dir=/nowhere"])
    inspect.signature(RAMTagger).bind(
        **{key: value for key, value in config.model.method.tagger.items() if key[0] != "_"}
    )


@pytest.mark.parametrize("name", ["static", "clip"])
def test_every_tagger_without_extra_packages_finds_tags(name: str) -> None:
    """Every configured tagger that needs no package names something."""
    pocket = ["backbone@model.method.tagger.backbone=pocket"] if name == "clip" else []
    choices = [
        "model=dot",
        "backbone=grounded_sam_random",
        f"tagger@model.method.tagger={name}",
        *pocket,
    ]
    tagger = instantiate.build(
        compose.compose_config("test", [*choices, "paths.output_dir=/nowhere"]).model.method.tagger
    )
    assert tagger.tags(IMAGE, "zipper")
