"""Thresholds keep what their rule promises, whether scores were sorted or counted."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.histograms import histogram_of
from zsad.metrics.binned_ranking import BinnedRanking
from zsad.metrics.ranking import Ranking, rank
from zsad.metrics.threshold_rules import decisions, merge_rankings, parse_rule, threshold_at_fpr

PATIENT = settings(
    deadline=None, max_examples=40
)  # the time of an example says nothing on a busy machine
SCORES = st.lists(st.integers(-8, 8).map(lambda score: score / 4), min_size=1, max_size=40)


def tensor(scores: list[float]) -> torch.Tensor:
    return torch.tensor(scores, dtype=torch.float32)


def binned(anomalous: list[float], normal: list[float], bins: int = 16) -> BinnedRanking:
    weight = torch.ones(len(anomalous), dtype=torch.float64)
    return BinnedRanking(histogram_of(tensor(anomalous), tensor(normal), weight, bins))


def share_called(scores: list[float], threshold: float) -> float:
    return sum(score >= threshold for score in scores) / len(scores)


@PATIENT
@given(normal=SCORES, share=st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.5, 0.9]))
def test_the_lowest_threshold_keeps_a_false_positive_rate(
    normal: list[float], share: float
) -> None:
    """No lower threshold keeps the rate."""
    threshold = threshold_at_fpr(rank(torch.zeros(0), tensor(normal)), share)
    assert share_called(normal, threshold) <= share
    lower = max(score for score in normal if score < threshold)
    assert share_called(normal, lower) > share


@PATIENT
@given(
    normal=st.lists(st.floats(-9, 9, width=32), min_size=20, max_size=80),
    share=st.sampled_from([0.05, 0.2, 0.5]),
)
def test_a_coarse_histogram_never_lets_more_false_alarms_through(
    normal: list[float], share: float
) -> None:
    threshold = threshold_at_fpr(binned([], normal), share)
    assert share_called(normal, threshold) <= share


@pytest.mark.parametrize(
    "make", [lambda a, n: rank(tensor(a), tensor(n)), binned], ids=["sorted", "binned"]
)
@PATIENT
@given(anomalous=SCORES, normal=SCORES)
def test_the_f1_rule_finds_the_best_of_all_thresholds(
    make, anomalous: list[float], normal: list[float]
) -> None:
    def f1(threshold: float) -> float:
        true_positives, false_positives = (
            sum(score >= threshold for score in scores) for scores in (anomalous, normal)
        )
        return 2 * true_positives / (true_positives + false_positives + len(anomalous))

    ranking: Ranking = make(anomalous, normal)
    threshold = parse_rule("f1_max").image_threshold(ranking)
    found = decisions(ranking, threshold)
    assert f1(threshold) == pytest.approx(max(map(f1, anomalous)))
    assert found.f1 == pytest.approx(f1(threshold))
    assert found.recall == pytest.approx(share_called(anomalous, threshold))
    assert found.false_positive_rate == pytest.approx(share_called(normal, threshold))


def test_normal_only_lets_a_share_of_normal_images_show_anything() -> None:
    rule = parse_rule("normal_only=0.25")
    peaks = torch.tensor([0.1, 0.4, 0.2, 0.3])
    threshold = rule.pixel_threshold(rank(torch.zeros(0), torch.rand(100)), peaks)
    assert (peaks >= threshold).tolist() == [False, True, False, False]
    assert rule.image_threshold(rank(torch.zeros(0), torch.arange(4.0))) == pytest.approx(
        2.0, abs=1e-5
    )


@pytest.mark.parametrize("rule", ["f1_max", "fpr=0.1", "normal_only"])
def test_nothing_is_chosen_from_nothing(rule: str) -> None:
    nothing = rank(torch.zeros(0), torch.zeros(0))
    assert math.isnan(parse_rule(rule).image_threshold(nothing))
    assert math.isnan(parse_rule(rule).pixel_threshold(nothing, torch.zeros(0)))


@PATIENT
@given(parts=st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=4))
def test_pooled_categories_are_ranked_as_one(parts: list[tuple[list[float], list[float]]]) -> None:
    anomalous, normal = (
        [score for part in side for score in part] for side in zip(*parts, strict=True)
    )
    sorted_parts = merge_rankings([rank(tensor(a), tensor(n)) for a, n in parts])
    binned_parts = merge_rankings([binned(a, n, bins=64) for a, n in parts])
    for pooled in (sorted_parts, binned_parts):
        assert pooled.counts == (len(normal), len(anomalous))
        assert threshold_at_fpr(pooled, 0.1) == threshold_at_fpr(
            rank(tensor(anomalous), tensor(normal)), 0.1
        )


@pytest.mark.parametrize(
    "text", ["f1", "fpr", "fpr=1", "fpr=-0.1", "fpr=lots", "f1_max=0.5", "normal_only=2", "fpr="]
)
def test_an_unknown_rule_is_answered_with_the_known_rules(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected f1_max, fpr=0.05.*normal_only"):
        parse_rule(text)
