"""Prompts learned on auxiliary categories find defects on unseen categories.

A broken loss, swapped labels or shuffled masks fail the same bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import pytest
import torch
from torch import Tensor

from zsad.backbones.clip.model import CLIP
from zsad.data.synthetic import WORLDS, random_stream, render_pair
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.metrics.curves import auroc, rank_labelled, rank_pixels
from zsad.types import Batch

SIZE, PER_CATEGORY, STEPS = 128, 6, 150
IMAGE_BOUND, PIXEL_BOUND, DICE_BOUND = 0.75, 0.85, 0.30
KINDS = ("stain", "hole", "scratch", "crack", "colour_spot", "contamination")

Mutation = Callable[[Batch], Batch]


def pictures(world: str) -> list[Batch]:
    """One batch a category: the same parts with and without a defect."""
    batches = []
    for category in WORLDS[world]:
        pairs = [
            render_pair(category, random_stream(7, category, kind), SIZE, kind, "easy")
            for kind in KINDS
            if kind in WORLDS[world][category].defects
        ][:PER_CATEGORY]
        shown = np.stack([pair.clean for pair in pairs] + [pair.defective for pair in pairs])
        masks = np.stack(
            [np.zeros_like(pair.mask) for pair in pairs] + [pair.mask for pair in pairs]
        )
        count = len(shown)
        batches.append(
            Batch(
                image=torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 255,
                mask=torch.from_numpy(masks),
                has_mask=torch.ones(count, dtype=torch.bool),
                is_anomalous=torch.arange(count) >= len(pairs),
                category=(category,) * count,
                defect=("",) * count,
                path=("",) * count,
            )
        )
    return batches


class Remembering(AnomalyCLIP):
    """The frozen tower runs once per batch: its features do not change while the prompts learn."""

    def encode_image(self, image: Tensor):
        known = self.__dict__.setdefault("_known", {})
        if id(image) not in known:
            known[id(image)] = super().encode_image(image)
        return known[id(image)]


@pytest.fixture(scope="module")
def auxiliary() -> list[Batch]:
    return pictures("a")


@pytest.fixture(scope="module")
def target() -> list[Batch]:
    return pictures("b")


def learn(batches: list[Batch], sign: float = 1.0) -> AnomalyCLIP:
    torch.manual_seed(0)
    method = Remembering(CLIP(pretrained="pocket"))
    optimizer = torch.optim.Adam(method.prompts.parameters(), lr=2e-3, betas=(0.5, 0.999))
    for batch in islice(cycle(batches), STEPS):
        optimizer.zero_grad()
        (sign * torch.stack(list(method.loss(batch).values())).sum()).backward()
        optimizer.step()
    return method


def measure(method: AnomalyCLIP, batches: list[Batch]) -> tuple[float, float, float]:
    """Image AUROC, pixel AUROC, and Dice of the map above one half; means over categories.

    Dice because ranks forgive much: prompts that learn from wrong masks still rank the right pixels
    first, thanks to the image loss, but the probability of *defect* in their maps stays low.
    """
    image, pixel, dice = [], [], []
    for batch in batches:
        with torch.no_grad():
            prediction = method(batch.image, batch.category)
        found = prediction.map > 0.5
        image.append(auroc(rank_labelled(prediction.score, batch.is_anomalous)))
        pixel.append(auroc(rank_pixels(prediction.map, batch.mask)))
        dice.append(float(2 * (found & batch.mask).sum() / (found.sum() + batch.mask.sum())))
    return tuple(sum(values) / len(values) for values in (image, pixel, dice))  # type: ignore[return-value]


def _swapped_labels(batch: Batch) -> Batch:
    return replace(batch, is_anomalous=~batch.is_anomalous)


def _shuffled_masks(batch: Batch) -> Batch:
    """Every defective image has another image's mask, elsewhere."""
    return replace(batch, mask=batch.mask.roll(1, dims=0).roll((SIZE // 2, SIZE // 3), dims=(1, 2)))


def _outcomes(
    auxiliary: list[Batch], target: list[Batch]
) -> Iterator[tuple[str, tuple[float, float, float]]]:
    yield "swapped labels", measure(learn([_swapped_labels(batch) for batch in auxiliary]), target)
    yield "shuffled masks", measure(learn([_shuffled_masks(batch) for batch in auxiliary]), target)
    yield "loss of the wrong sign", measure(learn(auxiliary, sign=-1.0), target)


def test_learned_prompts_find_defects_on_other_categories(
    auxiliary: list[Batch], target: list[Batch]
) -> None:
    image, pixel, dice = measure(learn(auxiliary), target)
    assert image > IMAGE_BOUND
    assert pixel > PIXEL_BOUND
    assert dice > DICE_BOUND
    unlearned = measure(AnomalyCLIP(CLIP(pretrained="pocket")), target)
    assert image > unlearned[0] + 0.1
    assert pixel > unlearned[1] + 0.1


def test_broken_learning_fails_the_same_bounds(auxiliary: list[Batch], target: list[Batch]) -> None:
    """Swapped labels, shuffled masks and a loss of the wrong sign miss the bounds of learning."""
    for mutation, (image, pixel, dice) in _outcomes(auxiliary, target):
        assert image < IMAGE_BOUND or pixel < PIXEL_BOUND or dice < DICE_BOUND, mutation
