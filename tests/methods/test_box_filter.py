"""From what a detector says to the boxes that are believed: certain, of the right size, not of the
background.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from zsad.backbones.grounded.grounding import Grounding
from zsad.methods.box_filter import (
    BoxCandidates,
    check_range,
    clean_phrase,
    filter_boxes,
    join,
    require_verb,
    without_duplicates,
)

WORDS = ["[CLS]", "crack", "on", "nut", ".", "[SEP]"]
SHARES = st.sampled_from(
    [0.0, 0.1, 0.2, 0.3, 0.5, 0.9]
)  # few, so that many lie exactly on a threshold


def say(scores: list[list[float]], boxes: list[list[float]], min_score: float = 0.0) -> Grounding:
    """Return what a detector says whose tokens are ``WORDS``, with two columns of padding."""
    padded = torch.tensor(scores).reshape(len(scores), len(WORDS))
    columns = torch.cat([padded, torch.zeros(len(scores), 2)], dim=1)
    return Grounding(
        torch.tensor(boxes).reshape(-1, 4), columns, torch.arange(len(WORDS)), spell, min_score
    )


def spell(ids: list[int]) -> str:
    return " ".join(WORDS[one] for one in ids)


@pytest.mark.parametrize("value", ["high", None, True, -0.1, 1.1, math.nan])
def test_what_is_no_share_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(ValueError, match=r"box_threshold=.*: expected a number from 0 to 1"):
        check_range(0, 1, text_threshold=0.5, box_threshold=value)


@st.composite
def sayings(draw: st.DrawFn) -> Grounding:
    count = draw(st.integers(0, 12))
    scores = [[draw(SHARES) for _ in WORDS] for _ in range(count)]
    boxes = [[0.5, 0.5, draw(SHARES), draw(SHARES)] for _ in range(count)]
    return say(scores, boxes)


@given(sayings(), SHARES, SHARES, SHARES, SHARES, st.sampled_from([None, "nut", "n", "crack on"]))
def test_a_slow_reader_of_the_rules_keeps_the_same(
    said: Grounding, box: float, text: float, largest: float, smallest: float, word: str | None
) -> None:
    found = filter_boxes(
        said,
        box_threshold=box,
        text_threshold=text,
        max_area=largest,
        min_area=smallest,
        filter_word=word,
    )
    single = torch.float32  # the precision of the scores
    box, text, largest, smallest = (
        float(torch.tensor(one, dtype=single)) for one in (box, text, largest, smallest)
    )
    kept = []
    for i, row in enumerate(said.token_scores.tolist()):
        area = float(said.boxes[i, 2] * said.boxes[i, 3])
        phrase = " ".join(name for name, score in zip(WORDS, row, strict=False) if score > text)
        if max(row) > box and smallest < area < largest and (word is None or word not in phrase):
            kept.append((i, max(row), phrase))
    assert list(found.phrases) == [phrase for _, _, phrase in kept]
    assert found.scores.tolist() == [score for _, score, _ in kept]
    assert torch.equal(found.boxes, said.boxes[[i for i, _, _ in kept]])


def test_what_lies_on_a_threshold_is_dropped() -> None:
    said = say([[0, 0.5, 0, 0, 0, 0]], [[0.5, 0.5, 0.5, 0.5]])
    assert (
        len(
            filter_boxes(said, box_threshold=0.49, text_threshold=0.1, max_area=0.26, min_area=0.24)
        )
        == 1
    )
    assert not len(filter_boxes(said, box_threshold=0.5, text_threshold=0.1))
    assert not len(filter_boxes(said, box_threshold=0.1, text_threshold=0.1, max_area=0.25))
    assert not len(filter_boxes(said, box_threshold=0.1, text_threshold=0.1, min_area=0.25))


def test_any_token_counts_and_the_filter_word_matches_in_part() -> None:
    """Any token makes a box certain but the background word need only be part of one."""
    said = say([[0.9, 0, 0, 0, 0, 0.2], [0, 0, 0, 0.9, 0, 0]], [[0.5, 0.5, 0.5, 0.5]] * 2)
    assert filter_boxes(said, box_threshold=0.5, text_threshold=0.1, filter_word="nu").phrases == (
        "[CLS] [SEP]",
    )


def test_boxes_that_the_detector_left_out_cannot_be_asked_for() -> None:
    said = say([], [], min_score=0.05)
    assert not len(filter_boxes(said, box_threshold=0.05, text_threshold=0.1))
    message = r"box_threshold=0\.01, but the detector was asked to leave out boxes below 0\.05"
    with pytest.raises(ValueError, match=message):
        filter_boxes(said, box_threshold=0.01, text_threshold=0.1)


def some(count: int, seed: int) -> BoxCandidates:
    generator = torch.Generator().manual_seed(seed)
    return BoxCandidates(
        torch.rand(count, 4, generator=generator),
        torch.rand(count, generator=generator),
        tuple(f"{seed}" * count),
    )


def test_captions_follow_each_other_and_duplicates_stay() -> None:
    first, second = some(3, 1), some(2, 2)
    both = join([first, some(0, 3), second, second])
    assert both.phrases == ("1", "1", "1", "2", "2", "2", "2")
    assert torch.equal(both.boxes, torch.cat([first.boxes, second.boxes, second.boxes]))
    assert torch.equal(
        both.select(torch.tensor([6, 0])).scores, torch.stack([second.scores[1], first.scores[0]])
    )
    with pytest.raises(ValueError, match="no captions"):
        join([])


@given(st.integers(0, 12), st.integers(0, 9), st.sampled_from([0.1, 0.5, 0.9]))
def test_without_duplicates_no_boxes_overlap_and_the_order_stays(
    count: int, seed: int, threshold: float
) -> None:
    """Without duplicates no two boxes overlap and the order stays."""
    found = join([some(count, seed), some(count, seed)])
    left = without_duplicates(found, threshold)
    corners = left.corners((1, 1))
    overlaps = box_iou(corners, corners).nan_to_num(0).fill_diagonal_(0)
    assert (overlaps <= threshold).all()
    assert len(left) <= count
    assert without_duplicates(left, threshold).phrases == left.phrases
    places = [found.scores.tolist().index(one) for one in left.scores.tolist()]
    assert places == sorted(places)
    assert without_duplicates(found, None) is found


def test_corners_are_pixels_of_the_image() -> None:
    found = BoxCandidates(torch.tensor([[0.5, 0.25, 0.5, 0.5]]), torch.ones(1), ("crack",))
    assert found.corners((40, 20)).tolist() == [[5.0, 0.0, 15.0, 20.0]]
    assert math.isclose(float(found.areas), 0.25)


def test_phrases_for_people_have_no_marks() -> None:
    assert clean_phrase("[CLS] defect on. ##um [SEP]") == "defect on um"


def test_a_backbone_without_the_verb_is_refused() -> None:
    """A backbone of another kind is refused with one that fits."""
    with pytest.raises(
        ValueError, match=r"got Linear, expected one with prepare_image\(\): backbone=grounded_sam"
    ):
        require_verb(torch.nn.Linear(1, 1), "prepare_image", "backbone=grounded_sam")
