"""SAM 3, taken apart: the same as transformers' whole, however prompts are grouped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from zsad.backbones import hub
from zsad.backbones.sam3.build import build_random
from zsad.backbones.sam3.segmenter import SAM3Segmenter
from zsad.config import compose

RANDOM = yaml.safe_load((compose.CONF / "backbone" / "sam3_random.yaml").read_text())
RANDOM.pop("_target_")
PROMPTS = ("scratch", "broken part", "a long crack in the dark metal")


def segmenter_of(**changed: Any) -> SAM3Segmenter:
    return SAM3Segmenter(**{**RANDOM, **changed})


@pytest.fixture(scope="module")
def segmenter() -> SAM3Segmenter:
    return segmenter_of()


@pytest.fixture(scope="module")
def whole() -> Any:
    """The same network as transformers runs it."""
    return build_random(RANDOM["architecture"], RANDOM["input_size"])


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_prompts_in_one_pass_equal_transformers_for_each(
    segmenter: SAM3Segmenter, whole: Any, images: torch.Tensor
) -> None:
    found = segmenter.segment(
        segmenter.encode_image(images).select(1), segmenter.encode_text(PROMPTS), top_queries=4
    )
    for index, prompt in enumerate(PROMPTS):
        ids = segmenter._tokenize(prompt)
        is_word = torch.arange(32) <= (ids == 49407).int().argmax()
        expected = whole(
            pixel_values=images[1:] * 2 - 1, input_ids=ids, attention_mask=is_word[None].long()
        )
        best = expected.pred_logits[0].argsort(descending=True)[:4]
        torch.testing.assert_close(
            found.semantic[index], expected.semantic_seg[0, 0], rtol=0, atol=3e-6
        )
        torch.testing.assert_close(
            found.presence[index], expected.presence_logits[0, 0], rtol=0, atol=3e-6
        )
        torch.testing.assert_close(
            found.queries[index], expected.pred_logits[0, best], rtol=0, atol=3e-6
        )
        torch.testing.assert_close(
            found.boxes[index], expected.pred_boxes[0, best], rtol=0, atol=3e-6
        )
        torch.testing.assert_close(
            found.masks[index], expected.pred_masks[0, best], rtol=0, atol=3e-6
        )


@torch.no_grad()
def test_how_many_prompts_share_a_pass_changes_nothing(images: torch.Tensor) -> None:
    kept = []
    for prompt_chunk in (1, 2, 8):
        one = segmenter_of(prompt_chunk=prompt_chunk)
        kept.append(one.segment(one.encode_image(images).select(0), one.encode_text(PROMPTS)))
    for other in kept[1:]:
        torch.testing.assert_close(other.semantic, kept[0].semantic, rtol=0, atol=3e-6)
        torch.testing.assert_close(other.masks, kept[0].masks, rtol=0, atol=3e-6)


@torch.no_grad()
def test_each_prompt_goes_through_the_text_tower_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, read = segmenter_of(), []
    tower = one.towers["text"].forward
    monkeypatch.setattr(
        one.towers["text"], "forward", lambda **given: read.append(given) or tower(**given)
    )
    first = one.encode_text(["crack", "stain", "crack"])
    again = one.encode_text(["stain", "crack", "hole"])
    assert [len(given["input_ids"]) for given in read] == [2, 1]
    assert torch.equal(first.tokens[[1, 0]], again.tokens[:2])
    one.to(torch.float64)
    one.encode_text(["crack"])
    assert len(read) == 3, "known words of another precision were taken"


@torch.no_grad()
def test_images_are_resized_as_transformers_does_to_a_level(segmenter: SAM3Segmenter) -> None:
    from transformers import Sam3ImageProcessor

    levels = torch.randint(
        0, 256, (1, 3, 70, 190), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    processor = Sam3ImageProcessor(size={"height": 112, "width": 112})
    expected = processor(images=levels[0], return_tensors="pt")["pixel_values"]
    ours = segmenter.resize(levels / 255) * 2 - 1
    assert ours.shape == expected.shape
    assert float((ours - expected).abs().max()) <= 2 / 255 + 1e-6


@pytest.mark.parametrize("input_size", [56, 168])
@torch.no_grad()
def test_the_same_weights_serve_other_image_sizes(
    segmenter: SAM3Segmenter, whole: Any, tmp_path: Path, input_size: int
) -> None:
    whole.save_pretrained(tmp_path)
    other = SAM3Segmenter(str(tmp_path), input_size=input_size)
    for name, tensor in segmenter.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    found = other.segment(
        other.encode_image(torch.rand(1, 3, 40, 90)).select(0), other.encode_text(PROMPTS)
    )
    assert found.semantic.shape == (3, input_size // 14 * 4, input_size // 14 * 4)


@torch.no_grad()
def test_a_published_file_with_a_tracker_is_read(
    segmenter: SAM3Segmenter, whole: Any, tmp_path: Path, images: torch.Tensor
) -> None:
    whole.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "sam3_video", "detector_config": config})
    )
    state = load_file(tmp_path / "model.safetensors")
    state = {f"detector_model.{name}": tensor for name, tensor in state.items()}
    save_file(
        {**state, "tracker_model.memory": torch.zeros(3)},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    read = SAM3Segmenter(str(tmp_path), input_size=112)
    text = read.encode_text(PROMPTS)
    expected = segmenter.segment(segmenter.encode_image(images).select(0), text)
    assert torch.equal(
        read.segment(read.encode_image(images).select(0), text).masks, expected.masks
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@torch.no_grad()
def test_half_precision_is_near(segmenter: SAM3Segmenter, images: torch.Tensor, dtype: str) -> None:
    """And leaves positions and head exact."""
    half = segmenter_of(dtype=dtype)
    found = half.segment(half.encode_image(images).select(0), half.encode_text(PROMPTS))
    expected = segmenter.segment(
        segmenter.encode_image(images).select(0), segmenter.encode_text(PROMPTS)
    )
    assert {parameter.dtype for parameter in half.towers.parameters()} == {getattr(torch, dtype)}
    assert {parameter.dtype for parameter in half.head.parameters()} == {torch.float32}
    exact = dict(segmenter.towers.named_buffers())
    assert all(torch.equal(buffer, exact[name]) for name, buffer in half.towers.named_buffers())
    assert found.semantic.dtype == found.masks.dtype == torch.float32
    assert 0 < float((found.semantic - expected.semantic).abs().max()) < 0.02


def test_it_is_frozen_and_stays_in_eval_mode(segmenter: SAM3Segmenter) -> None:
    assert not any(parameter.requires_grad for parameter in segmenter.parameters())
    segmenter.train()
    assert not any(module.training for module in segmenter.modules())


def test_a_long_prompt_is_refused_with_both_lengths(segmenter: SAM3Segmenter) -> None:
    with pytest.raises(ValueError, match=r"'crack crack.*longer than the 32 tokens"):
        segmenter.encode_text(["hole", "crack " * 40])


def test_sizes_and_precisions_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="input_size=100 is no multiple of the patch of 14 px"):
        segmenter_of(input_size=100)
    with pytest.raises(ValueError, match=r"float64.*float32, bfloat16"):
        segmenter_of(dtype="float64")
    with pytest.raises(ValueError, match="needs architecture"):
        SAM3Segmenter(None)


def test_weights_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"SAM 3.*no folder.*nothing_here"):
        SAM3Segmenter(str(tmp_path / "nothing_here"))


def test_gated_weights_without_a_token_tell_where_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    from httpx import Request, Response
    from huggingface_hub.errors import GatedRepoError
    from transformers import Sam3Config

    def refused(name: str, **options: Any) -> None:
        answer = Response(403, request=Request("GET", "https://huggingface.co"))
        raise OSError(f"You are trying to access a gated repo {name}") from GatedRepoError(
            "gated", response=answer
        )

    monkeypatch.setattr(Sam3Config, "from_pretrained", refused)
    monkeypatch.setattr(hub, "can_resolve", lambda page: True)
    with pytest.raises(FileNotFoundError, match=r"SAM 3 facebook/sam3 is gated.*hf auth login"):
        SAM3Segmenter()
