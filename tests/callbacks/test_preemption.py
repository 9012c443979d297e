"""A warned training leaves a checkpoint in mid-epoch and resumes without any difference."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch import Tensor, nn

from zsad.callbacks.preemption import Preemption
from zsad.data.locations import write_json
from zsad.data.module import JsonDataModule
from zsad.reports.run_status import slurm_job_id
from zsad.types import Batch

IMAGES, BATCH, EPOCHS = 11, 2, 3


class Regression(LightningModule):
    """Learns the labels of images from their pixels: every image, and the order, counts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layer = nn.Linear(3 * 8 * 8, 1)

    def training_step(self, batch: Batch) -> Tensor:
        margin = self.layer(batch.image.flatten(1))[:, 0]
        return nn.functional.binary_cross_entropy_with_logits(margin, batch.is_anomalous.float())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


class SendSignal(Callback):
    """The cluster's warning, during a step of a training."""

    def __init__(self, number: int, epoch: int, batch: int) -> None:
        self.number, self.when = number, (epoch, batch)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.when:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def data(tmp_path: Path) -> Callable[[int], JsonDataModule]:
    rng = np.random.default_rng(0)
    entries = []
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(
            tmp_path / f"{number}.png"
        )
        Image.fromarray(np.full((8, 8), 255 * (number % 2), np.uint8)).save(
            tmp_path / f"{number}_mask.png"
        )
        mask = f"{number}_mask.png" if number % 2 else ""
        labels = {
            "cls_name": "plate",
            "specie_name": "spot" if number % 2 else "good",
            "anomaly": number % 2,
        }
        entries.append({"img_path": f"{number}.png", "mask_path": mask, **labels})
    write_json(tmp_path / "index.json", {"train": {}, "test": {"plate": entries}})
    return lambda workers: JsonDataModule(
        "plates",
        index=tmp_path / "index.json",
        root=tmp_path,
        image_size=8,
        batch_size=BATCH,
        num_workers=workers,
    )


@pytest.fixture(autouse=True)
def _outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does to the signals ends with it."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def trainer(folder: Path, *callbacks: Callback, **changes: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=[
            ModelCheckpoint(folder, save_last=True, save_top_k=-1),
            Preemption(),
            *callbacks,
        ],
        logger=False,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **changes,
    )


def learned(model: LightningModule) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def undisturbed(data: Callable[[int], JsonDataModule], folder: Path, **changes: Any) -> Tensor:
    model = Regression()
    trainer(folder, **changes).fit(model, data(0))
    return learned(model)


@pytest.mark.parametrize(
    ("epoch", "batch", "accumulated", "workers"),
    [
        (0, 0, 1, 0),
        (1, 2, 1, 0),
        (1, 5, 1, 0),
        (2, 4, 1, 0),
        (1, 1, 2, 0),
        (1, 1, 4, 0),
        (1, 2, 1, 2),
        (0, 5, 1, 2),
    ],
)
def test_a_resumed_training_ends_with_the_undisturbed_weights(
    data: Callable[[int], JsonDataModule],
    tmp_path: Path,
    epoch: int,
    batch: int,
    accumulated: int,
    workers: int,
) -> None:
    """The training was stopped by a signal."""
    whole = undisturbed(data, tmp_path / "whole", accumulate_grad_batches=accumulated)
    stopped = trainer(
        tmp_path / "run",
        SendSignal(signal.SIGTERM, epoch, batch),
        accumulate_grad_batches=accumulated,
    )
    with pytest.raises(SystemExit, match="stopped by SIGTERM"):
        stopped.fit(Regression(), data(workers))
    assert stopped.global_step < 18 // accumulated
    resumed = Regression()
    trainer(tmp_path / "run", accumulate_grad_batches=accumulated).fit(
        resumed, data(workers), ckpt_path=str(tmp_path / "run" / "last.ckpt"), weights_only=True
    )
    assert torch.equal(learned(resumed), whole)


def test_the_rest_of_an_epoch_is_needed_for_these_weights(
    data: Callable[[int], JsonDataModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restarting the stopped epoch at its first image, as other loaders do, changes the weights."""
    whole = undisturbed(data, tmp_path / "whole")
    with pytest.raises(SystemExit):
        trainer(tmp_path / "run", SendSignal(signal.SIGTERM, 1, 2)).fit(Regression(), data(0))
    monkeypatch.setattr(JsonDataModule, "_find_resume_position", lambda self: (0, 0))
    resumed = Regression()
    trainer(tmp_path / "run").fit(
        resumed, data(0), ckpt_path=str(tmp_path / "run" / "last.ckpt"), weights_only=True
    )
    assert not torch.equal(learned(resumed), whole)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_job_that_is_warned_goes_back_into_the_queue(
    data: Callable[[int], JsonDataModule],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    job = {
        "JOB_ID": "41",
        "JOB_NAME": "job",
        "NTASKS": "1",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
    }
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    one = trainer(tmp_path / "run", SendSignal(number, 1, 2), default_root_dir=tmp_path)
    with pytest.raises(SystemExit, match=f"stopped by {signal.Signals(number).name}"):
        one.fit(Regression(), data(0))
    assert commands == [["scontrol", "requeue", "41"]]
    assert (tmp_path / "run" / "last.ckpt").is_file()
    assert not list(
        tmp_path.rglob("hpc_ckpt*")
    )  # Lightning's handler, which writes these, has not been called


def test_who_started_the_job_requeues_it(
    data: Callable[[int], JsonDataModule], tmp_path: Path
) -> None:
    """Submitit's handler is called when the checkpoint is written, and not before."""

    def requeue(number: int, frame: Any) -> None:
        assert (tmp_path / "run" / "last.ckpt").is_file()
        requeued.append(number)
        raise SystemExit(-1)

    requeued: list[int] = []
    signal.signal(signal.SIGUSR2, requeue)
    with pytest.raises(SystemExit, match="stopped by SIGUSR2"):
        trainer(tmp_path / "run", SendSignal(signal.SIGUSR2, 0, 1)).fit(Regression(), data(0))
    assert requeued == [signal.SIGUSR2]
    assert signal.getsignal(signal.SIGUSR2) is requeue


def test_a_signal_in_the_last_step_does_not_stop_a_finished_run(
    data: Callable[[int], JsonDataModule], tmp_path: Path
) -> None:
    model = Regression()
    trainer(tmp_path / "run", SendSignal(signal.SIGTERM, EPOCHS - 1, 5)).fit(model, data(0))
    assert torch.equal(learned(model), undisturbed(data, tmp_path / "whole"))


def test_signals_are_given_back_after_a_training(
    data: Callable[[int], JsonDataModule], tmp_path: Path
) -> None:
    def own(number: int, frame: Any) -> None: ...

    signal.signal(signal.SIGUSR1, own)
    undisturbed(data, tmp_path / "whole")
    assert signal.getsignal(signal.SIGUSR1) is own


@pytest.mark.parametrize(
    ("environment", "number"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "7_2"),
    ],
)
def test_a_job_of_an_array_is_named_by_array_and_place(
    environment: dict[str, str], number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert slurm_job_id() == number
