"""All detections of all processes are in a single COCO file, whole or not at all."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from zsad.callbacks import detections
from zsad.callbacks.detections import DetectionWriter
from zsad.functional import rle
from zsad.types import Batch, Detections, Prediction, RunLengths

HEIGHT, WIDTH = 20, 30


def trainer_of(rank=0, barrier=lambda: None):
    return SimpleNamespace(
        is_global_zero=rank == 0, global_rank=rank, strategy=SimpleNamespace(barrier=barrier)
    )


def batch_of(*paths):
    n = len(paths)
    return Batch(
        image=torch.zeros(n, 3, HEIGHT, WIDTH),
        mask=torch.zeros(n, HEIGHT, WIDTH, dtype=torch.bool),
        has_mask=torch.zeros(n, dtype=torch.bool),
        is_anomalous=torch.ones(n, dtype=torch.bool),
        category=("nut",) * n,
        defect=("",) * n,
        path=paths,
    )


def mask_of(top, left):
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    mask[top : top + 2, left : left + 3] = True
    return mask


def found(*phrases, box=(1.0, 2.0, 5.0, 4.0), masks=True):
    n = len(phrases)
    return Detections(
        torch.tensor([box] * n).view(-1, 4),
        torch.arange(n, 0, -1) / 10,
        phrases,
        tuple(rle.encode(mask_of(i, 2 * i)) for i in range(n)) if masks else (),
    )


def predicted(*each):
    return Prediction(torch.zeros(len(each), HEIGHT, WIDTH), torch.zeros(len(each)), each)


def run(writer, *steps, trainer=None, phase="predict"):
    trainer = trainer or trainer_of()
    getattr(writer, f"on_{phase}_epoch_start")(trainer, None)
    for i, (outputs, batch) in enumerate(steps):
        getattr(writer, f"on_{phase}_batch_end")(trainer, None, outputs, batch, i)
    getattr(writer, f"on_{phase}_epoch_end")(trainer, None)


def test_the_file_is_coco(tmp_path):
    writer = DetectionWriter(tmp_path / "run" / "detections.json")
    run(writer, (predicted(found("hole", "crack"), found()), batch_of("b.png", "a.png")))
    coco = json.loads(writer.file.read_text())
    size = {"width": WIDTH, "height": HEIGHT}
    assert coco["images"] == [
        {"id": 1, "file_name": "a.png", **size},
        {"id": 2, "file_name": "b.png", **size},
    ]
    assert coco["categories"] == [{"id": 1, "name": "crack"}, {"id": 2, "name": "hole"}]
    first, second = coco["annotations"]
    assert [one["id"] for one in (first, second)] == [1, 2]
    assert {one["image_id"] for one in (first, second)} == {2}
    assert (first["category_id"], second["category_id"]) == (2, 1)
    assert (first["score"], second["score"]) == (0.2, 0.1)
    assert (first["bbox"], first["area"], first["iscrowd"]) == ([1, 2, 4, 2], 6, 0)
    for one, mask in ((first, mask_of(0, 0)), (second, mask_of(1, 2))):
        runs = RunLengths(
            tuple(one["segmentation"]["size"]), torch.tensor(one["segmentation"]["counts"])
        )
        assert torch.equal(rle.decode(runs), mask)
    assert list(writer.file.parent.iterdir()) == [writer.file]


def test_boxes_are_cut_at_the_border_of_the_image(tmp_path):
    """Without masks the area is that of the box."""
    writer = DetectionWriter(tmp_path / "detections.json")
    outside = found("crack", box=(-3.0, 15.0, 6.5, 40.0), masks=False)
    beyond = found("crack", box=(40.0, 2.0, 50.0, 4.0), masks=False)
    run(writer, (predicted(outside, beyond), batch_of("a.png", "b.png")))
    first, second = json.loads(writer.file.read_text())["annotations"]
    assert (first["bbox"], first["area"]) == ([0, 15, 6.5, 5], 32.5)
    assert (second["bbox"], second["area"]) == ([30, 2, 0, 2], 0)
    assert "segmentation" not in first


def test_a_method_without_a_detector_leaves_no_file(tmp_path):
    """Not even that of an earlier run."""
    writer = DetectionWriter(tmp_path / "detections.json")
    run(writer, (predicted(found("crack")), batch_of("a.png")))
    assert writer.file.exists()
    run(writer, (Prediction(torch.zeros(1, HEIGHT, WIDTH), torch.zeros(1)), batch_of("a.png")))
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_forgets_the_first(tmp_path):
    writer = DetectionWriter(tmp_path / "detections.json")
    run(writer, (predicted(found("crack")), batch_of("a.png")))
    run(writer, (predicted(found("hole")), batch_of("b.png")))
    coco = json.loads(writer.file.read_text())
    assert [one["file_name"] for one in coco["images"]] == ["b.png"]
    assert [one["name"] for one in coco["categories"]] == ["hole"]
    assert len(coco["annotations"]) == 1


@pytest.mark.parametrize("on_test", [True, False])
def test_a_test_writes_it_if_asked(tmp_path, on_test):
    writer = DetectionWriter(tmp_path / "detections.json", on_test=on_test)
    run(writer, (predicted(found("crack")), batch_of("a.png")), phase="test")
    assert [path.name for path in tmp_path.iterdir()] == ["detections.json"] * on_test


def test_two_processes_write_the_file_of_a_single_process(tmp_path, monkeypatch):
    """Even if both saw an image."""
    steps = [
        (predicted(found("hole", "crack")), batch_of("c.png")),
        (predicted(found("dent")), batch_of("a.png")),
    ]
    steps.append((predicted(found("crack")), batch_of("b.png")))
    alone, both = DetectionWriter(tmp_path / "alone.json"), tmp_path / "both.json"
    run(alone, *steps)
    gathered: list = []
    monkeypatch.setattr(
        detections, "gather_objects", lambda mine: gathered.append(mine) or list(gathered)
    )
    first, second = DetectionWriter(both), DetectionWriter(both)
    first.on_predict_epoch_start(trainer_of(0), None)
    run(second, steps[1], steps[2], trainer=trainer_of(1))
    assert not both.exists()
    for outputs, batch in (steps[0], steps[2]):
        first.on_predict_batch_end(trainer_of(0), None, outputs, batch, 0)
    first.on_predict_epoch_end(trainer_of(0), None)
    assert both.read_text() == alone.file.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.json", "both.json"]


def test_a_process_whose_part_cannot_be_seen_is_told(tmp_path, monkeypatch):
    writer = DetectionWriter(tmp_path / "detections.json")
    elsewhere = [detections._StoredImage("z.png", WIDTH, HEIGHT, rank=1, offset=0)], {"crack"}
    monkeypatch.setattr(detections, "gather_objects", lambda mine: [mine, elsewhere])
    with pytest.raises(
        FileNotFoundError,
        match=r"1\.jsonl of process 1 cannot be seen from here: set paths\.output_dir",
    ):
        run(writer, (predicted(found("crack")), batch_of("a.png")))
    assert not writer.file.exists()


def test_the_first_process_clears_the_folder_first(tmp_path):
    """No other process writes before."""
    file, seen = tmp_path / "detections.json", []
    file.write_text("of an earlier run")
    DetectionWriter(file).on_predict_epoch_start(
        trainer_of(1, lambda: seen.append(file.exists())), None
    )
    DetectionWriter(file).on_predict_epoch_start(
        trainer_of(0, lambda: seen.append(file.exists())), None
    )
    assert seen == [True, False]


class Task(LightningModule):
    def __init__(self, breaks_at: int | None = None):
        super().__init__()
        self.breaks_at = breaks_at

    def predict_step(self, batch, batch_idx):
        if batch_idx == self.breaks_at:
            raise RuntimeError("out of memory")
        return predicted(found("crack"))


def lightning(writer):
    return Trainer(
        accelerator="cpu",
        callbacks=[writer],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def test_lightning_hands_over_detections(tmp_path):
    """A broken run leaves no files."""
    loader = DataLoader([batch_of(f"{i}.png") for i in range(3)], batch_size=None)
    writer = DetectionWriter(tmp_path / "detections.json")
    lightning(writer).predict(Task(), loader, return_predictions=False)
    assert len(json.loads(writer.file.read_text())["annotations"]) == 3
    with pytest.raises(RuntimeError, match="out of memory"):
        lightning(writer).predict(Task(breaks_at=2), loader, return_predictions=False)
    assert list(tmp_path.iterdir()) == []


def test_masks_are_put_aside_on_disk_not_kept(tmp_path):
    writer = DetectionWriter(tmp_path / "detections.json")
    writer.on_predict_epoch_start(trainer_of(), None)
    for i in range(5):
        writer.on_predict_batch_end(
            trainer_of(), None, predicted(found(*["crack"] * 50)), batch_of(f"{i}.png"), i
        )
    aside = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert aside[0].stat().st_size > 5 * 50 * 50
    assert len(repr(vars(writer))) < 1500
