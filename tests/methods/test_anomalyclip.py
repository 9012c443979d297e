"""AnomalyCLIP beyond the goldens: what is learned, what is cached, what is left out."""

from __future__ import annotations

import copy
import dataclasses
from functools import partial

import pytest
import torch

from zsad.backbones.clip.model import CLIP
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.methods.tiling import Tiling
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.types import Batch

PROMPTS = partial(ObjectAgnosticPrompts, deep_blocks=3)


@pytest.fixture
def method(tiny_backbone: CLIP) -> AnomalyCLIP:
    torch.manual_seed(0)
    return AnomalyCLIP(tiny_backbone, prompts=PROMPTS)


def test_with_the_published_shape_exactly_43008_numbers_learn() -> None:
    prompts = ObjectAgnosticPrompts(768)
    assert sum(parameter.numel() for parameter in prompts.parameters()) == 43_008


def test_nothing_but_the_prompts_learns(method: AnomalyCLIP, random_batch: Batch) -> None:
    torch.stack(list(method.loss(random_batch).values())).sum().backward()
    learned = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert learned == {"prompts.normal", "prompts.anomalous", "prompts.deep"}


def test_training_keeps_no_activations_of_the_frozen_image_tower(
    method: AnomalyCLIP, random_batch: Batch
) -> None:
    method.train()
    kept: list[torch.Size] = []

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        method.loss(random_batch)
    width = method.backbone.model.visual.conv1.out_channels
    assert kept
    assert not any(len(shape) == 3 and shape[-1] in (width, 4 * width) for shape in kept)


def test_text_features_are_cached_until_the_prompts_change(
    method: AnomalyCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text features are computed once and again only after the prompts change."""
    calls = []
    encode = method.backbone.encode_prompts
    monkeypatch.setattr(
        method.backbone, "encode_prompts", lambda *a, **k: calls.append(1) or encode(*a, **k)
    )
    image = torch.rand(1, 3, 56, 56)
    for _ in range(3):
        before = method(image, ["x"]).score
    assert len(calls) == 1
    optimizer = torch.optim.SGD(method.prompts.parameters(), lr=10)
    method.prompts(method.backbone).sum().backward()
    optimizer.step()
    assert not torch.equal(method(image, ["x"]).score, before)
    method.prompts.load_state_dict(PROMPTS(64).state_dict())
    seen = len(calls)
    method(image, ["x"])
    assert len(calls) == seen + 1


def test_maps_are_probabilities_at_the_size_of_the_image(method: AnomalyCLIP) -> None:
    prediction = method(torch.rand(2, 3, 42, 70), ["x", "y"])
    assert prediction.map.shape == (2, 42, 70)
    assert prediction.map.min() >= 0
    assert prediction.map.max() <= 1
    assert prediction.score.shape == (2,)


def test_the_map_can_speak_in_the_image_score(tiny_backbone: CLIP) -> None:
    image = torch.rand(2, 3, 56, 56)
    predictions = {}
    for choice in ("global", "map", "both"):
        torch.manual_seed(0)
        predictions[choice] = AnomalyCLIP(tiny_backbone, prompts=PROMPTS, image_score=choice)(
            image, ["x"] * 2
        )
    peak = predictions["map"].map.amax(dim=(1, 2)).double()
    torch.testing.assert_close(predictions["map"].probability, peak, atol=1e-6, rtol=0)
    mean = (predictions["global"].probability + peak) / 2
    torch.testing.assert_close(predictions["both"].probability, mean, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r"image_score='top'.*'global', 'map', 'both'"):
        AnomalyCLIP(tiny_backbone, prompts=PROMPTS, image_score="top")


def test_images_of_unknown_mask_take_part_in_the_image_loss_only(
    method: AnomalyCLIP, random_batch: Batch
) -> None:
    some_known = dataclasses.replace(random_batch, has_mask=torch.tensor([True, False]))
    other_mask = random_batch.mask.clone()
    other_mask[1] = ~other_mask[1]
    changed = dataclasses.replace(some_known, mask=other_mask)
    for name, term in method.loss(some_known).items():
        torch.testing.assert_close(term, method.loss(changed)[name], msg=name)
    none_known = dataclasses.replace(random_batch, has_mask=torch.tensor([False, False]))
    assert set(method.loss(none_known)) == {"image"}


def test_deeper_prompts_than_the_text_tower_is_a_clear_error(tiny_backbone: CLIP) -> None:
    method = AnomalyCLIP(tiny_backbone, prompts=partial(ObjectAgnosticPrompts, deep_blocks=9))
    with pytest.raises(ValueError, match="8 deep prompts need more than the 4 blocks"):
        method.text_features()


def test_deep_tokens_cannot_exceed_the_context_they_replace() -> None:
    with pytest.raises(
        ValueError, match="deep_tokens=13 would overwrite more than the context_tokens=12"
    ):
        ObjectAgnosticPrompts(64, deep_tokens=13)


def test_the_last_batch_may_hold_one_image(method: AnomalyCLIP, random_batch: Batch) -> None:
    one = random_batch.first(1)
    assert all(term.ndim == 0 and term.isfinite() for term in method.loss(one).values())


def test_under_autocast_maps_scores_and_losses_stay_in_float32(
    method: AnomalyCLIP, random_batch: Batch
) -> None:
    """Under autocast the tower is in bfloat16 but maps scores and losses are not."""
    fresh = copy.deepcopy(method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = method(random_batch.image, ["x"] * 2)
        terms = method.loss(random_batch)
    full = method(random_batch.image, ["x"] * 2)
    assert half.map.dtype == half.score.dtype == torch.float32
    assert (
        half.map.unique().numel() > 0.9 * full.map.unique().numel()
    )  # bfloat16 would leave a few hundred values
    torch.testing.assert_close(half.map, full.map, atol=0.1, rtol=0)
    assert all(term.dtype == torch.float32 for term in terms.values())
    # Text features of one precision are not used in the other.
    assert torch.equal(full.map, fresh(random_batch.image, ["x"] * 2).map)


def test_tiles_take_part_in_the_loss_and_only_prompts_learn(
    method: AnomalyCLIP, random_batch: Batch
) -> None:
    """With tiling the tiles take part in the loss and only the prompts learn."""
    corner = torch.zeros(2, 3, 112, 140)
    corner[..., -28:, -28:] = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(2, 112, 140, dtype=torch.bool)
    mask[1, -20:, -20:] = True
    batch = dataclasses.replace(random_batch, image=corner, mask=mask)
    losses = []
    for weight in (1.0, 0.5):
        method.views = Tiling(global_weight=weight)
        terms = method.loss(batch)
        losses.append(terms["focal"].detach())
        method.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        learned = {
            name for name, parameter in method.named_parameters() if parameter.grad is not None
        }
        assert learned == {"prompts.normal", "prompts.anomalous", "prompts.deep"}
    assert losses[0] != losses[1]
