"""Tiles: what is cut comes back, nothing is left out, no seam shows."""

from __future__ import annotations

import math
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zsad.functional.tiles import (
    best_grid,
    blending_window,
    cut,
    grid_scale,
    quadrants,
    shared_side,
    stitch,
    tile_boxes,
)
from zsad.types import Box

SIDES = st.integers(1, 24)
SHARES = st.floats(0, 0.9)
PATIENT = settings(
    deadline=None, max_examples=50
)  # the time of an example says nothing on a busy machine


@st.composite
def tilings(draw: st.DrawFn) -> tuple[tuple[int, int], list[Box]]:
    snap = draw(st.sampled_from([1, 2, 7]))
    size, tile = ((snap * draw(SIDES), snap * draw(SIDES)) for _ in range(2))
    return size, tile_boxes(size, tile, draw(SHARES), snap)


@PATIENT
@given(tilings(), st.booleans())
def test_stitching_undoes_cutting_whatever_the_size(tiling: tuple, blended: bool) -> None:
    size, boxes = tiling
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    window = blending_window((boxes[0].height, boxes[0].width)) if blended else None
    torch.testing.assert_close(
        stitch(cut(image, boxes), boxes, size, window), image, atol=1e-5, rtol=0
    )


@PATIENT
@given(tilings())
def test_a_constant_map_and_a_ramp_survive(tiling: tuple) -> None:
    size, boxes = tiling
    constant = torch.full((1, 1, *size), 0.7)
    ramp = (torch.arange(size[0])[:, None] / size[0] + torch.arange(size[1]) / size[1])[None, None]
    window = blending_window((boxes[0].height, boxes[0].width))
    for whole in (constant, ramp):
        torch.testing.assert_close(
            stitch(cut(whole, boxes), boxes, size, window), whole, atol=1e-5, rtol=0
        )


@PATIENT
@given(SIDES, SIDES, SHARES, st.sampled_from([1, 2, 7]))
def test_tiles_cover_a_side_evenly_with_the_overlap(
    whole: int, side: int, overlap: float, snap: int
) -> None:
    """Tiles cover a side evenly with the overlap asked for and end at its border."""
    whole, side = snap * whole, snap * side
    boxes = tile_boxes((snap, whole), (snap, side), overlap, snap)
    starts = [box.left for box in boxes]
    side = min(side, whole)
    shared = shared_side(side, overlap, snap)
    assert {(box.top, box.height, box.width) for box in boxes} == {(0, snap, side)}
    assert len(boxes) == max(math.ceil((whole - shared) / (side - shared)), 1)
    assert starts[0] == 0
    assert starts[-1] + side == whole
    assert all(start % snap == 0 for start in starts)
    steps = [after - before for before, after in pairwise(starts)]
    assert all(0 < step <= side - shared for step in steps)
    assert not steps or max(steps) - min(steps) <= snap


def test_tiles_come_row_by_row() -> None:
    boxes = tile_boxes((20, 30), (10, 10), 0.0)
    assert [(box.top, box.left) for box in boxes] == list(product((0, 10), (0, 10, 20)))


def test_abutting_tiles_are_pasted_exactly() -> None:
    boxes = quadrants(8, 4)
    tiles = torch.rand(4, 1, 2, 4, 4)
    stitched = stitch(tiles, boxes, (8, 8))
    for tile, box in zip(tiles, boxes, strict=True):
        assert torch.equal(stitched[..., box.rows, box.columns], tile)


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "snap", "answer"),
    [
        ((20, 20), (10, 10), 1.0, 1, "overlap=1.0: expected a share"),
        ((20, 20), (10, 10), -0.1, 1, "overlap=-0.1: expected a share"),
        ((20, 21), (10, 10), 0.5, 2, "expected positive multiples of 2"),
        ((20, 20), (0, 10), 0.5, 1, "expected positive multiples of 1"),
    ],
)
def test_impossible_tilings_are_refused_with_what_was_got(
    size: tuple, tile: tuple, overlap: float, snap: int, answer: str
) -> None:
    with pytest.raises(ValueError, match=answer):
        tile_boxes(size, tile, overlap, snap)


def test_quadrants_lie_in_the_corners_and_need_a_fitting_canvas() -> None:
    assert [(box.top, box.left) for box in quadrants(10, 7)] == [(0, 0), (0, 3), (3, 0), (3, 3)]
    for canvas in (6, 15):
        with pytest.raises(
            ValueError, match=rf"tiles of 7 on a canvas of {canvas}: .* from 7 to 14"
        ):
            quadrants(canvas, 7)


def test_a_bare_pixel_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"1 tiles leave pixel \(0, 3\) \(row, column\) of \(4, 5\) uncovered"
    ):
        stitch(torch.ones(1, 1, 1, 4, 3), [Box(0, 0, 4, 3)], (4, 5))


def test_the_blending_window_is_symmetric_and_positive() -> None:
    """The blending window is symmetric positive and highest in the middle."""
    window = blending_window((8, 5))
    assert window.shape == (8, 5)
    torch.testing.assert_close(window, window.flip(0, 1))
    assert window.min() > 0
    assert window[4, 2] == window.max()
    assert window[0, 0] == window.min()


@pytest.mark.parametrize(
    ("size", "budget", "grid"),
    [
        ((336, 336), 9, (1, 1)),  # fits: more tiles would show no more
        ((672, 672), 9, (2, 2)),
        ((500, 4000), 9, (8, 1)),  # limited by the height: eight of nine tiles show as much
        ((4000, 500), 9, (1, 8)),
        ((3000, 4000), 12, (4, 3)),
        ((10_000, 10_000), 5, (2, 2)),
    ],
)
def test_the_grid_follows_the_shape_of_the_image(size: tuple, budget: int, grid: tuple) -> None:
    assert best_grid(size, (336, 336), budget) == grid


@PATIENT
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 30), st.integers(0, 40))
def test_no_other_grid_of_the_budget_has_a_larger_effective_area(
    height: int, width: int, budget: int, shared: int
) -> None:
    def effective(columns: int, rows: int) -> float:
        scale = min(
            (shared + columns * (100 - shared)) / width, (shared + rows * (100 - shared)) / height
        )
        return min(width * scale, width) * min(height * scale, height)

    size, tile, parts = (height, width), (100, 100), (shared, shared)
    best = best_grid(size, tile, budget, parts)
    assert best[0] * best[1] <= budget
    areas = [effective(c, r) for c, r in product(range(1, budget + 1), repeat=2) if c * r <= budget]
    assert effective(*best) == pytest.approx(max(areas))
    scale = min(grid_scale(size, tile, best, parts), 1)
    boxes = tile_boxes(
        (max(int(height * scale), 1), max(int(width * scale), 1)), tile, shared / 100
    )
    assert len(boxes) <= budget


def test_a_budget_of_no_tiles_is_refused() -> None:
    with pytest.raises(ValueError, match="a budget of 0 tiles"):
        best_grid((10, 10), (5, 5), 0)
