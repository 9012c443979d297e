"""Confidence intervals equal a slow loop over resampled items, and cover what they promise."""

from __future__ import annotations

import pytest
import torch

from zsad.metrics import bootstrap, curves, operating_points

PAIRS = [
    (operating_points.roc_area, curves.auroc),
    (operating_points.precision_recall_area, curves.average_precision),
    (operating_points.f1_best, curves.f1_max),
    (operating_points.iou_best, curves.iou_max),
]


def scores(good=30, bad=20, seed=0, shift=1.0):
    """Scores of normal and of anomalous images, with ties."""
    generator = torch.Generator().manual_seed(seed)
    normal, anomalous = (
        torch.randn(good, generator=generator),
        torch.randn(bad, generator=generator) + shift,
    )
    return (anomalous * 4).round() / 4, (normal * 4).round() / 4


@pytest.mark.parametrize(("formula", "metric"), PAIRS)
def test_all_replicates_at_once_equal_one_after_the_other(formula, metric):
    anomalous, normal = scores()
    ranking = curves.rank(anomalous, normal)
    generator, expected = torch.Generator().manual_seed(5), []
    drawn_bad = torch.randint(20, (40, 20), generator=generator)
    drawn_good = torch.randint(30, (40, 30), generator=generator)
    for bad, good in zip(drawn_bad, drawn_good, strict=True):
        expected.append(metric(curves.rank(ranking.anomalous[bad], ranking.normal[good])))
    assert bootstrap.replicates(ranking, formula, count=40, seed=5).tolist() == pytest.approx(
        expected, abs=1e-12
    )


def test_the_seed_decides_and_the_order_of_the_images_does_not():
    anomalous, normal = scores()
    first, shuffled = curves.rank(anomalous, normal), curves.rank(anomalous.flip(0), normal.roll(7))
    once, again, other = (
        bootstrap.replicates(ranking, operating_points.roc_area, count=50, seed=seed)
        for ranking, seed in ((first, 1), (shuffled, 1), (first, 2))
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_large_sets_are_resampled_in_pieces(monkeypatch):
    ranking = curves.rank(*scores())
    monkeypatch.setattr(bootstrap, "_ITEMS_AT_ONCE", 50 * 7)
    assert len(bootstrap.replicates(ranking, operating_points.roc_area, count=23)) == 23


def test_most_intervals_hold_the_value_of_many_more_images():
    truth = curves.auroc(curves.rank(*scores(good=20_000, bad=20_000, seed=99)))
    held = 0
    for seed in range(60):
        low, high = bootstrap.interval(
            bootstrap.replicates(curves.rank(*scores(40, 40, seed)), operating_points.roc_area, 300)
        )
        held += low <= truth <= high
    assert 50 <= held <= 60


def test_one_kind_of_image_cannot_be_resampled():
    with pytest.raises(ValueError, match=r"got \(3, 0\) normal and anomalous items"):
        bootstrap.replicates(curves.rank(torch.zeros(0), torch.zeros(3)), operating_points.roc_area)
