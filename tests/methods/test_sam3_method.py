"""SAM 3 for anomalies: soft maps that follow from what it found and from nothing else, and a head
that learns.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zsad.backbones.sam3.head import Concepts, ImageFeatures
from zsad.backbones.sam3.segmenter import SAM3Segmenter
from zsad.config import compose
from zsad.functional import rle
from zsad.functional.reductions import REDUCE, probability_margin
from zsad.methods.sam3 import SAM3
from zsad.model_files.checkpoint_fit import load_learned_state
from zsad.model_files.learned import LearnedState, learned_tensors
from zsad.prompts.sam3_phrases import ConceptPrompts
from zsad.types import Batch

NEVER, SURE = -math.inf, 40.0
WORDS = ("crack", "stain")


class Scripted(SAM3Segmenter):
    """Says what a test tells it to, on a grid of 8 × 8, for each image and phrase."""

    def __init__(self, answers: dict[str, Concepts]) -> None:
        torch.nn.Module.__init__(self)
        self.head = torch.nn.Module()
        self.head.unfreeze, self.head.width = lambda: None, 4
        self.answers = answers

    def encode_image(self, image: Tensor) -> ImageFeatures:
        return ImageFeatures((image,), image)

    def encode_text(self, prompts: Any) -> Any:
        return tuple(prompts)

    def segment(self, features: Any, text: Any, **given: Any) -> Concepts:
        found = [self.answers[phrase] for phrase in text]
        names = ("semantic", "presence", "queries", "boxes", "masks")
        return Concepts(*(torch.cat([getattr(one, name) for one in found]) for name in names))


def answer(
    presence: float = SURE, semantic: Tensor | float = NEVER, *instances: tuple[float, Tensor]
) -> Concepts:
    """What is said of one phrase: logits of its presence, of its pixels, and of instances with
    their pixels.
    """
    if isinstance(semantic, float):
        semantic = torch.full((8, 8), semantic)
    instances += ((NEVER, torch.full((8, 8), NEVER)),) * (3 - len(instances))
    masks = torch.stack([mask for _, mask in instances])
    return Concepts(
        semantic=semantic[None],
        presence=torch.tensor([presence]),
        queries=torch.tensor([[score for score, _ in instances]]),
        boxes=torch.tensor([[[0.0, 0.0, 0.5, 0.25]]]).repeat(1, 3, 1),
        masks=masks[None],
    )


def square(top: int, left: int, height: int = 2, width: int = 2, inside: float = SURE) -> Tensor:
    mask = torch.full((8, 8), -SURE)
    mask[top : top + height, left : left + width] = inside
    return mask


def method_of(answers: dict[str, Concepts], **given: Any) -> SAM3:
    prompts = ConceptPrompts(WORDS, strategy="base", textures=["carpet"])
    return SAM3(Scripted(answers), prompts, **given)


@torch.no_grad()
def look(
    answers: dict[str, Concepts],
    size: tuple[int, int] = (8, 8),
    category: str = "nut",
    **given: Any,
) -> Any:
    return method_of(answers, **given)(torch.zeros(1, 3, *size), (category,))


NOTHING = {"crack": answer(NEVER), "stain": answer(NEVER)}


def test_nothing_found_gives_a_zero_map() -> None:
    """Where nothing is found the map is zero and nothing is invented."""
    for reduce in REDUCE:
        seen_but_absent = answer(NEVER, SURE, (SURE, square(0, 0)))
        for answers in (NOTHING, {"crack": seen_but_absent, "stain": seen_but_absent}):
            prediction = look(answers, (30, 50), reduce=reduce)
            assert torch.equal(prediction.map, torch.zeros(1, 30, 50))
            assert len(prediction.detections[0]) == 0
            assert torch.isfinite(prediction.score).all()
            assert float(prediction.score) < -60


def test_the_map_mixes_semantic_map_and_best_instance() -> None:
    """The map is the weighted sum of semantic and best instance written out."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def drawn() -> Concepts:
        instances = [(float(noise(1)), noise(8, 8)) for _ in range(3)]
        return answer(float(noise(1)), noise(8, 8), *instances)

    answers = {word: drawn() for word in WORDS}
    expected = torch.zeros(8, 8)
    for found in answers.values():
        for y in range(8):
            for x in range(8):
                present = found.presence[0].sigmoid()
                instances = [
                    found.queries[0, k].sigmoid() * present * found.masks[0, k, y, x].sigmoid()
                    for k in range(3)
                ]
                value = 0.3 * present * found.semantic[0, y, x].sigmoid() + 0.7 * max(instances)
                expected[y, x] = max(expected[y, x], value)
    prediction = look(answers, alpha=0.3)
    torch.testing.assert_close(prediction.map[0], expected)
    best = max(float(f.presence.sigmoid() * f.queries.sigmoid().max()) for f in answers.values())
    assert float(prediction.score) == pytest.approx(
        math.log(max(best, float(expected.max())) / (1 - best)), abs=1e-4
    )


def test_rows_stay_rows_on_images_that_are_not_square() -> None:
    found = {
        "crack": answer(SURE, NEVER, (SURE, square(0, 0, height=2, width=4))),
        "stain": answer(NEVER),
    }
    prediction = look(found, (40, 160))
    rows, columns = (prediction.map[0] > 0.25).nonzero().amax(dim=0).tolist()
    assert (rows, columns) == (9, 79)
    (detections,) = prediction.detections
    assert detections.boxes.tolist() == [[0.0, 0.0, 80.0, 10.0]]
    assert detections.phrases == ("crack",)
    outline = rle.decode(detections.masks[0])
    assert outline.shape == (40, 160)
    assert (int(outline.any(dim=1).sum()), int(outline.any(dim=0).sum())) == (10, 80)
    assert outline[0, 0]
    assert int(outline.sum()) > 0.95 * 10 * 80  # its one corner is round


def test_overlapping_detections_are_reported_once() -> None:
    """Detections are for display and overlapping ones are said once."""
    found = {
        "crack": answer(SURE, -2.0, (1.0, square(0, 0)), (3.0, square(0, 0))),
        "stain": answer(SURE, -2.0, (2.0, square(0, 0))),
    }
    every, few = look(found, iou_threshold=1.0), look(found)
    assert every.detections[0].phrases == ("crack", "stain", "crack")
    assert every.detections[0].scores.tolist() == pytest.approx(
        [1 / (1 + math.exp(-s)) for s in (3.0, 2.0, 1.0)]
    )
    assert few.detections[0].phrases == ("crack",)
    none = look(found, confidence_threshold=0.99)
    assert len(none.detections[0]) == 0
    assert torch.equal(none.map, every.map)
    assert torch.equal(none.score, every.score)


def test_the_gate_keeps_to_the_object_and_leaves_textures_alone() -> None:
    here, elsewhere = square(0, 0), square(6, 6)
    found = {
        "crack": answer(SURE, NEVER, (0.0, here), (4.0, elsewhere)),
        "stain": answer(NEVER),
        "nut": answer(SURE, square(0, 0, 4, 4)),
    }
    free, gated = look(found), look(found, gate=True)
    assert float(free.map[0, 6:, 6:].min()) > 0.4
    assert float(gated.map[0, 6:, 6:].max()) < 1e-6
    torch.testing.assert_close(gated.map[0, :2, :2], free.map[0, :2, :2])
    assert float(gated.score) == pytest.approx(0.0, abs=1e-3)  # that of the instance on the object
    assert float(free.score) == pytest.approx(4.0, abs=1e-3)
    texture = look({**found, "carpet": found["nut"]}, category="carpet", gate=True)
    assert torch.equal(texture.map, free.map)
    lost = look({**found, "nut": answer(-1.0, square(0, 0, 4, 4))}, gate=True)
    assert torch.equal(lost.map, free.map)


def test_tiny_probabilities_keep_the_order_of_images() -> None:
    """Images in which hardly anything is found keep their order."""
    scores = []
    for presence in (-9.0, -8.0, -7.9, -2.0):
        found = {"crack": answer(presence, NEVER, (-11.0, square(0, 0))), "stain": answer(NEVER)}
        scores.append(float(look(found).score))
    assert scores == sorted(set(scores))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_every_reduction_lies_between_the_least_and_a_sure_thing(values: list[float]) -> None:
    given = torch.tensor(values)
    reduced = {name: float(function(given)) for name, function in REDUCE.items()}
    largest = sorted(values, reverse=True)[:3]
    assert reduced["max"] == pytest.approx(max(values))
    assert reduced["mean"] == pytest.approx(sum(values) / len(values), abs=1e-6)
    assert reduced["top3"] == pytest.approx(sum(largest) / len(largest), abs=1e-6)
    assert reduced["noisy_or"] == pytest.approx(
        1 - math.prod(1 - value for value in values), abs=1e-5
    )


@given(st.floats(1e-6, 1 - 1e-6))
def test_a_margin_is_the_logit(probability: float) -> None:
    expected = math.log(probability) - math.log1p(-probability)
    assert float(probability_margin(torch.tensor(probability))) == pytest.approx(
        expected, rel=1e-3, abs=1e-3
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reduce": "sum"}, "reduce='sum'"),
        ({"image_score": "best"}, "image_score='best'"),
        ({"alpha": 1.5}, "alpha=1.5"),
        ({"top_queries": 0}, "top_queries=0: expected a number of 1 or more"),
        ({"learned_vectors": -1}, "learned_vectors=-1: expected a number of 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method_of(NOTHING, **given)


# The real network, tiny and random.


def tiny(learned_vectors: int = 0, train_head: bool = True, **given: Any) -> SAM3:
    node = yaml.safe_load((compose.CONF / "backbone" / "sam3_random.yaml").read_text())
    backbone = SAM3Segmenter(
        **{key: value for key, value in node.items() if key != "_target_"} | {"input_size": 56}
    )
    prompts = ConceptPrompts(WORDS, strategy="base")
    return SAM3(backbone, prompts, learned_vectors=learned_vectors, train_head=train_head, **given)


def trained(method: SAM3, batch: Batch, steps: int, lr: float = 1e-3) -> list[float]:
    optimizer = torch.optim.AdamW(
        [p for p in method.parameters() if p.requires_grad], lr=lr, weight_decay=1e-4
    )
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.stack(list(method.loss(batch).values())).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def test_images_of_a_batch_do_not_meet(random_batch: Batch) -> None:
    method = tiny(gate=True)
    together = method(random_batch.image, random_batch.category)
    for index in range(2):
        alone = method(random_batch.image[index : index + 1], random_batch.category[:1])
        torch.testing.assert_close(alone.map[0], together.map[index], rtol=0, atol=1e-6)
        torch.testing.assert_close(alone.score[0], together.score[index], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_long_prompt_is_refused_before_the_image_tower_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A prompt that is too long is said before the image is looked at."""
    method = tiny(gate=True)
    monkeypatch.setattr(
        method.backbone, "encode_image", lambda image: pytest.fail("the image tower ran")
    )
    with pytest.raises(ValueError, match="longer than the 32 tokens"):
        method(torch.zeros(1, 3, 56, 56), ("very " * 40 + "long name",))


def test_all_that_may_learn_does_and_the_towers_do_not(random_batch: Batch) -> None:
    method = tiny(learned_vectors=2)
    torch.stack(list(method.loss(random_batch).values())).sum().backward()
    learning = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert [
        name for name, p in learning.items() if p.grad is None or not p.grad.abs().sum() > 0
    ] == []
    assert not any("towers" in name for name in learning)
    parts = {name.split(".")[2] for name in learning if name.startswith("backbone.head")}
    assert parts == {"text_projection", "encoder", "decoder", "scoring", "mask_decoder"}


def test_training_is_repeatable_and_marks_the_defect(random_batch: Batch) -> None:
    """The loss falls the same way twice and the map comes to mark the defect."""
    image = random_batch.image.clone() * 0.2
    image[random_batch.mask[:, None].expand_as(image)] = 1.0
    batch, (method, again) = replace(random_batch, image=image), (tiny(), tiny())
    losses = trained(method, batch, steps=25, lr=5e-3)
    assert trained(again, batch, steps=5, lr=5e-3) == losses[:5]
    assert losses[-1] < 0.8 * losses[0]
    with torch.no_grad():
        prediction = method(batch.image, batch.category)
    inside, outside = prediction.map[batch.mask].mean(), prediction.map[~batch.mask].mean()
    assert float(inside) > 1.5 * float(outside)
    assert float(prediction.score[1]) > float(prediction.score[0])


def test_images_without_a_known_mask_teach_the_presence_alone(random_batch: Batch) -> None:
    assert set(tiny().loss(random_batch)) == {
        "presence",
        "semantic_focal",
        "semantic_dice",
        "instance_focal",
        "instance_dice",
    }
    method, unknown = tiny(), replace(random_batch, has_mask=torch.zeros(2, dtype=torch.bool))
    terms = method.loss(unknown)
    assert set(terms) == {"presence"}
    terms["presence"].backward()
    gradients = {
        name: p.grad
        for name, p in method.named_parameters()
        if p.requires_grad and "scoring" not in name
    }
    assert all(gradient is not None for gradient in gradients.values()), (
        "other processes would wait for these"
    )
    assert not any(gradient.any() for name, gradient in gradients.items() if "mask_decoder" in name)


def test_learned_vectors_are_masked_until_they_learn(random_batch: Batch) -> None:
    """Learned vectors are not heard before they learn and are afterwards."""
    plain, method = tiny(train_head=False), tiny(learned_vectors=3, train_head=False)
    with torch.no_grad():
        before = method(random_batch.image, random_batch.category)
        torch.testing.assert_close(
            before.map, plain(random_batch.image, random_batch.category).map, rtol=0, atol=1e-6
        )
    losses = trained(method, random_batch, steps=8)
    assert losses[-1] < losses[0]
    with torch.no_grad():
        after = method(random_batch.image, random_batch.category)
    assert float((after.map - before.map).abs().max()) > 1e-4
    assert set(learned_tensors(method)) == {"learned"}


def test_what_was_learned_is_all_that_another_network_needs(random_batch: Batch) -> None:
    method, other = tiny(learned_vectors=2), tiny(learned_vectors=2)
    trained(method, random_batch, steps=3)
    load_learned_state(other, LearnedState(learned_tensors(method)), "here")
    with torch.no_grad():
        expected = method(random_batch.image, random_batch.category)
        assert torch.equal(other(random_batch.image, random_batch.category).map, expected.map)


def test_prompts_in_several_passes_learn_the_same(random_batch: Batch) -> None:
    gradients = []
    for prompt_chunk in (1, 8):
        method = tiny()
        method.backbone.prompt_chunk = prompt_chunk
        torch.stack(list(method.loss(random_batch).values())).sum().backward()
        gradients.append({name: p.grad for name, p in method.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-6)
