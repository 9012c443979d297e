"""Restorations to normal: of which region, of which images, and what is left on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.reports.html.html_checks import assert_stands_alone
from zsad.backbones.inpainter import HarmonicInpainter
from zsad.callbacks.restoration import RestorationWriter, anomalous_region
from zsad.functional import rle
from zsad.reports.html.page import render_page
from zsad.reports.run_page import RunPage
from zsad.types import Batch, Detections, Prediction, Results, Sample

SIZE = 40
GREY = 0.4


class Recorder:
    """Fills a region with white and remembers it."""

    def __init__(self) -> None:
        self.masks: list[Tensor] = []

    def restore(self, image: Tensor, mask: Tensor) -> Tensor:
        self.masks.append(mask)
        return torch.where(mask, 1.0, image)


def trainer_of(samples: Sequence[Sample] = ()) -> Any:
    return SimpleNamespace(
        is_global_zero=True,
        strategy=SimpleNamespace(barrier=lambda: None),
        datamodule=SimpleNamespace(test_samples=list(samples)),
    )


def square(top: int, left: int, side: int = 8) -> Tensor:
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


def detected(*masks: Tensor) -> Detections:
    n = len(masks)
    return Detections(
        torch.zeros(n, 4), torch.ones(n), ("hole",) * n, tuple(map(rle.encode, masks))
    )


def batch_of(*paths: str, defect: str = "hole") -> Batch:
    n = len(paths)
    image = torch.full((n, 3, SIZE, SIZE), GREY)
    image[:, :, 10:18, 20:28] = 0.9
    return Batch(
        image=image,
        mask=torch.zeros(n, SIZE, SIZE, dtype=torch.bool),
        has_mask=torch.ones(n, dtype=torch.bool),
        is_anomalous=torch.ones(n, dtype=torch.bool),
        category=("nut",) * n,
        defect=(defect,) * n,
        path=paths,
    )


def predicted(batch: Batch, *detections: Detections) -> Prediction:
    maps = square(10, 20).float().expand(len(batch), -1, -1) * 0.8
    return Prediction(maps, torch.zeros(len(batch)), detections)


def test_the_region_is_that_of_masks_or_of_the_map() -> None:
    anomaly_map = torch.linspace(0, 1, SIZE * SIZE).view(SIZE, SIZE)
    found = detected(square(0, 0), square(4, 4))
    assert torch.equal(anomalous_region(anomaly_map, found, None), square(0, 0) | square(4, 4))
    assert torch.equal(anomalous_region(anomaly_map, found, 0.9), anomaly_map >= 0.9)
    for nothing in (None, detected()):
        assert torch.equal(anomalous_region(anomaly_map, nothing, None), anomaly_map >= 0.5)


@pytest.mark.parametrize(("grow_px", "side"), [(0, 8), (5, 12)])
def test_the_region_is_grown_before_it_is_filled(tmp_path: Path, grow_px: int, side: int) -> None:
    inpainter, batch = Recorder(), batch_of("a.png")
    writer = RestorationWriter(tmp_path, inpainter, enabled=True, grow_px=grow_px)
    writer.on_predict_batch_end(
        trainer_of(), None, predicted(batch, detected(square(10, 20))), batch, 0
    )
    assert [int(mask.sum()) for mask in inpainter.masks] == [side * side]


def test_the_harmonic_fill_removes_a_defect(tmp_path: Path) -> None:
    """The difference shows its place."""
    writer, batch = (
        RestorationWriter(tmp_path, HarmonicInpainter(), enabled=True),
        batch_of("x/a.png"),
    )
    writer.on_predict_batch_end(trainer_of(), None, predicted(batch), batch, 0)
    restored = np.asarray(Image.open(tmp_path / "nut" / "plain" / "a.png"))
    assert restored.shape == (SIZE, SIZE, 3)
    assert np.abs(restored.astype(int) - round(GREY * 255)).max() <= 1
    shown = np.asarray(Image.open(tmp_path / "nut" / "a.png"))
    difference = (
        shown[28 : 28 + 256, -264:-8].mean(axis=2) > 128
    )  # the last panel, a margin of 8 px around it
    assert difference.mean() == pytest.approx(64 / SIZE**2, rel=0.15)


def test_off_nothing_is_written_and_nothing_filled(tmp_path: Path) -> None:
    inpainter, batch = Recorder(), batch_of("a.png")
    writer = RestorationWriter(tmp_path, inpainter)
    for start, end in (
        ("on_test_epoch_start", "on_test_batch_end"),
        ("on_predict_epoch_start", "on_predict_batch_end"),
    ):
        getattr(writer, start)(
            trainer_of([Sample(Path("a.png"), None, "nut", "hole", is_anomalous=True)]), None
        )
        getattr(writer, end)(trainer_of(), None, predicted(batch), batch, 0)
    assert not inpainter.masks
    assert not list(tmp_path.iterdir())


def test_a_test_restores_some_images_of_every_kind_of_defect(tmp_path: Path) -> None:
    kinds = ["good"] * 3 + ["hole"] * 3 + ["dent"] * 3
    samples = [
        Sample(
            Path(f"{category}/{kind}/{i}.png"), None, category, kind, is_anomalous=kind != "good"
        )
        for category in ("nut", "bolt")
        for i, kind in enumerate(kinds)
    ]
    (tmp_path / "notes.txt").write_text("mine")
    writer = RestorationWriter(tmp_path, Recorder(), enabled=True, max_per_category=2)
    for _ in range(2):  # a second test removes what the first one wrote
        writer.on_test_epoch_start(trainer_of(samples), None)
        for sample in samples:
            batch = batch_of(str(sample.image_path), defect=sample.defect)
            batch.category = (sample.category,)
            writer.on_test_batch_end(trainer_of(), None, predicted(batch), batch, 0)
    chosen = sorted((Path(path).parts[0], Path(path).parts[1]) for path in writer.files)
    assert chosen == [(category, kind) for category in ("bolt", "nut") for kind in ("dent", "hole")]
    assert len(list(tmp_path.rglob("*.png"))) == 2 * len(chosen)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    batch = batch_of("x/a.png", "y/a.png", "z/y/a.png")
    writer = RestorationWriter(tmp_path, Recorder(), enabled=True)
    writer.on_predict_batch_end(trainer_of(), None, predicted(batch), batch, 0)
    assert sorted(file.name for file in (tmp_path / "nut").glob("*.png")) == [
        "a.png",
        "a_2.png",
        "y_a.png",
    ]
    assert len(set(writer.files.values())) == 3


def test_the_report_page_shows_that_they_are_invented(tmp_path: Path) -> None:
    writer, batch = RestorationWriter(tmp_path, Recorder(), enabled=True), batch_of("<x>/a.png")
    writer.on_predict_batch_end(trainer_of(), None, predicted(batch), batch, 0)
    results = Results({"nut": {"image_auroc": 0.5}}, {}, {"nut": (1, 1)})
    outline = assert_stands_alone(render_page(RunPage("t", results, restored=writer.files)))
    assert "Restored to normal" in outline.words["h2"]
    assert "restoration of nut · a.png" in [one["alt"] for one in outline.all_of("img")]
    assert "Restored to normal" not in render_page(RunPage("t", results))
