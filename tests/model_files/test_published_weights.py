"""Published AnomalyCLIP and DHR-CLIP checkpoints load, and ours can be written in their form."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_clip as golden_weights
import torch
from safetensors.torch import save_file
from torch import Tensor

from zsad.backbones.clip.model import CLIP
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.methods.dhrclip import DHRCLIP
from zsad.model_files import learned, published_weights
from zsad.model_files.checkpoint_fit import load_learned_state
from zsad.model_files.exported_prompts import save_prompts
from zsad.prompts.learnable import ObjectAgnosticPrompts

DEPTH = 4


@pytest.fixture(scope="module")
def clip_state() -> dict[str, Any]:
    return golden_weights.tiny_clip_state_dict(
        5,
        image_size=28,
        vision_width=64,
        vision_layers=2,
        embed_dim=32,
        text_width=64,
        text_layers=DEPTH,
    )


@pytest.fixture
def method(clip_state: dict[str, Any], tmp_path: Path) -> AnomalyCLIP:
    path = tmp_path / "clip.safetensors"
    save_file({name: torch.from_numpy(array) for name, array in clip_state.items()}, path)
    return AnomalyCLIP(
        CLIP(pretrained=str(path)), prompts=partial(ObjectAgnosticPrompts, deep_blocks=DEPTH)
    )


@pytest.fixture
def published(clip_state: dict[str, Any], method: AnomalyCLIP) -> dict[str, dict[str, Tensor]]:
    """A checkpoint of exactly the published form, dead keys included."""
    tokens = method.prompts.tokens.numpy()
    learner = golden_weights.tiny_prompt_learner_state_dict(
        5, clip_state, tokens[0], tokens[1], depth=DEPTH
    )
    return {
        "prompt_learner": {name: torch.from_numpy(array.copy()) for name, array in learner.items()}
    }


def test_a_published_checkpoint_loads_its_live_tensors(
    method: AnomalyCLIP, published: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    """And ignores the dead ones."""
    path = tmp_path / "epoch_15.pth"
    torch.save(published, path)
    load_learned_state(method, learned.read_learned_state(path), str(path))
    learner = published["prompt_learner"]
    assert torch.equal(method.prompts.normal, learner["ctx_pos"][0, 0])
    assert torch.equal(method.prompts.anomalous, learner["ctx_neg"][0, 0])
    for index in range(DEPTH - 1):
        assert torch.equal(method.prompts.deep[index], learner[f"compound_prompts_text.{index}"])


def test_a_published_file_of_either_code_serves_both_methods(
    method: AnomalyCLIP, published: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    path = tmp_path / "epoch_15.pth"
    torch.save(published, path)
    other = DHRCLIP(method.backbone, prompts=partial(ObjectAgnosticPrompts, deep_blocks=DEPTH))
    for learner in (method, other):
        load_learned_state(learner, learned.read_learned_state(path), str(path))
    assert torch.equal(other.text_features(), method.text_features())
    published["prompt_learner"]["token_suffix_neg"] += 0.5
    torch.save(published, path)
    with pytest.raises(ValueError, match="learned with another text tower"):
        load_learned_state(other, learned.read_learned_state(path), str(path))


def test_exports_have_the_published_keys_and_shapes(
    method: AnomalyCLIP, published: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    """And the frozen copies."""
    path = tmp_path / "export.pth"
    save_prompts(path, method, {})
    ours, theirs = (
        torch.load(path, weights_only=True)["prompt_learner"],
        published["prompt_learner"],
    )
    assert {name: (tuple(t.shape), t.dtype) for name, t in ours.items()} == {
        name: (tuple(t.shape), t.dtype) for name, t in theirs.items()
    }
    for name in theirs:
        if name.startswith("token"):
            assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_export_and_load_is_the_identity(method: AnomalyCLIP, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"prompts{suffix}"
    before = {name: tensor.clone() for name, tensor in learned.learned_tensors(method).items()}
    save_prompts(path, method, {"method": "AnomalyCLIP"})
    with torch.no_grad():
        for parameter in method.prompts.parameters():
            parameter.zero_()
    load_learned_state(method, learned.read_learned_state(path), str(path))
    assert all(
        torch.equal(tensor, before[name])
        for name, tensor in learned.learned_tensors(method).items()
    )


def test_a_checkpoint_learned_with_another_text_tower_is_refused(
    method: AnomalyCLIP, published: dict[str, dict[str, Tensor]]
) -> None:
    published["prompt_learner"]["token_suffix_pos"] += 0.5
    with pytest.raises(ValueError, match="learned with another text tower"):
        published_weights.check_published_backbone(published, method.prompts.embed(method.backbone))


def test_a_prompt_learner_without_its_tensors_is_refused(
    published: dict[str, dict[str, Tensor]],
) -> None:
    del published["prompt_learner"]["ctx_neg"]
    with pytest.raises(ValueError, match=r"lacks \['ctx_neg'\]"):
        published_weights.read_published(published)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ctx_pos", "text", r"ctx_pos: expected a tensor of 4 axes, got str"),
        (
            "ctx_neg",
            torch.zeros(12, 64),
            r"ctx_neg: expected a tensor of 4 axes, got shape \(12, 64\)",
        ),
        (
            "ctx_neg",
            torch.zeros(2, 1, 12, 64),
            r"one class and one template, got ctx_neg of shape \(2, 1, 12, 64\)",
        ),
        ("token_suffix_neg", None, r"token_suffix_neg: expected a tensor of 4 axes, got NoneType"),
        (
            "compound_prompts_text.1",
            torch.zeros(64),
            r"compound_prompts_text.1: expected a tensor of 2 axes",
        ),
        ("compound_prompts_text.1", torch.zeros(3, 64), r"deep prompts of one shape.*\(3, 64\)"),
        (
            "compound_prompts_text.x",
            torch.zeros(4, 64),
            r"numbered from 0 without gaps.*compound_prompts_text.x",
        ),
        (
            "compound_prompts_text.7",
            torch.zeros(4, 64),
            r"numbered from 0 without gaps.*compound_prompts_text.7",
        ),
    ],
)
def test_an_entry_of_another_kind_or_shape_is_refused_by_name(
    published: dict[str, dict[str, Tensor]], name: str, value: Any, message: str
) -> None:
    published["prompt_learner"][name] = value
    with pytest.raises(ValueError, match=message):
        published_weights.read_published(published)


@pytest.mark.parametrize("deep_tokens", [1, 4, 20])
def test_a_checkpoint_without_deep_prompts_loads(
    clip_state: dict[str, Any], method: AnomalyCLIP, tmp_path: Path, deep_tokens: int
) -> None:
    """Whatever their number of tokens."""
    prompts = partial(ObjectAgnosticPrompts, deep_blocks=1, deep_tokens=deep_tokens)
    shallow = AnomalyCLIP(method.backbone, prompts=prompts)
    tokens = shallow.prompts.tokens.numpy()
    learner = golden_weights.tiny_prompt_learner_state_dict(
        5, clip_state, tokens[0], tokens[1], depth=1
    )
    torch.save(
        {"prompt_learner": {name: torch.from_numpy(a.copy()) for name, a in learner.items()}},
        tmp_path / "p.pth",
    )
    load_learned_state(shallow, learned.read_learned_state(tmp_path / "p.pth"), "p.pth")
    assert torch.equal(shallow.prompts.normal, torch.from_numpy(learner["ctx_pos"])[0, 0])
    for suffix in (".pth", ".safetensors"):
        save_prompts(tmp_path / f"again{suffix}", shallow, {})
        load_learned_state(shallow, learned.read_learned_state(tmp_path / f"again{suffix}"), suffix)
    assert shallow.text_features().shape == (2, 32)


def test_no_block_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="deep_blocks=0: expected 1"):
        ObjectAgnosticPrompts(64, deep_blocks=0)
