"""Metrics equal the published evaluation code's numbers, scikit-learn, or a slow loop."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from zsad.metrics import curves
from zsad.metrics.operating_points import OperatingPoints, precision_recall_area

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "metrics").glob("*.npz"))
PIXEL = {
    "pixel_auroc": (curves.auroc, 1e-9),
    "pixel_ap": (curves.average_precision, 1e-9),
    "pixel_f1max": (curves.f1_max, 1e-9),
    "pixel_aupro": (curves.aupro_200, 1e-5),
}
IMAGE = {
    "image_auroc": (curves.auroc, 1e-9),
    "image_ap": (curves.average_precision, 1e-9),
    "image_f1max": (curves.f1_max, 1e-9),
}
FLOATS = st.floats(-1e6, 1e6, width=32)


def golden_cases():
    for path in GOLDEN:
        names = sorted({key.split(".")[0] for key in np.load(path)})
        yield from (pytest.param(path, name, id=f"{path.stem}-{name}") for name in names)


@pytest.mark.parametrize(("path", "case"), list(golden_cases()))
def test_metrics_equal_the_published_evaluation_code(path, case):
    stored = np.load(path)
    masks, maps = (torch.from_numpy(stored[f"{case}.{name}"]) for name in ("masks", "maps"))
    scores, labels = (torch.from_numpy(stored[f"{case}.{name}"]) for name in ("scores", "labels"))
    pixels, images = curves.rank_pixels(maps, masks > 0), curves.rank_labelled(scores, labels > 0)
    for ranking, metrics in ((pixels, PIXEL), (images, IMAGE)):
        for name, (metric, bound) in metrics.items():
            assert metric(ranking) == pytest.approx(
                float(stored[f"{case}.{name}"]), abs=bound, nan_ok=True
            ), name


@st.composite
def labelled_scores(draw):
    """Scores with many ties and at least one item of each kind."""
    values = draw(st.lists(FLOATS, min_size=1, max_size=6))
    scores = draw(st.lists(st.sampled_from(values), min_size=2, max_size=40))
    labels = draw(st.lists(st.booleans(), min_size=len(scores) - 2, max_size=len(scores) - 2))
    return torch.tensor(scores), torch.tensor([True, False, *labels])


@given(labelled_scores())
def test_metrics_equal_scikit_learn_ties_included(case):
    scores, labels = case
    ranking = curves.rank_labelled(scores, labels)
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert curves.auroc(ranking) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert curves.average_precision(ranking) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    assert curves.f1_max(ranking) == pytest.approx(f1.max(), abs=1e-12)


@given(labelled_scores(), st.sampled_from([0.5, 0.95, 1.0]))
def test_the_false_positive_rate_at_a_recall_equals_scikit_learn(case, tpr):
    scores, labels = case
    false_rate, true_rate, _ = roc_curve(labels, scores, drop_intermediate=False)
    ours = curves.fpr_at_tpr(curves.rank_labelled(scores, labels), tpr=tpr)
    assert ours == pytest.approx(false_rate[(true_rate >= tpr).argmax()], abs=1e-12)


@given(labelled_scores())
def test_iou_max_is_the_overlap_at_the_best_threshold(case):
    scores, labels = case
    called = [scores >= threshold for threshold in scores]
    expected = max(((found & labels).sum() / (found | labels).sum()).item() for found in called)
    assert curves.iou_max(curves.rank_labelled(scores, labels)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("true_positives", "false_positives"), [(1, 1), (3, 5), (40, 9), (60, 200)]
)
def test_precision_inside_a_mixed_bin_is_that_of_a_random_order(true_positives, false_positives):
    before = torch.tensor([10.0, 10.0 + true_positives]).double()
    above, at = (
        torch.tensor([0.0, 4.0]).double(),
        torch.tensor([4.0, 4.0 + false_positives]).double(),
    )
    points = OperatingPoints(
        torch.tensor([1.0, 0.0]),
        before,
        before,
        at,
        above,
        at[-1],
        mixed=torch.tensor([False, True]),
    )
    labels = torch.arange(true_positives + false_positives) < true_positives
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(3000):
        called = labels[torch.randperm(len(labels), generator=generator)]
        truth = 10 + called.cumsum(0)
        found.append((truth / (truth + 4 + (~called).cumsum(0)))[called].sum())
    expected = (10 * 10 / 14 + float(torch.stack(found).mean())) / (10 + true_positives)
    assert float(precision_recall_area(points)) == pytest.approx(expected, abs=1e-2)


@given(labelled_scores())
def test_the_f1_threshold_reaches_the_f1_it_promises(case):
    scores, labels = case
    value, threshold = curves.f1_optimum(curves.rank_labelled(scores, labels))
    called = scores >= threshold
    true_positives = (called & labels).sum().item()
    assert 2 * true_positives / (called.sum().item() + labels.sum().item()) == pytest.approx(
        value, abs=1e-12
    )


def slow_aupro(maps, masks, limit):
    """Every threshold, every region, one after the other."""
    maps, masks = maps.double().numpy(), masks.numpy()
    regions = [
        one_map[labels == i]
        for one_map, (labels, count) in zip(
            maps, (ndimage.label(m, np.ones((3, 3))) for m in masks), strict=True
        )
        for i in range(1, count + 1)
    ]
    normal = maps[~masks]
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel()), reverse=True):
        overlap = np.mean([(region >= threshold).mean() for region in regions])
        points.append(((normal >= threshold).mean(), overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return area / limit


def random_maps(seed, levels=None):
    """Three 12 × 12 maps with their masks; ``levels`` leaves only so many different scores."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(3, 12, 12, generator=generator)
    masks = torch.rand(3, 12, 12, generator=generator) < 0.15
    maps = maps + 0.3 * masks
    return (maps * levels).round() / levels if levels else maps, masks


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, 3, 20]), st.sampled_from([0.01, 0.3, 1.0]))
def test_aupro_equals_the_slow_loop(seed, levels, limit):
    maps, masks = random_maps(seed, levels)
    fast = curves.aupro(curves.rank_pixels(maps, masks), fpr_limit=limit)
    assert fast == pytest.approx(slow_aupro(maps, masks, limit), abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([torch.exp, torch.atan, lambda x: x**3 - 5, lambda x: 1e-6 * x]),
)
def test_exact_metrics_depend_on_the_order_of_the_scores_only(seed, rising):
    maps, masks = random_maps(seed)
    before, after = (curves.rank_pixels(m, masks) for m in (maps.double(), rising(maps.double())))
    for metric in (curves.auroc, curves.average_precision, curves.f1_max, curves.aupro):
        assert metric(after) == pytest.approx(metric(before), abs=1e-12)


def test_rescaled_scores_move_aupro_200_alone():
    """The exact AUPRO depends on the ranking alone."""
    maps, masks = random_maps(seed=3)
    plain, rescaled = (curves.rank_pixels(maps.double() ** power, masks) for power in (1, 24))
    assert abs(curves.aupro_200(plain) - curves.aupro_200(rescaled)) > 0.02
    assert curves.aupro(plain) == pytest.approx(curves.aupro(rescaled), abs=1e-12)


def test_a_diagonal_run_is_one_region_and_weighs_as_one():
    masks = torch.zeros(1, 6, 6, dtype=torch.bool)
    masks[0, [0, 1, 2], [0, 1, 2]] = masks[0, 5, 5] = True
    maps = torch.zeros(1, 6, 6)
    maps[0, 5, 5] = (
        1.0  # one of two regions found at once, the other is tied with everything normal
    )
    expected = 0.5 + 0.5 * 0.3 / 2
    assert curves.aupro(curves.rank_pixels(maps, masks), fpr_limit=0.3) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [*(m for m, _ in PIXEL.values()), curves.aupro])
@pytest.mark.parametrize("mask_value", [True, False])
def test_one_kind_of_pixel_leaves_every_metric_undefined(metric, mask_value):
    masks = torch.full((2, 4, 4), mask_value)
    assert math.isnan(metric(curves.rank_pixels(torch.rand(2, 4, 4), masks)))


def test_nothing_at_all_is_undefined_too():
    ranking = curves.rank_pixels(torch.zeros(0, 4, 4), torch.zeros(0, 4, 4, dtype=torch.bool))
    assert math.isnan(curves.aupro(ranking))


def test_constant_maps_are_chance_and_undefined_for_aupro_200():
    """Chance for the exact metrics."""
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 0, 0] = True
    ranking = curves.rank_pixels(torch.full((1, 4, 4), 0.5), masks)
    assert curves.auroc(ranking) == 0.5
    assert curves.aupro(ranking, fpr_limit=0.3) == pytest.approx(0.15)
    assert math.isnan(curves.aupro_200(ranking))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["anomalous", "normal"])
def test_scores_without_a_rank_are_refused_by_name(bad, kind):
    scores = {
        "anomalous": torch.zeros(3),
        "normal": torch.zeros(3),
        kind: torch.tensor([0.0, bad, 1.0]),
    }
    with pytest.raises(ValueError, match=f"1 of 3 scores of {kind} items are not finite.*{bad}"):
        curves.rank(**scores)


def test_half_precision_scores_are_ranked_as_they_are():
    scores, labels = torch.tensor([0.1, 0.2, 0.2, 0.9]), torch.tensor([False, False, True, True])
    half, full = (
        curves.rank_labelled(scores.to(dtype), labels) for dtype in (torch.bfloat16, torch.float32)
    )
    assert curves.auroc(half) == curves.auroc(full)


def test_inputs_stay_as_they_were():
    scores = torch.tensor([0.9, 0.1, 0.5])
    curves.rank(scores, scores, torch.ones(3, dtype=torch.float64))
    assert scores.tolist() == torch.tensor([0.9, 0.1, 0.5]).tolist()
