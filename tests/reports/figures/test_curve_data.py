"""Lines agree with scikit-learn point by point, and enclose the areas of the metrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, roc_curve

from tests.metrics.histograms import histogram_of
from zsad.metrics.binned_ranking import BinnedRanking
from zsad.metrics.curves import aupro, auroc, average_precision
from zsad.metrics.ranking import rank, rank_labelled, rank_pixels
from zsad.reports.figures.curve_data import (
    FPR_LIMIT,
    Curves,
    curves_from_rankings,
    mean_curves,
    overlap_line,
    precision_line,
    roc_line,
)

GRID = np.linspace(0, 1, 201)
scores = st.lists(st.integers(0, 30), min_size=1, max_size=30)
NOTHING = rank(torch.zeros(0), torch.zeros(0))


def labelled(bad, good):
    values = torch.tensor([*bad, *good], dtype=torch.float64)
    return values, torch.arange(len(values)) < len(bad)


@settings(deadline=None, max_examples=50)
@given(st.sets(st.integers(0, 99), min_size=2, max_size=40), st.data())
def test_the_roc_line_is_scikit_learns_where_nothing_is_tied(values, data):
    count = data.draw(st.integers(1, len(values) - 1))
    ordered = data.draw(st.permutations(sorted(values)))
    values, is_bad = labelled(ordered[:count], ordered[count:])
    fpr, tpr, _ = roc_curve(is_bad, values, drop_intermediate=False)
    highest = [tpr[fpr <= x].max() for x in GRID]
    between = ~np.isin(
        GRID, fpr
    )  # at a step itself rounding decides on which side of it a position is
    np.testing.assert_allclose(
        np.array(roc_line(rank_labelled(values, is_bad).points))[between],
        np.array(highest)[between],
    )


@settings(deadline=None, max_examples=50)
@given(scores, scores)
def test_the_precision_line_is_scikit_learns(bad, good):
    values, is_bad = labelled(bad, good)
    found, recall, _ = precision_recall_curve(is_bad, values)
    expected = [found[:-1][recall[:-1] >= x - 1e-12][-1] for x in GRID]
    line = precision_line(rank_labelled(values, is_bad).points)
    near = np.abs(GRID[:, None] - recall).min(axis=1) < 1e-9
    np.testing.assert_allclose(np.array(line)[~near], np.array(expected)[~near])
    assert np.trapezoid(line, GRID) == pytest.approx(
        average_precision(rank_labelled(values, is_bad)), abs=1 / 200
    )


@settings(deadline=None, max_examples=50)
@given(scores, scores)
def test_the_area_below_the_roc_line_is_the_auroc_ties_included(bad, good):
    ranking = rank_labelled(*labelled(bad, good))
    line = roc_line(ranking.points)
    assert (np.diff(line) >= 0).all()
    assert np.trapezoid(line, GRID) == pytest.approx(auroc(ranking), abs=1 / 200)


@pytest.mark.parametrize("seed", range(3))
def test_the_area_below_the_overlap_line_is_the_aupro(seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(2, 40, 40, dtype=torch.bool)
    masks[0, 5:9, 5:9] = masks[1, 20:30, 10:12] = masks[1, 0:2, 30:40] = True
    maps = torch.rand(2, 40, 40, generator=generator) + 0.5 * masks
    ranking = rank_pixels(maps, masks)
    line = overlap_line(ranking.points)
    area = np.trapezoid(line, np.linspace(0, FPR_LIMIT, len(line))) / FPR_LIMIT
    assert area == pytest.approx(aupro(ranking, FPR_LIMIT), abs=1 / 200)


def test_counted_scores_give_the_lines_of_sorted_ones():
    generator = torch.Generator().manual_seed(0)
    bad, good = torch.rand(50, generator=generator) + 0.3, torch.rand(200, generator=generator)
    counted = BinnedRanking(
        histogram_of(bad, good, torch.ones(50, dtype=torch.float64), bins=2**12)
    )
    assert curves_from_rankings(counted, counted) == curves_from_rankings(
        rank(bad, good), rank(bad, good)
    )


def test_what_is_undefined_has_no_line_and_no_part_in_the_mean():
    ranking = rank(torch.tensor([0.6, 0.9]), torch.tensor([0.1, 0.7]))
    images_only, pixels_only = (
        curves_from_rankings(ranking, NOTHING),
        curves_from_rankings(NOTHING, ranking),
    )
    assert images_only.pixel_roc == images_only.pixel_overlap == pixels_only.image_roc == ()
    mean = mean_curves({"a": images_only, "b": pixels_only, "c": Curves()})
    assert (mean.image_roc, mean.image_precision) == (
        images_only.image_roc,
        images_only.image_precision,
    )
    assert (mean.pixel_roc, mean.pixel_overlap) == (
        pixels_only.pixel_roc,
        pixels_only.pixel_overlap,
    )
    assert mean_curves({}) == Curves()


def test_the_mean_line_is_the_mean_of_the_heights():
    assert mean_curves({"a": Curves((0.0, 1.0)), "b": Curves((0.5, 1.0))}).image_roc == (0.25, 1.0)
