"""Every tested image of every process has a line, and is read back as it was written."""

import csv
from types import SimpleNamespace

import pytest
import torch

from zsad.callbacks.scores import ScoreWriter
from zsad.reports.image_scores import ImageScore, read_scores
from zsad.types import Prediction

TRAINER = SimpleNamespace(is_global_zero=True)


def prediction(*scores):
    return Prediction(map=torch.zeros(len(scores), 56, 56), score=torch.tensor(scores))


def finished(writer, batches, trainer=TRAINER):
    writer.on_test_epoch_start(trainer, None)
    for i, (outputs, batch) in enumerate(batches):
        writer.on_test_batch_end(trainer, None, outputs, batch, i)
    writer.on_test_epoch_end(trainer, None)


def test_a_test_writes_what_each_image_is_and_its_score(tmp_path, random_batch):
    writer = ScoreWriter(tmp_path / "scores.csv", tmp_path / "run" / "test_scores.csv")
    finished(writer, [(prediction(-2.0, 3.0), random_batch)])
    assert read_scores(tmp_path / "run" / "test_scores.csv") == [
        ImageScore("good/0.png", "nut", "good", False, -2.0, 0.119203),
        ImageScore("scratch/0.png", "nut", "scratch", True, 3.0, 0.952574),
    ]
    assert [(one.path, one.score) for one in writer.test_scores] == [
        ("good/0.png", -2.0),
        ("scratch/0.png", 3.0),
    ]
    assert not (tmp_path / "scores.csv").exists()


def test_a_second_test_forgets_the_first_and_needs_no_file(tmp_path, random_batch):
    writer = ScoreWriter(tmp_path / "scores.csv")
    finished(writer, [(prediction(0.0, 0.0), random_batch)] * 2)
    finished(writer, [(prediction(-2.0, 3.0), random_batch)])
    assert [one.score for one in writer.test_scores] == [-2.0, 3.0]
    assert list(tmp_path.iterdir()) == []


def test_the_scores_of_all_processes_are_in_a_single_file(tmp_path, random_batch, monkeypatch):
    """In the order of categories and paths."""
    others = [
        ImageScore("a.png", "nut", "good", False, 0.5, 0.6),
        ImageScore("z.png", "bolt", "", True, 1.0, 0.7),
    ]

    def gather(gathered, mine, group):
        gathered[:] = [mine, others]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda group: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    file = tmp_path / "test_scores.csv"
    finished(ScoreWriter(tmp_path / "scores.csv", file), [(prediction(-2.0, 3.0), random_batch)])
    assert [one.path for one in read_scores(file)] == [
        "z.png",
        "a.png",
        "good/0.png",
        "scratch/0.png",
    ]
    file.unlink()
    later = SimpleNamespace(is_global_zero=False)
    finished(
        ScoreWriter(tmp_path / "scores.csv", file), [(prediction(-2.0, 3.0), random_batch)], later
    )
    assert not file.exists()


def test_a_prediction_writes_a_line_per_image_at_once(tmp_path, random_batch):
    writer = ScoreWriter(tmp_path / "new" / "scores.csv", tmp_path / "test_scores.csv")
    writer.on_predict_start(TRAINER, None)
    writer.on_predict_batch_end(TRAINER, None, prediction(-2.0, 3.0), random_batch, 0)
    with (tmp_path / "new" / "scores.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "score", "probability"]
    assert rows[1:] == [
        ["good/0.png", "-2.000000", "0.119203"],
        ["scratch/0.png", "3.000000", "0.952574"],
    ]
    assert not (tmp_path / "test_scores.csv").exists()


@pytest.mark.parametrize("line", ["a.png,nut,good,no,1,0.5", "a.png,nut,good,1,,0.5", "a.png,nut"])
def test_a_line_that_is_no_score_is_told(tmp_path, line):
    file = tmp_path / "test_scores.csv"
    file.write_text(f"path,category,defect,is_anomalous,score,probability\n{line}\n")
    with pytest.raises(
        ValueError, match=r"test_scores\.csv, line 2: .*expected columns path, category"
    ):
        read_scores(file)
