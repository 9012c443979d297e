"""The thresholds of a run are written, read back, explained and drawn."""

from __future__ import annotations

import csv
import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from zsad.callbacks.scores import ScoreWriter
from zsad.callbacks.thresholds import ThresholdWriter
from zsad.metrics import curves
from zsad.metrics.per_category import CategoryMetrics
from zsad.metrics.threshold_rules import Decisions
from zsad.model_files.threshold_file import (
    Threshold,
    Thresholds,
    made_with,
    read_thresholds,
    write_thresholds,
)
from zsad.reports.figures.mask_outlines import outline_anomalies
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.types import Batch, Prediction

NORMAL, DEFECTIVE = [0.1, 0.2, 0.3, 0.4], [0.35, 0.8, 0.9]


def batch(brightness: float, category: str, is_anomalous: bool) -> Batch:
    """An image of one brightness; if anomalous, with a defective upper and a dark lower half."""
    image, mask = torch.full((1, 3, 4, 4), brightness), torch.zeros(1, 4, 4, dtype=torch.bool)
    if is_anomalous:
        image[:, :, 2:], mask[:, :2] = 0.0, True
    known = torch.tensor([True])
    return Batch(
        image, mask, known, torch.tensor([is_anomalous]), (category,), ("",), (f"{brightness}.png",)
    )


class Brightness(nn.Module):
    def forward(self, image: torch.Tensor, category: tuple[str, ...]) -> Prediction:
        return Prediction(image.mean(dim=1), image.amax(dim=(1, 2, 3)))


class Pictures(LightningDataModule):
    name, categories, image_size, shots = "pictures", ["nut", "cork"], 4, 0

    def test_dataloader(self) -> DataLoader[Batch]:
        items = [batch(one, self.categories[i % 2], False) for i, one in enumerate(NORMAL)]
        items += [batch(one, self.categories[i % 2], True) for i, one in enumerate(DEFECTIVE)]
        return DataLoader(items, batch_size=None)  # type: ignore[arg-type]


def calibrated(
    tmp_path: Path, image_rule: str, pixel_rule: str, bins: int | None = 2**16
) -> Thresholds:
    measures = partial(
        CategoryMetrics, image={"a": curves.auroc}, pixel={"b": curves.auroc}, bins=bins
    )
    writer = ThresholdWriter(tmp_path / "thresholds.json", image_rule, pixel_rule)
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    trainer = Trainer(
        callbacks=[writer], default_root_dir=tmp_path, enable_checkpointing=False, **quiet
    )
    trainer.test(ZeroShotEvaluation(Brightness(), measures), Pictures(), verbose=False)
    read = read_thresholds(tmp_path)
    assert read == writer.chosen_thresholds
    return read


@pytest.mark.parametrize("bins", [2**16, None], ids=["counted", "sorted"])
def test_a_test_leaves_thresholds_of_all_categories_together(
    tmp_path: Path, bins: int | None
) -> None:
    chosen = calibrated(tmp_path, "f1_max", "f1_max", bins)
    assert chosen.image is not None
    assert chosen.pixel is not None
    assert (chosen.image.value, chosen.pixel.value) == pytest.approx(
        (0.35, 0.8)
    )  # F1 of 6/7 and of 4/5
    images = chosen.image.decisions_on_calibration
    assert (images.recall, images.false_positive_rate) == (1.0, 0.25)
    pixels = chosen.pixel.decisions_on_calibration
    assert (pixels.anomalous, pixels.normal) == (3 * 8, 4 * 16 + 3 * 8)
    assert (pixels.recall, pixels.false_positive_rate) == (2 / 3, 0.0)
    assert "optimistic" in json.loads((tmp_path / "thresholds.json").read_text())["remark"]


def test_normal_images_alone_give_both_thresholds(tmp_path: Path) -> None:
    chosen = calibrated(tmp_path, "normal_only=0.25", "normal_only=0.25")
    assert chosen.image is not None
    assert chosen.pixel is not None
    assert (chosen.image.value, chosen.pixel.value) == pytest.approx((0.3, 0.3))
    assert chosen.image.value > torch.tensor(0.3).item()  # the image of this very score is good


def test_thresholds_of_version_0_1_are_read(tmp_path: Path) -> None:
    chosen = calibrated(tmp_path, "f1_max", "f1_max")
    file = tmp_path / "thresholds.json"
    file.write_text(file.read_text().replace('"decisions_on_calibration"', '"there"'))
    assert '"decisions_on_calibration"' not in file.read_text()
    assert read_thresholds(tmp_path) == chosen


def test_what_made_the_scores_is_compared(tmp_path: Path) -> None:
    chosen = calibrated(tmp_path, "f1_max", "f1_max")
    assert chosen.differences(made_with(Brightness(), 4, 0)) == []
    assert chosen.differences(made_with(nn.Linear(1, 1), 8, 0))[-1] == "image_size is 8, was 4"


def test_what_is_undefined_is_null_and_said(tmp_path: Path) -> None:
    nothing = Decisions(
        normal=20, anomalous=0, recall=math.nan, false_positive_rate=0.05, f1=math.nan
    )
    file = write_thresholds(
        Thresholds(Threshold(1.5, "normal_only", nothing), None, "parts"), tmp_path / "t.json"
    )
    assert json.loads(file.read_text())["image"]["decisions_on_calibration"]["recall"] is None
    assert read_thresholds(file).sentences() == [
        "image threshold 1.5 (normal_only): 5.0 % of 20 normal images called defective",
        "no pixel threshold: nothing to choose it from",
    ]


@pytest.mark.parametrize(
    "content", ["{}", "[1]", "no json", '{"image": 3, "pixel": null, "dataset": "a"}']
)
def test_a_file_that_holds_no_thresholds_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "thresholds.json").write_text(content)
    with pytest.raises(ValueError, match=r"thresholds\.json holds no thresholds.*zsad calibrate"):
        read_thresholds(tmp_path)


def test_a_run_without_thresholds_is_answered_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="zsad calibrate RUN DATASET"):
        read_thresholds(tmp_path)


@pytest.mark.parametrize("threshold", [None, 0.0])
def test_scores_say_defective_from_the_threshold_on(
    tmp_path: Path, threshold: float | None
) -> None:
    writer = ScoreWriter(tmp_path / "scores.csv", threshold=threshold)
    writer.on_predict_start(None, None)
    for score in (-0.5, 0.0, 2.0):
        predicted = Prediction(torch.zeros(1, 4, 4), torch.tensor([score]))
        writer.on_predict_batch_end(None, None, predicted, batch(0.5, "nut", False), 0)
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    expected = [None] * 3 if threshold is None else ["good", "defective", "defective"]
    assert [row.get("verdict") for row in rows] == expected
    assert writer.verdicts.total() == (0 if threshold is None else 3)


def test_contours_surround_pixels_above_the_threshold() -> None:
    """And nothing else."""
    anomaly_map, grey = torch.zeros(64, 64), np.full((64, 64, 3), 128, np.uint8)
    anomaly_map[20:40, 10:30], anomaly_map[50:60, 50:60] = 0.7, 0.3
    drawn = outline_anomalies(grey, anomaly_map, 0.5)
    rows, columns = np.nonzero((drawn != grey).any(axis=2))
    rim = 3
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (
        20 - rim,
        39 + rim,
        10 - rim,
        29 + rim,
    )
    red, green, blue = drawn[20, 20].astype(int)
    assert min(red, blue) - green > 100  # of CONTOUR_COLOUR, but for the antialiasing
    assert (drawn[48:, 48:] == grey[48:, 48:]).all()
    assert (outline_anomalies(grey, anomaly_map, 0.8) == grey).all()
