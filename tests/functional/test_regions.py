"""Boxes and masks: suppression against a slow loop, fusion against all masks at once."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zsad.functional.regions import MaskFusion, area, means_inside, suppress_overlaps, to_corners


def boxes_of(seed: int, n: int) -> Tensor:
    first = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed)) * 10
    return torch.cat(
        [first, first + torch.rand(n, 2, generator=torch.Generator().manual_seed(seed + 1)) * 6],
        dim=1,
    )


def masks_of(seed: int, m: int, size: tuple[int, int]) -> Tensor:
    masks = torch.rand(m, *size, generator=torch.Generator().manual_seed(seed)) < 0.3
    masks[::3] = False  # some are empty
    return masks


def slow_iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def slow_suppress(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(slow_iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


def test_corners_are_pixels_and_may_lie_outside_the_image() -> None:
    boxes = torch.tensor([[0.5, 0.25, 1.0, 0.5], [0.0, 1.0, 0.5, 0.5]])
    assert to_corners(boxes, height=100, width=40).tolist() == [[0, 0, 40, 50], [-10, 75, 10, 125]]
    assert area(boxes).tolist() == [0.5, 0.25]


def test_boxes_without_an_area_have_nothing_in_common() -> None:
    points = torch.tensor([[3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0]])
    for threshold in (0.0, 0.5):
        assert suppress_overlaps(points, torch.tensor([0.5, 0.9]), threshold).tolist() == [1, 0]


@given(st.integers(0, 1000), st.integers(0, 25), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]))
def test_suppression_equals_a_slow_loop_equal_scores_included(
    seed: int, n: int, threshold: float
) -> None:
    boxes = boxes_of(seed, n).double()
    scores = torch.randint(0, 5, (n,), generator=torch.Generator().manual_seed(seed)).double() / 5
    assert suppress_overlaps(boxes, scores, threshold).tolist() == slow_suppress(
        boxes.tolist(), scores.tolist(), threshold
    )


def test_a_box_goes_above_the_threshold_not_at_it() -> None:
    boxes = torch.tensor([[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])  # IoU 1/2
    scores = torch.tensor([0.2, 0.9])
    assert suppress_overlaps(boxes, scores, 0.5).tolist() == [1, 0]
    assert suppress_overlaps(boxes, scores, 0.49).tolist() == [1]


@given(st.integers(0, 1000), st.integers(0, 6))
def test_means_are_of_the_pixels_inside_and_0_of_an_empty_mask(seed: int, m: int) -> None:
    """Means are those of the pixels inside and 0 of an empty mask."""
    masks, values = (
        masks_of(seed, m, (5, 7)),
        torch.rand(5, 7, generator=torch.Generator().manual_seed(seed)),
    )
    expected = [values[mask].double().mean().item() if mask.any() else 0.0 for mask in masks]
    assert means_inside(values, masks).tolist() == pytest.approx(expected, abs=1e-6)


def test_nan_outside_a_mask_does_not_reach_its_mean() -> None:
    """What is not a number outside a mask does not reach its mean."""
    values = torch.tensor([[1.0, math.nan, 3.0]])
    assert means_inside(values, torch.tensor([[[True, False, True]]])).tolist() == [2.0]


@given(st.integers(0, 1000), st.integers(0, 9), st.integers(1, 9))
def test_fusion_does_not_depend_on_how_masks_are_divided(seed: int, m: int, chunk: int) -> None:
    """Fusion equals all masks at once however they are divided."""
    masks, weights = (
        masks_of(seed, m, (6, 5)),
        torch.rand(m, generator=torch.Generator().manual_seed(seed)).double(),
    )
    at_once, in_parts = MaskFusion((6, 5)), MaskFusion((6, 5))
    at_once.add(masks, weights)
    for start in range(0, m, chunk):
        in_parts.add(masks[start : start + chunk], weights[start : start + chunk])
    weighted, count = masks.double() * weights[:, None, None], masks.double().sum(dim=0)
    expected = {
        "total": weighted.sum(dim=0),
        "code": weighted.sum(dim=0) / (1 + count),
        "paper": weighted.sum(dim=0) / count.clamp(min=1),
        "peak": weighted.amax(dim=0) if m else torch.zeros(6, 5).double(),
    }
    for name, reference in expected.items():
        torch.testing.assert_close(getattr(at_once, name)(), reference, atol=1e-12, rtol=0)
        assert torch.equal(getattr(in_parts, name)(), getattr(at_once, name)()), name


def test_a_single_mask_has_half_its_weight_in_the_code() -> None:
    """One mask has half its weight in the code and all of it in the paper."""
    fusion = MaskFusion((1, 2))
    fusion.add(torch.tensor([[[True, False]]]), torch.tensor([0.75]))
    assert fusion.code().tolist() == [[0.375, 0.0]]
    assert (
        fusion.paper().tolist()
        == fusion.total().tolist()
        == fusion.peak().tolist()
        == [[0.75, 0.0]]
    )


def test_a_result_does_not_change_when_more_masks_come() -> None:
    fusion = MaskFusion((1, 1))
    fusion.add(torch.ones(1, 1, 1, dtype=torch.bool), torch.tensor([1.0]))
    before = fusion.total(), fusion.peak(), fusion.code(), fusion.paper()
    fusion.add(torch.ones(1, 1, 1, dtype=torch.bool), torch.tensor([3.0]))
    assert [one.item() for one in before] == [1.0, 1.0, 0.5, 1.0]


def test_fusion_holds_no_floats_for_every_mask() -> None:
    sizes: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            sizes.extend(
                one.nbytes
                for one in (result if isinstance(result, tuple) else (result,))
                if one is not None and isinstance(one, Tensor) and one.is_floating_point()
            )
            return result

    masks = torch.zeros(30, 64, 64, dtype=torch.bool)
    masks[:, 5:60, 5:60] = True
    fusion = MaskFusion((64, 64))
    with Watch():
        fusion.add(masks, torch.rand(30))
    assert max(sizes) <= 64 * 64 * 8
