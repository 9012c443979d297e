"""Counting agrees with sorting, in constant memory, and to the same bits in any order."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional as F

from tests.metrics.histograms import add_scores, histogram_of
from zsad.metrics import curves, score_histogram
from zsad.metrics.binned_ranking import BinnedRanking
from zsad.metrics.connected_components import region_weights
from zsad.metrics.float_keys import keys_from_scores, scores_from_keys
from zsad.metrics.score_histogram import Histogram

METRICS = {
    "auroc": curves.auroc,
    "ap": curves.average_precision,
    "f1max": curves.f1_max,
    "aupro": curves.aupro,
    "aupro_05": partial(curves.aupro, fpr_limit=0.05),
    "aupro_01": partial(curves.aupro, fpr_limit=0.01),
    "ioumax": curves.iou_max,
    "fpr95": curves.fpr_at_tpr,
}
SCORES = arrays(
    np.float32,
    st.integers(1, 80),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def counted(maps, masks, bins):
    weight = torch.cat([region_weights(mask) for mask in masks])
    return histogram_of(maps[masks], maps[~masks], weight, bins)


def smooth_maps(count, size, seed=0):
    """Maps like those of a method, higher by one standard deviation on defects of many sizes."""
    generator = torch.Generator().manual_seed(seed)
    maps = F.interpolate(
        torch.randn(count, 1, 37, 37, generator=generator), (size, size), mode="bilinear"
    )[:, 0]
    field = F.interpolate(
        torch.randn(count, 1, 14, 14, generator=generator), (size, size), mode="bicubic"
    )[:, 0]
    masks = field > np.quantile(field[:, ::5, ::5].numpy(), 0.98)
    return maps + masks, masks


@given(SCORES)
def test_keys_have_the_order_of_the_scores_and_lead_back_to_them(scores):
    scores = torch.from_numpy(scores)
    keys = keys_from_scores(scores)
    assert torch.equal(scores_from_keys(keys), scores)
    assert torch.equal(keys[:, None] < keys[None], scores[:, None] < scores[None])


@given(
    st.lists(
        st.sampled_from([0.0, -0.0, 0.5, 1.0, 1e-45, -1e-45, 3e38, -3e38])
        | st.floats(0.25, 1.5, width=32)
    )
)
def test_keys_stay_in_order_where_their_rule_changes(scores):
    scores = torch.tensor(scores)
    keys = keys_from_scores(scores)
    assert torch.equal(keys[:, None] < keys[None], scores[:, None] < scores[None])


@st.composite
def parted_scores(draw):
    """Scores with labels and weights, and a way to part them."""
    scores = torch.from_numpy(draw(SCORES))
    bad = torch.from_numpy(draw(arrays(bool, len(scores))))
    part = torch.from_numpy(draw(arrays(np.int64, len(scores), elements=st.integers(0, 2))))
    order = torch.tensor(draw(st.permutations(range(3))))
    return scores, bad, part, order


@given(parted_scores())
def test_no_order_and_no_split_changes_a_bit(case):
    scores, bad, part, order = case
    weight = 1 / (1 + torch.arange(len(scores)) % 7).double()
    whole = histogram_of(scores[bad], scores[~bad], weight[bad], bins=16)
    streamed, apart = score_histogram.empty_histogram(), []
    for name in order:
        mine, good = bad & (part == name), ~bad & (part == name)
        streamed = add_scores(streamed, scores[mine], scores[good], weight[mine], bins=16)
        apart.append(histogram_of(scores[mine], scores[good], weight[mine], bins=16))
    for other in (streamed, score_histogram.merge_histograms(apart, bins=16)):
        assert other.shift == whole.shift
        assert torch.equal(other.bins, whole.bins)


def bin_names(keys, shift):
    """What the module promises: the keys without their last bits, but for the two extremes."""
    return [{keys.min(): -math.inf, keys.max(): math.inf}.get(key, key >> shift) for key in keys]


@given(parted_scores())
def test_bins_hold_all_scores_and_give_up_no_bit_without_need(case):
    scores, bad, _, _ = case
    made = histogram_of(scores[bad], scores[~bad], torch.ones(int(bad.sum())).double(), bins=16)
    keys = keys_from_scores(scores).numpy()
    names = bin_names(keys, made.shift)
    assert len(made.bins) <= 16
    assert made.shift == 0 or len(set(bin_names(keys, made.shift - 1))) > 16
    assert len(made.bins) == len(set(names))
    for row, name in zip(made.bins.tolist(), sorted(set(names)), strict=True):
        own = np.array([other == name for other in names])
        kinds = [int((own & kind).sum()) for kind in (~bad.numpy(), bad.numpy())]
        assert row == [
            keys[own].min(),
            keys[own].max(),
            *kinds,
            kinds[1] * score_histogram.REGION_WEIGHT,
        ]


def test_few_different_scores_stay_exact_wherever_they_lie():
    generator = torch.Generator().manual_seed(0)
    grid = torch.cat(
        (
            torch.tensor([-3e30, -1.0, 0.0, 1e-40]),
            1 - torch.arange(20) * 2**-24,
            torch.tensor([7.0, 3e38]),
        )
    )
    maps, masks = (
        grid[torch.randint(len(grid), (3, 40, 40), generator=generator)],
        torch.zeros(3, 40, 40).bool(),
    )
    masks[0, 3:9, 5:20] = masks[2, 30, 30] = True
    exact, binned = curves.rank_pixels(maps, masks), BinnedRanking(counted(maps, masks, bins=32))
    for name, metric in METRICS.items():
        assert metric(binned) == pytest.approx(metric(exact), abs=1e-9), name


def tiny_regions(maps, masks):
    spots = torch.zeros_like(masks)
    index = torch.randint(masks.numel(), (60,), generator=torch.Generator().manual_seed(2))
    spots.view(-1)[index] = True
    return (maps - masks.float() + 2 * spots).sigmoid(), spots


CASES = {
    "margins": lambda maps, masks: (2 * maps, masks),
    "probabilities": lambda maps, masks: ((2 * maps).sigmoid(), masks),
    "saturated": lambda maps, masks: ((25 * maps).sigmoid(), masks),
    "saturated and steep": lambda maps, masks: (
        (1 - (1 - maps.double().sigmoid()) ** 16).float(),
        masks,
    ),
    "close to zero": lambda maps, masks: (maps.double().sigmoid().pow(64).float(), masks),
    "narrow": lambda maps, masks: (0.37 + 0.001 * maps, masks),
    "tied": lambda maps, masks: ((20 * maps).round() / 20, masks),
    "clipped": lambda maps, masks: (maps.clamp(min=0.3, max=1.7), masks),
    "tiny regions": tiny_regions,
}


@pytest.mark.parametrize("case", CASES)
def test_with_2_16_bins_all_metrics_are_within_1e_4(case):
    maps, masks = CASES[case](*smooth_maps(6, 300))
    exact, binned = curves.rank_pixels(maps, masks), BinnedRanking(counted(maps, masks, bins=2**16))
    for name, metric in METRICS.items():
        assert metric(binned) == pytest.approx(metric(exact), abs=1e-4), name


@pytest.mark.parametrize("case", ["probabilities", "saturated", "clipped", "tiny regions"])
def test_with_2_20_bins_all_metrics_are_within_1e_5(case):
    maps, masks = CASES[case](*smooth_maps(6, 518))
    exact, binned = curves.rank_pixels(maps, masks), BinnedRanking(counted(maps, masks, bins=2**20))
    for name, metric in METRICS.items():
        assert metric(binned) == pytest.approx(metric(exact), abs=1e-5), name


def test_a_million_bins_are_not_always_enough_to_be_exact():
    maps, masks = CASES["probabilities"](*smooth_maps(6, 518))
    assert counted(maps, masks, bins=2**20).shift > 0


@pytest.mark.parametrize("case", ["probabilities", "narrow", "clipped"])
def test_the_papers_aupro_is_read_off_the_bins(case):
    maps, masks = CASES[case](*smooth_maps(6, 300))
    exact, binned = curves.rank_pixels(maps, masks), BinnedRanking(counted(maps, masks, bins=2**16))
    assert curves.aupro_200(binned) == pytest.approx(curves.aupro_200(exact), abs=1e-4)


RISING = st.one_of(
    st.floats(0.1, 10).map(lambda power: lambda p: p**power),
    st.floats(1, 4).map(lambda power: lambda p: 1 - (1 - p) ** power),
    st.floats(-6, 6).map(lambda scale: lambda p: 10**scale * p),
    st.floats(0.3, 5).map(lambda rate: lambda p: (rate * p.logit()).exp()),
    st.floats(0.3, 3).map(lambda rate: lambda p: rate * p.logit()),
    st.floats(0.3, 2).map(lambda rate: lambda p: (rate * p.logit()).atan()),
)
ORIGINAL = smooth_maps(5, 400, seed=4)
EXPECTED = {name: metric(curves.rank_pixels(*ORIGINAL)) for name, metric in METRICS.items()}


@settings(max_examples=12, deadline=None, derandomize=True)  # the bound is statistical
@given(RISING)
def test_rescaling_the_scores_moves_no_metric_by_more_than_1e_4(rising):
    maps, masks = ORIGINAL
    binned = BinnedRanking(counted(rising(maps.double().sigmoid()).float(), masks, bins=2**16))
    for name, metric in METRICS.items():
        assert metric(binned) == pytest.approx(EXPECTED[name], abs=1e-4), name


def test_the_f1_threshold_reaches_exactly_the_f1_it_promises():
    maps, masks = CASES["probabilities"](*smooth_maps(4, 200))
    value, threshold = curves.f1_optimum(BinnedRanking(counted(maps, masks, bins=2**10)))
    called = maps >= threshold
    assert 2 * int((called & masks).sum()) / int(called.sum() + masks.sum()) == pytest.approx(
        value, abs=1e-12
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_without_a_rank_are_refused(bad):
    with pytest.raises(ValueError, match="1 of 2 scores of normal items are not finite"):
        histogram_of(torch.zeros(0), torch.tensor([0.0, bad]), torch.zeros(0).double(), bins=16)


@pytest.mark.parametrize("bins", [8, 2**21])
def test_more_or_fewer_bins_than_sensible_are_refused(bins):
    with pytest.raises(ValueError, match=f"bins={bins}, expected 16 to 1048576"):
        score_histogram.check_bins(bins)


@pytest.mark.parametrize("mask_value", [True, False])
def test_one_kind_of_pixel_leaves_every_metric_undefined(mask_value):
    ranking = BinnedRanking(
        counted(torch.rand(2, 5, 5), torch.full((2, 5, 5), mask_value), bins=64)
    )
    assert all(math.isnan(metric(ranking)) for metric in (*METRICS.values(), curves.aupro_200))


def test_nothing_at_all_is_undefined_too():
    ranking = BinnedRanking(score_histogram.empty_histogram())
    assert ranking.counts == (0, 0)
    assert math.isnan(curves.auroc(ranking))


def test_constant_maps_are_chance_and_undefined_for_aupro_200():
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 0, 0] = True
    ranking = BinnedRanking(counted(torch.full((1, 4, 4), 0.5), masks, bins=16))
    assert curves.auroc(ranking) == 0.5
    assert math.isnan(curves.aupro_200(ranking))


def test_adding_leaves_what_was_counted_before_as_it_was():
    before = Histogram(counted(*smooth_maps(1, 20), bins=64).bins.clone())
    bins = before.bins.clone()
    add_scores(before, torch.rand(30), torch.rand(30), torch.ones(30).double(), bins=16)
    assert torch.equal(before.bins, bins)
