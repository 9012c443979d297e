"""The losses against a plain loop over pixels."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from zsad.functional.losses import dice_loss, focal_loss

PIXELS = st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=1, max_size=12)


def as_maps(pixels: list[tuple[float, bool]]) -> tuple[torch.Tensor, torch.Tensor]:
    p = torch.tensor([[[probability for probability, _ in pixels]]])
    return p, torch.tensor([[[defective for _, defective in pixels]]])


@given(PIXELS)
def test_focal_loss_equals_the_formula_pixel_by_pixel(pixels: list[tuple[float, bool]]) -> None:
    total = 0.0
    for probability, defective in pixels:
        hot = (1e-5, 1 - 1e-5) if defective else (1 - 1e-5, 1e-5)
        true = hot[0] * (1 - probability) + hot[1] * probability + 1e-5
        total += -((1 - true) ** 2) * math.log(true)
    torch.testing.assert_close(
        float(focal_loss(*as_maps(pixels))), total / len(pixels), atol=1e-5, rtol=1e-4
    )


@given(PIXELS)
def test_dice_loss_equals_the_formula(pixels: list[tuple[float, bool]]) -> None:
    overlap = sum(probability for probability, defective in pixels if defective)
    size = sum(probability for probability, _ in pixels) + sum(defective for _, defective in pixels)
    expected = 1 - (2 * overlap + 1) / (size + 1)
    torch.testing.assert_close(float(dice_loss(*as_maps(pixels))), expected, atol=1e-5, rtol=1e-4)


def test_dice_is_a_mean_over_images() -> None:
    """Dice is a mean over images not over their pixels together."""
    p, mask = torch.rand(2, 4, 4), torch.rand(2, 4, 4) > 0.5
    alone = torch.stack([dice_loss(p[row : row + 1], mask[row : row + 1]) for row in range(2)])
    torch.testing.assert_close(dice_loss(p, mask), alone.mean())


def test_a_perfect_map_costs_less_than_a_wrong_one() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1:3, 1:3] = True
    right, wrong = mask.float().clamp(0.01, 0.99), (~mask).float().clamp(0.01, 0.99)
    assert focal_loss(right, mask) < focal_loss(wrong, mask)
    assert dice_loss(right, mask) < dice_loss(wrong, mask)
