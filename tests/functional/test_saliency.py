"""How unlike the rest a place is: against loops over places, overlaps and vanished objects
included.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zsad.functional import saliency
from zsad.functional.saliency import between_objects, farthest_mean, join_stages, on_grid


def features_of(seed: int, size: int, *, positive: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand if positive else torch.randn
    sides = (size, size // 2, size // 4)
    return join_stages(
        [draw(2 + i, side, side, generator=generator) for i, side in enumerate(sides)]
    )


def slow_between(features: Tensor, masks: Tensor) -> Tensor:
    """Compare as the published program does: place by place, object by object, duplicates and zeros
    kept.
    """
    heat = torch.zeros(len(masks), *features.shape[1:])
    for i, own in enumerate(masks):
        emptied = features.clone()
        emptied[:, own] = 0
        bank = torch.cat([emptied[:, other].T for j, other in enumerate(masks) if j != i])
        for y, x in own.nonzero().tolist():
            heat[i, y, x] = (1 - max(float(features[:, y, x] @ one) for one in bank)) / 2
    return heat.amax(dim=0)


def test_stages_are_joined_by_nearest_neighbour_to_unit_vectors() -> None:
    stages = [torch.ones(1, 4, 4), torch.arange(4.0).view(1, 2, 2)]
    joined = join_stages(stages)
    assert joined.shape == (2, 4, 4)
    torch.testing.assert_close(joined.norm(dim=0), torch.ones(4, 4))
    torch.testing.assert_close((joined[1] / joined[0])[0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    torch.testing.assert_close((joined[1] / joined[0])[3], torch.tensor([2.0, 2.0, 3.0, 3.0]))


@pytest.mark.parametrize("n_top", [1, 5, 400])
@pytest.mark.parametrize("at_once", [1, 100, 1 << 20])
def test_the_mean_is_over_the_farthest_places(
    n_top: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saliency, "_AT_ONCE", at_once)
    features = features_of(0, 8)
    vectors = features.flatten(1).T
    distances = (1 - vectors @ vectors.T) / 2
    expected = distances.sort(dim=1, descending=True).values[:, :n_top].mean(dim=1).view(8, 8)
    torch.testing.assert_close(farthest_mean(features, n_top), expected, atol=1e-6, rtol=0)


def test_an_image_of_one_colour_has_no_salient_place() -> None:
    torch.testing.assert_close(
        farthest_mean(join_stages([torch.ones(3, 4, 4)]), 5), torch.zeros(4, 4)
    )


@given(
    st.integers(0, 200),
    st.integers(2, 5),
    st.sampled_from([0.1, 0.4, 0.8]),
    st.sampled_from([7, 40, 1 << 20]),
)
def test_objects_are_compared_as_place_by_place(
    seed: int, m: int, density: float, at_once: int
) -> None:
    masks = (
        torch.rand(m, 8, 8, generator=torch.Generator().manual_seed(seed)) < density
    )  # they overlap
    masks[:, 0, 0] = False
    masks[torch.arange(m), 0, torch.arange(m) + 1] = True  # none is empty
    features = features_of(seed, 8, positive=seed % 2 == 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saliency, "_AT_ONCE", at_once)
        heat = between_objects(features, masks)
    torch.testing.assert_close(heat, slow_between(features, masks), atol=1e-6, rtol=0)


def test_objects_apart_are_compared_as_place_by_place() -> None:
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :3, :3] = masks[1, 5:, 1:4] = masks[2, 2:7, 5:] = True
    features = features_of(1, 8)
    heat = between_objects(features, masks)
    torch.testing.assert_close(heat, slow_between(features, masks), atol=1e-6, rtol=0)
    assert (heat[~masks.any(dim=0)] == 0).all()


def test_an_object_inside_another_has_no_direction_to_compare() -> None:
    """An object inside the only other one is compared with a vector without direction."""
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0], masks[1, 3:5, 3:5] = True, True
    features = features_of(2, 8, positive=True)
    heat = between_objects(features, masks)
    torch.testing.assert_close(heat, slow_between(features, masks), atol=1e-6, rtol=0)
    assert heat[0, 0] == 0.5


def test_the_odd_one_out_is_where_the_map_is_highest() -> None:
    features = torch.zeros(3, 8, 8)
    features[0] = 1
    features[:, 5:7, 5:7] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :2, :2] = masks[1, :2, 4:6] = masks[2, 5:7, 5:7] = True
    heat = between_objects(features, masks)
    assert (heat[masks[2]] == 0.5).all()
    assert (heat[~masks[2]] == 0).all()


def test_masks_that_vanish_on_the_grid_are_dropped() -> None:
    """Masks come to the grid and those that vanish are passed over."""
    large = torch.zeros(3, 80, 40, dtype=torch.bool)
    large[0, :40], large[1, 40:], large[2, 1, 1] = (
        True,
        True,
        True,
    )  # the last misses every eighth pixel
    small = on_grid(large, (8, 8))
    assert small.shape == (2, 8, 8)
    assert small[0, :4].all()
    assert not small[0, 4:].any()
    features = features_of(3, 8)
    assert torch.equal(between_objects(features, large), between_objects(features, small))


@pytest.mark.parametrize("left", [0, 1])
def test_fewer_than_two_objects_cannot_be_compared(left: int) -> None:
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[:left, 2:4] = True
    with pytest.raises(
        ValueError, match=rf"^{left} objects on a grid of \(8, 8\): two or more can be compared"
    ):
        between_objects(features_of(0, 8), masks)
