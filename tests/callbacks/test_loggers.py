"""Curves and pictures reach the experiment trackers that can show them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from zsad.callbacks.loggers import MAX_HEATMAPS, finish_open_wandb_run, log_report
from zsad.reports.figures.curve_data import Curves, Diagram, diagrams
from zsad.reports.figures.curve_plots import draw_diagram
from zsad.reports.html.page import write_page
from zsad.reports.run_page import RunPage
from zsad.types import Results

LINE = tuple(np.linspace(0, 1, 201).tolist())
CURVES = Curves(LINE, LINE[::-1], LINE, LINE[::-1], LINE)


@pytest.fixture
def run(tmp_path: Path) -> RunPage:
    files = {}
    for i in range(40):
        path = tmp_path / "heatmaps" / "nut" / "scratch" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), (i, 0, 0)).save(path)
        files[f"in/{i}.png"] = path
    sheet = tmp_path / "heatmaps" / "nut.png"
    Image.new("RGB", (30, 10), (0, 255, 0)).save(sheet)
    results = Results({"nut": {"image_auroc": 0.75, "pixel_ap": 0.5}}, {"nut": {}}, {"nut": (3, 4)})
    return RunPage("A on b", results, curves={"nut": CURVES}, heatmaps=files, sheets={"nut": sheet})


def test_tensorboard_shows_curves_images_and_the_table(run: RunPage, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, name="log")
    logger.log_metrics({"test/image_auroc": 0.75})
    logger.finalize("success")  # as the trainer does when a test is over
    log_report([logger], run, tmp_path)
    seen = EventAccumulator(logger.log_dir, size_guidance={"images": 0})
    seen.Reload()
    images = seen.Tags()["images"]
    assert {
        "test/curves/ROC",
        "test/curves/PRO",
        "test/curves/Precision and recall",
        "test/sheets/nut",
    } <= set(images)
    assert (
        1 <= sum(name.startswith("test/heatmaps/nut/scratch/") for name in images) <= MAX_HEATMAPS
    )
    sheet = seen.Images("test/sheets/nut")[0]
    assert (sheet.width, sheet.height) == (30, 10)
    assert b"75.0" in seen.Tensors("test/results/text_summary")[0].tensor_proto.string_val[0]


def test_wandb_keeps_charts_images_the_table_and_the_page(
    run: RunPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    write_page(run, tmp_path)
    logger = WandbLogger(project="zsad", save_dir=tmp_path, offline=True)
    log_report([logger], run, tmp_path)
    kept = [path for path in tmp_path.rglob("offline-run-*/files/media/**/*") if path.is_file()]
    assert sum("sheets" in str(path) for path in kept) == 1
    assert sum("heatmaps" in str(path) for path in kept) <= MAX_HEATMAPS
    assert any(path.suffix == ".html" and "A on b" in path.read_text() for path in kept)
    tables = [json.loads(path.read_text()) for path in kept if path.name.endswith(".table.json")]
    assert ["nut", 0.75, 0.5] in [row for table in tables for row in table["data"]]
    assert sum(len(table["data"]) >= 201 for table in tables) == 3  # the charts


def test_runs_of_a_sweep_are_separate_runs_in_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a single process runs them all."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    names = set()
    for _ in range(2):
        finish_open_wandb_run()
        logger = WandbLogger(project="zsad", save_dir=tmp_path, offline=True)
        names.add(logger.experiment.id)
    finish_open_wandb_run()
    assert len(names) == 2


def test_a_logger_of_numbers_gets_nothing_more(run: RunPage, tmp_path: Path) -> None:
    log_report([CSVLogger(tmp_path, name="log")], run, tmp_path)
    assert not (tmp_path / "log").exists()


def test_a_drawn_curve_passes_where_its_heights_say() -> None:
    drawn = draw_diagram(Diagram("ROC", "x", "y", {"images": (0.0, 1.0, 1.0)})).astype(int)
    blue = (drawn[..., 2] - drawn[..., 0]) > 80
    rows, columns = np.nonzero(blue)
    middle = rows[np.abs(columns - (64 + 90)) <= 1]  # a quarter of the way: half of the first rise
    assert abs(middle.mean() - (34 + 180)) < 4


def test_undefined_curves_are_left_out() -> None:
    assert diagrams(Curves()) == []
    assert [one.title for one in diagrams(Curves(pixel_overlap=LINE))] == ["PRO"]
