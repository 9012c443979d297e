"""The frozen CLIP: plain CLIP when asked for nothing else, at any size, in any precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from zsad.backbones.clip import weights
from zsad.backbones.clip.build import OPENAI_MEAN, OPENAI_STD
from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.positions import resize_positions
from zsad.backbones.clip.tokenizer import tokenize
from zsad.backbones.clip.value_attention import dual_block


def image(size: int | tuple[int, int], count: int = 2) -> Tensor:
    height, width = (size, size) if isinstance(size, int) else size
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_native_size_equals_open_clips_own_output(tiny_clip: CLIP) -> None:
    """Without value–value attention."""
    x = tiny_clip.normalize(image(tiny_clip.native_size))
    ours = tiny_clip.encode_image(x).image
    torch.testing.assert_close(ours, tiny_clip.model.encode_image(x), atol=1e-5, rtol=1e-5)


def test_text_cut_at_the_end_token_equals_open_clips_full_length(tiny_clip: CLIP) -> None:
    tokens = tokenize(["a photo of a scratched metal nut.", "object"])
    torch.testing.assert_close(
        tiny_clip.encode_text(tokens), tiny_clip.model.encode_text(tokens), atol=1e-5, rtol=1e-5
    )


def test_value_path_equals_a_plain_loop_over_heads(tiny_clip: CLIP) -> None:
    block = tiny_clip.model.visual.transformer.resblocks[0]
    x = torch.randn(2, 5, 128, generator=torch.Generator().manual_seed(1))
    _, ours = dual_block(block, x, None, num_query_tokens=None, with_value_path=True)
    value = torch.nn.functional.linear(
        block.ln_1(x), block.attn.in_proj_weight[256:], block.attn.in_proj_bias[256:]
    )
    heads = [torch.softmax(head @ head.mT / 8, dim=-1) @ head for head in value.split(64, dim=-1)]
    expected = x + block.attn.out_proj(torch.cat(heads, dim=-1))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_taps_do_not_depend_on_which_other_blocks_are_tapped(tiny_clip: CLIP) -> None:
    x = tiny_clip.normalize(image(56))
    several = tiny_clip.encode_image(x, blocks=[2, 4], value_attention_from=2)
    alone = tiny_clip.encode_image(x, blocks=[2], value_attention_from=2)
    torch.testing.assert_close(several.tokens[0], alone.tokens[0])
    torch.testing.assert_close(several.image, alone.image)


def test_taps_come_in_the_order_they_were_asked_for(tiny_clip: CLIP) -> None:
    x = tiny_clip.normalize(image(56))
    forwards, backwards = (
        tiny_clip.encode_image(x, blocks=blocks).tokens for blocks in ([1, 4], [4, 1])
    )
    torch.testing.assert_close(forwards[0], backwards[1])


def test_global_feature_does_not_depend_on_the_rows_kept(tiny_clip: CLIP) -> None:
    """Whether or not the last block keeps all rows."""
    x = tiny_clip.normalize(image(56))
    full = tiny_clip.encode_image(
        x, blocks=[tiny_clip.depth]
    )  # a plain tap of the last block needs every row
    lean = tiny_clip.encode_image(x)
    torch.testing.assert_close(full.image, lean.image, atol=1e-5, rtol=1e-5)


def test_a_batch_gives_what_its_images_give_alone(tiny_clip: CLIP) -> None:
    x = tiny_clip.normalize(image(56, count=3))
    together = tiny_clip.encode_image(x, blocks=[4], value_attention_from=2)
    for row in range(3):
        alone = tiny_clip.encode_image(x[row : row + 1], blocks=[4], value_attention_from=2)
        torch.testing.assert_close(
            together.tokens[0][row], alone.tokens[0][0], atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("size", [(28, 28), (70, 42), (112, 112)])
def test_any_multiple_of_the_patch_is_a_valid_size(tiny_clip: CLIP, size: tuple[int, int]) -> None:
    features = tiny_clip.encode_image(
        tiny_clip.normalize(image(size)), blocks=[4], value_attention_from=2
    )
    assert features.grid == (size[0] // 14, size[1] // 14)
    assert features.tokens[0].shape == (2, 1 + features.grid[0] * features.grid[1], 64)


def test_seeing_another_size_in_between_changes_nothing(tiny_clip: CLIP) -> None:
    x = tiny_clip.normalize(image(70))
    before = tiny_clip.encode_image(x).image
    tiny_clip.encode_image(tiny_clip.normalize(image(28)))
    torch.testing.assert_close(tiny_clip.encode_image(x).image, before, atol=0, rtol=0)


def test_positions_keep_the_class_row_and_ramps() -> None:
    ramp = torch.arange(4.0).repeat(4, 1).flatten()[:, None]  # rises with the column
    table = torch.cat([torch.tensor([[9.0]]), ramp])
    resized = resize_positions(table, (4, 4), (2, 8))
    assert resized[0] == 9
    grid = resized[1:].view(2, 8)
    torch.testing.assert_close(grid[0], grid[1])
    torch.testing.assert_close(grid[0, 1:-1].diff(), torch.full((5,), 0.5))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.03), (torch.float16, 0.01)])
def test_half_precisions_agree_with_float32(
    tiny_clip: CLIP, dtype: torch.dtype, bound: float
) -> None:
    x = tiny_clip.normalize(image(56))
    reference = tiny_clip.encode_image(x, blocks=[4], value_attention_from=2)
    half = tiny_clip.to(dtype).encode_image(x.to(dtype), blocks=[4], value_attention_from=2)
    assert half.tokens[0].dtype == dtype
    for ours, expected in ((half.image, reference.image), (half.tokens[0], reference.tokens[0])):
        cosine = torch.nn.functional.cosine_similarity(ours.float(), expected, dim=-1)
        assert float(1 - cosine.min()) < bound


def test_autocast_runs_the_tower_in_bfloat16(tiny_clip: CLIP) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = tiny_clip.encode_image(
            tiny_clip.normalize(image(56)), blocks=[4], value_attention_from=2
        )
    assert features.tokens[0].dtype == torch.bfloat16


def test_it_stays_frozen_and_in_eval_mode_inside_a_parent(tiny_clip: CLIP) -> None:
    parent = torch.nn.Sequential(tiny_clip).train()
    assert not any(module.training for module in tiny_clip.modules())
    assert not any(parameter.requires_grad for parameter in parent.parameters())
    assert not tiny_clip.encode_image(tiny_clip.normalize(image(56))).image.requires_grad


def test_gradients_pass_the_frozen_text_tower(tiny_clip: CLIP) -> None:
    tokens = tokenize(["object"])
    embedded = tiny_clip.embed_tokens(tokens).clone().requires_grad_()
    tiny_clip.encode_prompts(embedded, tokens.argmax(dim=-1)).sum().backward()
    assert embedded.grad is not None
    assert embedded.grad[0, :3].abs().sum() > 0
    assert embedded.grad[0, 3:].abs().sum() == 0  # padding cannot matter under a causal mask


def test_deep_prompts_replace_rows_after_the_first(tiny_clip: CLIP) -> None:
    tokens = tokenize(["X X X object"])
    embedded, end = tiny_clip.embed_tokens(tokens), tokens.argmax(dim=-1)
    deep = torch.zeros(1, 1, 2, 64)
    plain, replaced = (
        tiny_clip.encode_prompts(embedded, end),
        tiny_clip.encode_prompts(embedded, end, tuple(deep)),
    )
    assert (plain - replaced).abs().max() > 1e-4


def test_too_many_deep_prompts_are_refused_with_both_numbers(tiny_clip: CLIP) -> None:
    tokens = tokenize(["object"])
    deep = tuple(torch.zeros(tiny_clip.text_depth, 1, 1, 64))
    with pytest.raises(ValueError, match=r"3 deep prompts need more than the 3 blocks"):
        tiny_clip.encode_prompts(tiny_clip.embed_tokens(tokens), tokens.argmax(dim=-1), deep)


def test_a_size_that_does_not_divide_names_one_that_does(tiny_clip: CLIP) -> None:
    with pytest.raises(
        ValueError, match=r"60 × 60 px do not divide into patches of 14 px.*such as 56"
    ):
        tiny_clip.encode_image(tiny_clip.normalize(image(60)))


def test_a_block_that_does_not_exist_is_an_error(tiny_clip: CLIP) -> None:
    with pytest.raises(ValueError, match=r"\[24\] do not all exist: this tower has blocks 1 to 4"):
        tiny_clip.encode_image(tiny_clip.normalize(image(56)), blocks=[24])


def test_blocks_of_another_tower_keep_their_relative_depth(tiny_clip: CLIP) -> None:
    assert [tiny_clip.block_at(block, of=24) for block in (1, 6, 12, 18, 24)] == [1, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="block 25 is not one of the 24"):
        tiny_clip.block_at(25, of=24)


def test_random_weights_repeat_and_leave_the_stream_alone(tiny_clip: CLIP) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = CLIP(pretrained=None, architecture=ARCHITECTURE)
    assert torch.equal(torch.rand(1), expected)
    for one, other in zip(tiny_clip.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "name", ["ViT-B-32", "ViT-B-16", "ViT-B-16-plus-240", "ViT-L-14", "ViT-L-14-336", "ViT-H-14"]
)
def test_every_openai_shaped_vit_of_open_clip_is_accepted(name: str) -> None:
    architecture = open_clip.get_model_config(name)
    for tower in ("vision_cfg", "text_cfg"):
        architecture[tower]["layers"] = 1
    CLIP(pretrained=None, architecture=architecture)


@pytest.mark.parametrize("name", ["RN50", "coca_ViT-B-32", "ViT-B-16-SigLIP"])
def test_other_structures_are_refused_with_names_that_work(name: str) -> None:
    with pytest.raises(ValueError, match="OpenAI's structure"):
        CLIP(pretrained=None, architecture=open_clip.get_model_config(name))


def quick_gelu(backbone: CLIP) -> set[bool]:
    """Which GELUs the two towers run."""
    blocks = [*backbone.model.visual.transformer.resblocks, *backbone.model.transformer.resblocks]
    return {type(block.mlp.gelu).__name__ == "QuickGELU" for block in blocks}


def build_as(
    model_name: str | None,
    pretrained: str | None,
    monkeypatch: pytest.MonkeyPatch,
    architecture: dict[str, Any] | None = None,
    **given: Any,
) -> CLIP:
    """Build the tiny tower under the name of another, whose weights nobody has here."""
    monkeypatch.setattr(weights, "locate", lambda *_: None)
    return CLIP(model_name, pretrained, architecture=architecture or ARCHITECTURE, **given)


@pytest.mark.parametrize(
    ("model_name", "pretrained", "expected"),
    [
        ("ViT-L-14-336", "openai", True),
        ("ViT-B-32", "laion2b_s34b_b79k", False),
        ("ViT-B-32", "laion400m_e32", True),
        ("ViT-H-14", "laion2b_s32b_b79k", False),
        ("ViT-H-14", "dfn5b", True),
        ("ViT-L-14", "/weights/clip.pt", True),  # OpenAI published this architecture …
        ("ViT-H-14", "/weights/clip.pt", False),  # … and not this one
        ("ViT-H-14-quickgelu", "/weights/clip.pt", True),
        (None, "/weights/clip.pt", True),
        (None, None, True),
    ],
)
def test_the_kind_of_gelu_is_that_of_the_weights(
    model_name: str | None, pretrained: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quick_gelu(build_as(model_name, pretrained, monkeypatch)) == {expected}
    opposite = build_as(model_name, pretrained, monkeypatch, quick_gelu=not expected)
    assert quick_gelu(opposite) == {not expected}


def test_an_architecture_that_names_its_gelu_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = build_as(None, None, monkeypatch, ARCHITECTURE | {"quick_gelu": False})
    assert quick_gelu(backbone) == {False}


def test_pixels_are_normalised_as_for_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless told otherwise."""
    tagged = build_as("ViT-B-16-SigLIP", "webli", monkeypatch)
    assert tagged.mean.flatten().tolist() == tagged.std.flatten().tolist() == [0.5, 0.5, 0.5]
    told = build_as("ViT-B-16-SigLIP", "webli", monkeypatch, mean=(0.0, 0.25, 1.0))
    assert (told.mean.flatten().tolist(), told.std.flatten().tolist()) == (
        [0.0, 0.25, 1.0],
        [0.5, 0.5, 0.5],
    )
    torch.testing.assert_close(
        build_as(None, None, monkeypatch).mean.flatten(), torch.tensor(OPENAI_MEAN)
    )


def test_a_hub_model_is_set_up_as_its_own_configuration_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = {"model_cfg": {"quick_gelu": True}, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    monkeypatch.setattr(
        open_clip.pretrained, "download_pretrained_from_hf", lambda _, filename: tmp_path / filename
    )
    backbone = build_as("hf-hub:someone/clip", None, monkeypatch)
    assert quick_gelu(backbone) == {True}
    torch.testing.assert_close(backbone.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(backbone.std.flatten(), torch.tensor(OPENAI_STD))


ARCHITECTURE = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 56, "patch_size": 14, "width": 128, "layers": 4, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 3},
}


@pytest.fixture
def tiny_clip() -> CLIP:
    return CLIP(pretrained=None, architecture=ARCHITECTURE)
