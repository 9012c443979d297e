"""Windows over a grid, against naive loops and by property."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zsad.functional.patch_windows import association, harmonic_map, harmonic_mean, window_indices

SIDES = st.integers(1, 7)


@st.composite
def geometries(draw: st.DrawFn) -> tuple[tuple[int, int], int, int]:
    grid = (draw(SIDES), draw(SIDES))
    return grid, draw(st.integers(1, min(grid))), draw(st.integers(1, 3))


def naive_windows(grid: tuple[int, int], size: int, stride: int) -> list[list[int]]:
    corners = itertools.product(
        range(0, grid[0] - size + 1, stride), range(0, grid[1] - size + 1, stride)
    )
    return [
        [(y + i) * grid[1] + x + j for i in range(size) for j in range(size)] for y, x in corners
    ]


def naive_map(scores: list[float], grid: tuple[int, int], size: int, stride: int) -> Tensor:
    values = []
    for patch in range(grid[0] * grid[1]):
        found = [
            s
            for s, held in zip(scores, naive_windows(grid, size, stride), strict=True)
            if patch in held
        ]
        values.append(len(found) / sum(1 / s for s in found) if found and min(found) > 0 else 0.0)
    return torch.tensor(values, dtype=torch.float64).view(grid)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@given(geometries())
def test_windows_are_those_of_a_loop_over_upper_left_corners(geometry: tuple) -> None:
    assert window_indices(*geometry).tolist() == naive_windows(*geometry)


@given(geometries(), st.data())
def test_a_patch_has_the_harmonic_mean_of_its_windows(geometry: tuple, data) -> None:
    """Aggregation is the harmonic mean over the covering windows of each patch."""
    count = len(naive_windows(*geometry))
    score = st.one_of(st.just(0.0), st.floats(1e-6, 1))
    scores = data.draw(st.lists(score, min_size=count, max_size=count))
    ours = harmonic_map(torch.tensor([scores], dtype=torch.float64), *geometry)
    torch.testing.assert_close(ours[0], naive_map(scores, *geometry))


def test_images_of_a_batch_do_not_mix() -> None:
    scores = random(3, 12)
    together = harmonic_map(scores, (4, 5), 2)
    for alone, row in zip(together, scores, strict=True):
        assert torch.equal(alone, harmonic_map(row[None], (4, 5), 2)[0])


def test_one_score_everywhere_is_that_score_everywhere() -> None:
    torch.testing.assert_close(
        harmonic_map(torch.full((1, 36), 0.3), (8, 8), 3), torch.full((1, 8, 8), 0.3)
    )


def test_a_zero_reaches_its_own_patches_only() -> None:
    scores = torch.full((1, 9), 0.5)
    scores[0, 0] = 0
    zero = harmonic_map(scores, (4, 4), 2)[0] == 0
    assert zero.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_scores_too_small_for_a_reciprocal_count_as_zero() -> None:
    assert harmonic_map(torch.full((1, 4), 1e-42), (3, 3), 2).eq(0).all()


def test_patches_that_no_window_holds_are_zero() -> None:
    ours = harmonic_map(torch.full((1, 1), 0.5), (3, 3), 2, stride=2)[0]
    assert ours.tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0]]


@pytest.mark.parametrize(("size", "stride"), [(4, 1), (0, 1), (2, 0)])
def test_windows_that_do_not_fit_are_an_error(size: int, stride: int) -> None:
    """Windows that do not fit are an error with their size and the grid."""
    with pytest.raises(
        ValueError, match=rf"windows of {size} × {size} patches every {stride} .* a grid of 3 × 5"
    ):
        window_indices((3, 5), size, stride)


@given(st.lists(st.floats(1e-3, 1), min_size=2, max_size=5))
def test_a_harmonic_mean_lies_between_minimum_and_mean(values: list[float]) -> None:
    """A harmonic mean lies between its smallest value and the plain mean."""
    mean = float(harmonic_mean(torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)))
    assert min(values) * (1 - 1e-9) <= mean <= sum(values) / len(values) * (1 + 1e-9)


def test_a_harmonic_mean_with_a_zero_is_zero() -> None:
    assert harmonic_mean(torch.tensor([0.0, 0.9]).view(2, 1, 1, 1)).item() == 0


def test_association_equals_a_slow_loop() -> None:
    """Association is half the distance to the nearest of a loop."""
    features, memory = random(6, 5) - 0.5, random(7, 5, seed=1) - 0.5
    cosines = [[float(torch.cosine_similarity(f, m, dim=0)) for m in memory] for f in features]
    expected = torch.tensor([(1 - max(row)) / 2 for row in cosines])
    torch.testing.assert_close(association(features, memory), expected)


@given(rows=st.integers(1, 9))
def test_association_does_not_depend_on_the_chunk(rows: int) -> None:
    """Association does not depend on how much is compared at a time."""
    features, memory = random(6, 5) - 0.5, random(7, 5, seed=1) - 0.5
    torch.testing.assert_close(association(features, memory, rows), association(features, memory))


def test_what_is_remembered_is_at_no_distance_and_never_below_it() -> None:
    features = random(500, 64) - 0.5
    distance = association(features, features)
    assert distance.min() >= 0
    assert distance.max() < 1e-6


def test_association_is_between_0_and_1_at_any_length() -> None:
    """Association lies between the same and the opposite direction whatever the lengths."""
    v = random(1, 8)
    torch.testing.assert_close(association(torch.cat([3 * v, -v]), 7 * v), torch.tensor([0.0, 1.0]))


def test_more_references_never_raise_an_association() -> None:
    features, memory = random(6, 5) - 0.5, random(20, 5, seed=1) - 0.5
    assert (association(features, memory) <= association(features, memory[:4])).all()
