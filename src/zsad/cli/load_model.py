"""Configuration and task of a checkpoint, or of the name of a training-free model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from omegaconf import DictConfig

from zsad.config import checkpoint_settings, compose, instantiate, model_facts
from zsad.runs import preflight

_METHOD = "model.method."


def config_of_checkpoint(
    checkpoint: Path, model: str | None, backbone: str | None, overrides: Sequence[str]
) -> tuple[DictConfig, dict[str, Any]]:
    """Return the configuration that a checkpoint was trained with, and its provenance.

    Settings of the user win over those of the checkpoint, and these over the defaults. The name of
    a training-free model stands in the place of a checkpoint.
    """
    from zsad.runs.predict import read_provenance

    if not checkpoint.exists() and str(checkpoint) in compose.choices("model"):
        return _config_of_model(model or str(checkpoint), backbone, overrides), {}
    provenance = read_provenance(checkpoint)
    choices = checkpoint_settings.known_choices(provenance, model=model, backbone=backbone)
    config = _compose(*choices, *overrides)
    checkpoint_settings.require_known_settings(config, provenance, str(checkpoint))
    typed = {_key(override).removeprefix(_METHOD) for override in overrides}
    stored = provenance.get("settings", {})
    settings = {key: stored[key] for key in stored if key not in typed}
    refused = checkpoint_settings.adopt_settings(config, {"settings": settings})
    if refused:
        names = ", ".join(refused)
        typer.echo(f"note: left as configured, though trained otherwise: {names}", err=True)
    return config, provenance


def build_task(config: DictConfig, checkpoint: Path) -> Any:
    """Build the task, with the prompts of its checkpoint if it has one."""
    task = instantiate.build_task(config)
    if model_facts.is_trainable(config) and checkpoint.exists():
        task.load_prompts(checkpoint)
    return task


def _config_of_model(name: str, backbone: str | None, overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of a model that needs no checkpoint."""
    choices = [f"model={name}"]
    if backbone:
        choices.append(f"backbone={backbone}")
    config = _compose(*choices, *overrides)
    if not preflight.works_untrained(config):
        raise ValueError(
            f"{name} is a model to train: give a run folder, runs/train/NAME, instead of its "
            f"name; or first run: python train.py model={name} dataset=visa"
        )
    return config


def _compose(*overrides: str) -> DictConfig:
    return compose.compose_config("test", ["logger=none", "paths.output_dir=.", *overrides])


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
