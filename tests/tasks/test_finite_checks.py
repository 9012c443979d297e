"""NaN and infinite numbers end a training, a test or a prediction, and name their cause."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from zsad.data.module import JsonDataModule
from zsad.model_files.exported_prompts import save_prompts
from zsad.tasks.finite_checks import (
    DivergedError,
    divergence_advice,
    require_finite_prediction,
    require_finite_weights,
)
from zsad.tasks.prompt_tuning import PromptTuning
from zsad.types import Batch, Prediction


def trainer(folder: Path, *callbacks: Callback, epochs: int = 3) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[ModelCheckpoint(folder, save_last=True, save_top_k=-1), *callbacks],
        logger=False,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _SpoilPrompts(Callback):
    """Makes a learned number NaN after the last step of an epoch, whose loss was finite."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == self.epoch and batch_idx + 1 == trainer.num_training_batches:
            pl_module.method.prompts.anomalous.data.view(-1)[0] = math.nan


def spoil(tensor: torch.Tensor, value: float = math.nan) -> None:
    with torch.no_grad():
        tensor.view(-1)[-1] = value


def one_image() -> Batch:
    return Batch(
        image=torch.zeros(1, 3, 4, 4),
        mask=torch.zeros(1, 4, 4, dtype=torch.bool),
        has_mask=torch.ones(1, dtype=torch.bool),
        is_anomalous=torch.zeros(1, dtype=torch.bool),
        category=("tile",),
        defect=("good",),
        path=("tile/7.png",),
    )


def test_the_first_loss_that_is_not_finite_ends_a_training(
    data: Callable[..., JsonDataModule], task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    tuned = task()
    tuned._make_optimizer = partial(torch.optim.Adam, lr=3e8)
    with pytest.raises(DivergedError) as answer:
        trainer(tmp_path / "run").fit(tuned, data(batch_size=10))
    text = str(answer.value)
    assert "not finite in epoch 2, step 1, images " in text
    assert ".png and 6 more. Train anew with a smaller model.optimizer.lr (now 3e+08)" in text
    assert "precision" not in text
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_prompts_that_are_not_finite_are_never_saved(
    data: Callable[..., JsonDataModule], task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    with pytest.raises(DivergedError, match=r"epoch 2: prompts\.anomalous hold NaN"):
        trainer(tmp_path / "run", _SpoilPrompts(epoch=1)).fit(task(), data())
    last = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 0
    assert all(tensor.isfinite().all() for tensor in last["state_dict"].values())


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("stage", ["test", "predict"])
def test_prompts_that_are_not_finite_predict_nothing(
    data: Callable[..., JsonDataModule],
    task: Callable[..., PromptTuning],
    tmp_path: Path,
    stage: str,
    value: float,
) -> None:
    tuned = task()
    spoil(tuned.method.prompts.normal, value)
    with pytest.raises(ValueError, match=r"prompts hold NaN .*prompts\.normal.* diverged"):
        getattr(trainer(tmp_path), stage)(tuned, data())


def test_a_file_of_prompts_that_are_not_finite_is_refused(
    task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    tuned = task()
    spoil(tuned.method.prompts.deep)
    save_prompts(tmp_path / "spoilt.safetensors", tuned.method, {"method": "AnomalyCLIP"})
    with pytest.raises(ValueError, match=r"spoilt\.safetensors: prompts\.deep hold NaN"):
        task().load_prompts(tmp_path / "spoilt.safetensors")


def test_damaged_weights_are_found_although_nothing_shows_them() -> None:
    """As those of a detector, which would find nothing. Other tensors may hold infinity."""
    detector = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).half()
    detector.requires_grad_(False)
    detector.register_buffer("mask", torch.full((2, 2), -math.inf))
    require_finite_weights(detector)
    spoil(detector[2].weight)
    with pytest.raises(ValueError, match=r"1 of 6 weight tensors .*\(2\.weight\).* damaged"):
        require_finite_weights(detector)


@pytest.mark.parametrize("where", ["map", "score"])
@pytest.mark.parametrize(
    ("precision", "advice"),
    [
        ("16-mixed", r"try trainer\.precision=bf16-mixed or 32-true"),
        ("bf16-true", r"try trainer\.precision=32-true"),
        ("32-true", "though the weights are finite"),
    ],
)
def test_the_advice_for_a_prediction_fits_the_precision(
    where: str, precision: str, advice: str
) -> None:
    prediction = Prediction(map=torch.zeros(1, 4, 4), score=torch.zeros(1))
    method = nn.Linear(2, 2)
    require_finite_prediction(prediction, one_image(), method, precision)
    spoil(getattr(prediction, where))
    with pytest.raises(ValueError, match=rf"tile/7\.png contains NaN .*{advice}"):
        require_finite_prediction(prediction, one_image(), method, precision)
    spoil(method.weight, 1e6)
    with pytest.raises(ValueError, match=r"prompts reach 1e\+06\. Their training diverged"):
        require_finite_prediction(prediction, one_image(), method, precision)


def test_the_advice_for_a_training_fits_the_precision() -> None:
    optimizers = [torch.optim.SGD([torch.zeros(1)], lr=0.5)]
    smaller = "Train anew with a smaller model.optimizer.lr (now 0.5)"
    assert divergence_advice("32-true", optimizers) == smaller
    assert divergence_advice("bf16-mixed", optimizers).startswith(f"{smaller}, or with ")
