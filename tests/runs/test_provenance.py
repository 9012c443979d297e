"""Notes for readers of test results."""

from __future__ import annotations

from zsad.runs.provenance import evaluation_notes

LEARNED = {
    "trained_on": {"dataset": "visa"},
    "weights": {"backbone": "0123"},
    "settings": {"temperature": 0.07, "image_size": 518, "gone_since": 1},
}
SAME = {"weights": {"backbone": "0123"}, "settings": {"temperature": 0.07, "image_size": 518}}


def test_a_zero_shot_test_with_same_weights_has_no_notes() -> None:
    assert evaluation_notes(LEARNED, dataset="mvtec", **SAME) == []
    assert evaluation_notes({}, dataset="mvtec", **SAME) == []


def test_testing_on_training_data_is_called_not_zero_shot() -> None:
    (note,) = evaluation_notes(LEARNED, dataset="visa", **SAME)
    assert note == "not zero-shot: the prompts were learned on visa and tested on visa"


def test_other_weights_are_remarked() -> None:
    (note,) = evaluation_notes(
        LEARNED, dataset="mvtec", weights={"backbone": "4567"}, settings=SAME["settings"]
    )
    assert note.startswith("other weights")


def test_every_other_setting_is_remarked() -> None:
    changed = {"temperature": 0.01, "image_size": 336}
    notes = evaluation_notes(LEARNED, dataset="mvtec", weights=SAME["weights"], settings=changed)
    assert notes == [
        "other settings: learned with temperature=0.07, tested with temperature=0.01",
        "other settings: learned with image_size=518, tested with image_size=336",
    ]
