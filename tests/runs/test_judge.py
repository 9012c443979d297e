"""Thresholds of a checkpoint: their place, and their use for fitting scores alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from zsad.metrics.threshold_rules import Decisions
from zsad.model_files.threshold_file import Threshold, Thresholds, write_thresholds
from zsad.runs.judge import find_thresholds, thresholds_file

MADE = {"method": "AnomalyCLIP", "networks": "0123", "image_size": 518, "references": 0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for name in ("last.ckpt", "epoch_03.ckpt"):
        (tmp_path / "run" / "checkpoints" / name).write_bytes(b"")
    return tmp_path / "run"


def choose(file: Path) -> Thresholds:
    there = Decisions(normal=2, anomalous=2, recall=1.0, false_positive_rate=0.0, f1=1.0)
    thresholds = Thresholds(Threshold(0.5, "f1_max", there), None, "parts", MADE)
    write_thresholds(thresholds, file)
    return thresholds


@pytest.mark.parametrize(
    "given", [".", "checkpoints", "checkpoints/last.ckpt", "checkpoints/epoch_03.ckpt"]
)
def test_thresholds_of_any_path_in_a_run_are_in_its_folder(run: Path, given: str) -> None:
    file = thresholds_file(run / given)
    assert file is not None
    assert file.resolve() == run / "thresholds.json"


def test_a_file_that_stands_alone_has_thresholds_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "epoch_15.pth").write_bytes(b"")
    assert thresholds_file(tmp_path / "epoch_15.pth") == tmp_path / "epoch_15.pth.thresholds.json"
    assert thresholds_file(tmp_path / "winclip") is None


def test_fitting_thresholds_are_taken_and_none_are_no_mistake(run: Path) -> None:
    assert find_thresholds(run, None, MADE) == (None, [])
    assert find_thresholds(run, None, MADE | {"networks": "4567"}) == (None, [])
    chosen = choose(run / "thresholds.json")
    assert find_thresholds(run, None, MADE) == (chosen, [])


def test_thresholds_of_other_scores_are_taken_only_if_given(run: Path) -> None:
    chosen = choose(run / "thresholds.json")
    other = MADE | {"networks": "4567"}
    taken, notes = find_thresholds(run, None, other)
    assert taken is None
    assert f"networks is 4567, was 0123); to use it: --thresholds {run}" in notes[0]
    taken, notes = find_thresholds(run, run, other)
    assert taken == chosen
    assert "chosen for other scores" in notes[0]
