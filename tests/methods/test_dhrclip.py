"""DHR-CLIP beyond the goldens: views, fusion, repairs and their published counterparts,
configurations.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from zsad.backbones.clip.model import CLIP
from zsad.config import compose
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.methods.dhrclip import DHRCLIP
from zsad.model_files import learned
from zsad.model_files.checkpoint_fit import load_learned_state
from zsad.model_files.exported_prompts import save_prompts
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.types import Batch

PROMPTS = partial(ObjectAgnosticPrompts, deep_blocks=3)


def build_method(backbone: CLIP, **arguments: Any) -> DHRCLIP:
    torch.manual_seed(0)
    return DHRCLIP(backbone, prompts=PROMPTS, **arguments)


@pytest.fixture
def method(tiny_backbone: CLIP) -> DHRCLIP:
    return build_method(tiny_backbone)


@pytest.fixture
def canvas() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 112, 112), generator=torch.Generator().manual_seed(0)) / 255


@pytest.fixture
def batch(canvas: torch.Tensor) -> Batch:
    mask = torch.zeros(2, 112, 112, dtype=torch.bool)
    mask[1, 20:60, 40:80] = True
    known, names = torch.tensor([True, True]), ("x", "x")
    return Batch(canvas, mask, known, torch.tensor([False, True]), names, names, names)


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize(("global_px", "calls"), [(None, [10]), (56, [10]), (28, [2, 8])])
def test_views_of_one_size_are_encoded_at_once(
    method: DHRCLIP,
    canvas: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
    global_px: int | None,
    calls: list[int],
) -> None:
    method.global_px, seen = global_px, []
    encode = method.backbone.encode_image
    monkeypatch.setattr(
        method.backbone, "encode_image", lambda x, **k: seen.append(len(x)) or encode(x, **k)
    )
    method(canvas, ["x"] * 2)
    assert seen == calls


def test_views_encoded_at_once_are_those_encoded_one_by_one(
    method: DHRCLIP, canvas: torch.Tensor
) -> None:
    whole, tiles = method.encode_views(canvas)
    whole_views, tile_views = method.views(canvas)
    torch.testing.assert_close(whole.image, method.encode_image(whole_views).image)
    each = [method.encode_image(view).tokens[0] for view in tile_views]
    torch.testing.assert_close(tiles.tokens[0], torch.cat(each), atol=1e-4, rtol=1e-4)


def test_a_batch_is_scored_image_by_image(method: DHRCLIP, canvas: torch.Tensor) -> None:
    together = method(canvas, ["x"] * 2)
    for index in range(2):
        alone = method(canvas[index : index + 1], ["x"])
        torch.testing.assert_close(alone.map[0], together.map[index], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.score[0], together.score[index], atol=1e-4, rtol=0)


def test_maps_are_probabilities_at_the_size_of_the_canvas(
    tiny_backbone: CLIP, canvas: torch.Tensor
) -> None:
    for blocks in [(24,), (6, 24)]:
        prediction = build_method(tiny_backbone, feature_blocks=blocks)(canvas, ["x"] * 2)
        assert prediction.map.shape == (2, 112, 112)
        assert prediction.map.min() >= 0
        assert prediction.map.max() <= 1


def test_a_tile_is_what_the_method_sees_of_it_as_a_whole(
    tiny_backbone: CLIP, canvas: torch.Tensor
) -> None:
    torch.manual_seed(0)
    plain = AnomalyCLIP(tiny_backbone, prompts=PROMPTS, sigma_px=0.0)
    tiles_alone = build_method(tiny_backbone, global_weight=0.0, sigma_px=0.0)(canvas, ["x"] * 2)
    for top, left in [(0, 0), (0, 56), (56, 0), (56, 56)]:
        corner = plain(canvas[..., top : top + 56, left : left + 56], ["x"] * 2)
        ours = tiles_alone.map[:, top : top + 56, left : left + 56]
        torch.testing.assert_close(ours, corner.map, atol=1e-5, rtol=0)
    corners = [canvas[..., t : t + 56, f : f + 56] for t in (0, 56) for f in (0, 56)]
    mean = torch.stack([plain(corner, ["x"] * 2).score for corner in corners]).mean(dim=0)
    torch.testing.assert_close(tiles_alone.score, mean, atol=1e-4, rtol=0)


def test_three_quarters_are_the_whole_view_and_one_the_tiles(
    tiny_backbone: CLIP, canvas: torch.Tensor
) -> None:
    parts = [
        build_method(tiny_backbone, global_weight=weight)(canvas, ["x"] * 2)
        for weight in (1.0, 0.0)
    ]
    mixed = build_method(tiny_backbone)(canvas, ["x"] * 2)
    torch.testing.assert_close(
        mixed.map, 0.75 * parts[0].map + 0.25 * parts[1].map, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        mixed.score, 0.75 * parts[0].score + 0.25 * parts[1].score, atol=1e-4, rtol=0
    )


def test_what_was_seen_before_at_other_sizes_does_not_matter(
    method: DHRCLIP, canvas: torch.Tensor
) -> None:
    before = method(canvas, ["x"] * 2)
    method.global_px = 84
    method(canvas, ["x"] * 2)
    method.global_px = None
    after = method(canvas, ["x"] * 2)
    assert torch.equal(before.map, after.map)
    assert torch.equal(before.score, after.score)


def test_overlapping_tiles_leave_no_black_border_and_no_shift(tiny_backbone: CLIP) -> None:
    method = build_method(tiny_backbone, tile_px=70)
    canvas = torch.arange(112.0).expand(1, 3, 112, 112) / 255
    _, tiles = method.views(canvas)
    assert (tiles > 0).any(dim=-2).sum(
        dim=-1
    ).min() == 69  # but for the first column, which is 0 itself
    assert torch.equal(tiles[1, 0, 0, 0], torch.arange(42.0, 112.0) / 255)
    assert method(canvas, ["x"]).map.shape == (1, 112, 112)


def test_raw_tile_tokens_outweigh_the_whole_view(tiny_backbone: CLIP, canvas: torch.Tensor) -> None:
    """Tile tokens at their full length outweigh the whole view."""
    right, raw = (
        build_method(tiny_backbone, raw_tile_tokens=raw)(canvas, ["x"] * 2) for raw in (False, True)
    )
    of_whole = build_method(tiny_backbone, global_weight=1.0)(canvas, ["x"] * 2).score
    length = build_method(tiny_backbone).encode_views(canvas)[1].image.norm(dim=-1).min()
    assert (
        (raw.score - 0.75 * of_whole).abs() > 0.9 * length * (right.score - 0.75 * of_whole).abs()
    ).all()
    assert torch.equal(raw.map, right.map)


def test_per_image_minmax_takes_every_map_from_0_to_1(
    tiny_backbone: CLIP, canvas: torch.Tensor
) -> None:
    plain, stretched = (
        build_method(tiny_backbone, per_image_minmax=on)(canvas, ["x"] * 2).map
        for on in (False, True)
    )
    assert torch.equal(stretched.amin(dim=(1, 2)), torch.zeros(2))
    torch.testing.assert_close(stretched.amax(dim=(1, 2)), torch.ones(2))
    for one, other in zip(plain, stretched, strict=True):
        torch.testing.assert_close(other * (one.max() - one.min()) + one.min(), one)


def test_only_prompts_learn_and_there_is_no_image_term(method: DHRCLIP, batch: Batch) -> None:
    """Nothing but the prompts learns and there is no image term."""
    terms = method.loss(batch)
    assert set(terms) == {"focal", "dice_anomalous", "dice_normal"}
    total(terms).backward()
    learned = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert learned == {"prompts.normal", "prompts.anomalous", "prompts.deep"}
    relabelled = dataclasses.replace(batch, is_anomalous=~batch.is_anomalous)
    assert torch.equal(total(method.loss(relabelled)), total(terms))


def test_the_loss_adds_up_over_blocks(tiny_backbone: CLIP, batch: Batch) -> None:
    one, four = (
        total(build_method(tiny_backbone, feature_blocks=(24,) * count).loss(batch))
        for count in (1, 4)
    )
    torch.testing.assert_close(four, 4 * one)


def test_images_of_unknown_mask_take_no_part(method: DHRCLIP, batch: Batch) -> None:
    some_known = dataclasses.replace(batch, has_mask=torch.tensor([True, False]))
    first = batch.first(1)
    torch.testing.assert_close(total(method.loss(some_known)), total(method.loss(first)))
    nothing = total(method.loss(dataclasses.replace(batch, has_mask=torch.tensor([False, False]))))
    nothing.backward()
    assert nothing == 0
    assert all(not parameter.grad.any() for parameter in method.prompts.parameters())


def test_dice_by_row_changes_a_batch_of_one_and_no_other(tiny_backbone: CLIP, batch: Batch) -> None:
    by_image, by_row = build_method(tiny_backbone), build_method(tiny_backbone, dice_by_row=True)
    assert torch.equal(total(by_image.loss(batch)), total(by_row.loss(batch)))
    rows = {
        field.name: getattr(batch, field.name)[1:]
        for field in dataclasses.fields(batch)
        if field.name != "cached"
    }
    second = Batch(**rows)
    image, row = by_image.loss(second), by_row.loss(second)
    torch.testing.assert_close(image["focal"], row["focal"])
    assert (image["dice_anomalous"] - row["dice_anomalous"]).abs() > 1e-3


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((112, 84), r"cuts a square, got an image of 112 × 84 px: set image_size=672"),
        (
            (100, 100),
            r"canvas of 100 px has views of 50 and 50 px.*patches of 14 px: set image_size=112",
        ),
    ],
)
def test_a_canvas_that_cannot_be_cut_says_what_to_set(
    method: DHRCLIP, size: tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        method(torch.rand(1, 3, *size), ["x"])


def test_tiles_that_do_not_cover_the_canvas_are_an_error(
    tiny_backbone: CLIP, canvas: torch.Tensor
) -> None:
    with pytest.raises(ValueError, match="tiles of 42 on a canvas of 112"):
        build_method(tiny_backbone, tile_px=42)(canvas, ["x"] * 2)


def test_under_autocast_maps_scores_and_losses_stay_in_float32(
    method: DHRCLIP, batch: Batch
) -> None:
    full = method(batch.image, ["x"] * 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, terms = method(batch.image, ["x"] * 2), method.loss(batch)
    assert half.map.dtype == half.score.dtype == torch.float32
    torch.testing.assert_close(half.map, full.map, atol=0.1, rtol=0)
    assert all(term.dtype == torch.float32 for term in terms.values())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_prompts_load_in_published_form_and_in_our_own(
    tiny_backbone: CLIP, method: DHRCLIP, tmp_path: Path, suffix: str
) -> None:
    """Prompts learned with anomalyclip load in published form and its own again."""
    other = AnomalyCLIP(tiny_backbone, prompts=PROMPTS)
    path = tmp_path / f"epoch_15{suffix}"
    save_prompts(path, other if suffix == ".pth" else method, {})
    before = learned.learned_tensors(other if suffix == ".pth" else method)
    before = {name: tensor.clone() for name, tensor in before.items()}
    with torch.no_grad():
        for parameter in method.prompts.parameters():
            parameter.zero_()
    load_learned_state(method, learned.read_learned_state(path), str(path))
    assert all(
        torch.equal(tensor, before[name])
        for name, tensor in learned.learned_tensors(method).items()
    )


def test_the_published_numbers_of_dhrclip() -> None:
    config = compose.compose_config("train", ["model=dhrclip", "paths.output_dir=/nowhere"])
    method = config.model.method
    assert (config.seed, config.epochs, config.dataset.batch_size, config.image_size) == (
        111,
        15,
        8,
        672,
    )
    assert (list(method.feature_blocks), method.value_attention_from, method.global_weight) == (
        [24],
        6,
        0.75,
    )
    assert (method.temperature, method.sigma_px, method.norm_image) == (0.07, 8.0, False)
    assert (
        method.prompts.context_tokens,
        method.prompts.deep_tokens,
        method.prompts.deep_blocks,
    ) == (12, 4, 9)
    assert (config.model.optimizer.lr, list(config.model.optimizer.betas)) == (1e-3, [0.5, 0.999])
    assert config.dataset.image_size == 672


@pytest.mark.parametrize(
    ("model", "backbone", "canvas"),
    [
        ("dhrclip_518", "clip_vit_l14_336", 1036),
        ("dhrclip", "clip_vit_l14", 672),
        ("dhrclip", "clip_vit_h14", 672),
        ("dhrclip", "clip_vit_b16", 640),
        ("dhrclip", "clip_vit_b32", 640),
        ("dhrclip", "clip_vit_b16_plus_240", 480),
        ("dhrclip", "pocket", 384),
    ],
)
def test_the_canvas_suits_the_backbone(model: str, backbone: str, canvas: int) -> None:
    config = compose.compose_config(
        "test", [f"model={model}", f"backbone={backbone}", "paths.output_dir=/nowhere"]
    )
    assert config.image_size == config.dataset.image_size == canvas
    chosen = compose.compose_config(
        "test", [f"model={model}", "image_size=448", "paths.output_dir=/nowhere"]
    )
    assert chosen.dataset.image_size == 448
