"""Objects that a configuration describes: data, tasks, trainers."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from zsad.config import renamed_keys, sweeps
from zsad.config.compose import is_sweep

if TYPE_CHECKING:  # torch takes seconds to import; `--help` and a misspelt name answer without it
    from lightning import Trainer


# Warnings of Lightning about things that are intended here.
_EXPECTED_WARNINGS = (
    r".*module\(s\) in eval mode at the start of training",  # the frozen backbone
    r".*smaller than the logging interval",
    r".*does not have many workers",
    r".*isinstance\(treespec, LeafSpec\).* is deprecated",
    r".*`srun` command is available",  # on the login node of a cluster
    r".*your dataloader is not resumable",  # its sampler is: zsad.data.module
    r".*Checkpoint directory .* exists and is not empty",  # resume_path has checked it
)


def build(node: Any, **arguments: Any) -> Any:
    """Build the object of a part of a configuration, from plain lists and dictionaries."""
    return instantiate(node, _convert_="object", **arguments)


def build_task(config: DictConfig) -> Any:
    """Build the model of a run, which reads checkpoints of version 0.1, too."""
    from zsad.tasks.prompt_tuning import PromptTuning

    task = build(config.model)
    if isinstance(task, PromptTuning):
        task.rename_stored = renamed_keys.rename_learned
    return task


def build_trainer(config: DictConfig) -> Trainer:
    """Build the trainer with its callbacks and its logger."""
    import lightning

    # Lightning's messages (absent accelerators, products to try) would bury those of the run.
    logging.getLogger(lightning.__name__).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    from zsad.callbacks.loggers import finish_open_wandb_run
    from zsad.tasks.checkpoint_io import AtomicCheckpointIO

    sweeps.require_own_processes(config, is_sweep=is_sweep(), is_slurm="SLURM_NTASKS" in os.environ)
    finish_open_wandb_run()
    logger = build(config.logger) if config.logger else False
    callbacks = list(build(config.callbacks).values())
    trainer = build(config.trainer, callbacks=callbacks, logger=logger)
    trainer.strategy.checkpoint_io = AtomicCheckpointIO()
    return trainer


def quiet_trainer(config: DictConfig) -> Trainer:
    """Build a trainer without callbacks: it writes nothing and shows nothing."""
    return build(
        config.trainer,
        callbacks=[],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )


def seed_everything(config: DictConfig) -> None:
    """Seed Python, NumPy and PyTorch, in loader processes too."""
    from lightning import seed_everything as seed

    seed(config.seed, workers=True, verbose=False)
