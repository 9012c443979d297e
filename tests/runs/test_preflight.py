"""Checks refuse a run before it begins, with the command that is needed."""

from __future__ import annotations

import pytest

from zsad.config import compose
from zsad.runs import preflight

OUTPUT = "paths.output_dir=/nowhere"


def test_a_training_free_model_is_answered_with_a_test_command() -> None:
    config = compose.compose_config(
        "train", ["model._target_=zsad.tasks.evaluation.ZeroShotEvaluation", "dataset=mtd", OUTPUT]
    )
    with pytest.raises(
        ValueError, match=r"nothing to train; run: python test.py model=anomalyclip dataset=mtd"
    ):
        preflight.require_trainable(config)


def test_prompts_are_not_learned_in_half_precision() -> None:
    config = compose.compose_config("train", ["trainer.precision=bf16-true", OUTPUT])
    with pytest.raises(
        ValueError, match=r"precision=bf16-true would keep the learned prompts.*trainer=bf16"
    ):
        preflight.require_trainable(config)
    preflight.require_trainable(compose.compose_config("train", ["trainer=bf16", OUTPUT]))


def test_a_trainable_model_is_not_tested_without_prompts() -> None:
    config = compose.compose_config("test", ["backbone=pocket", OUTPUT])
    with pytest.raises(
        ValueError,
        match=r"needs learned prompts: pass ckpt_path=.*python train.py model=anomalyclip",
    ):
        preflight.require_prompts(config)


def test_a_missing_checkpoint_is_refused_before_loading() -> None:
    config = compose.compose_config("test", ["ckpt_path=/nowhere/last.ckpt", OUTPUT])
    with pytest.raises(
        FileNotFoundError, match=r"no checkpoint at /nowhere/last.ckpt.*python train.py"
    ):
        preflight.require_prompts(config)


def test_references_and_tiles_do_not_go_together() -> None:
    config = compose.compose_config(
        "test", ["model=winclip", "backbone=pocket", "tiling=native", "k_shot=1", OUTPUT]
    )
    with pytest.raises(ValueError, match="k_shot=1 needs tiling=none"):
        preflight.require_references(config)
