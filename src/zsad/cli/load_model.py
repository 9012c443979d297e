"""From what a command is given, a checkpoint or the name of a model, to its configuration and its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from omegaconf import DictConfig

from zsad.config import checkpoint_settings, compose, instantiate, model_facts
from zsad.runs import preflight


def config_of_checkpoint(
    checkpoint: Path, model: str | None, backbone: str | None, overrides: list[str]
) -> tuple[DictConfig, dict[str, Any]]:
    """Return the configuration that a checkpoint was learned with, and what it says about itself.

    What the user says wins over the checkpoint, and the checkpoint over the defaults. For a model that learns nothing
    its name stands in the place of a checkpoint.
    """
    from zsad.runs.predict import read_provenance

    if not checkpoint.exists() and str(checkpoint) in compose.choices("model"):
        return _config_of_model(model or str(checkpoint), backbone, overrides), {}
    learned = read_provenance(checkpoint)
    chosen = checkpoint_settings.known_choices(learned, model=model, backbone=backbone)
    config = compose.compose_config(
        "test", [*chosen, "logger=none", "paths.output_dir=.", *overrides]
    )
    checkpoint_settings.require_known_settings(config, learned, str(checkpoint))
    said = {
        override.lstrip("+~").partition("=")[0].removeprefix("model.method.")
        for override in overrides
    }
    settings = {key: value for key, value in learned.get("settings", {}).items() if key not in said}
    refused = checkpoint_settings.adopt_settings(config, {"settings": settings})
    if refused:
        typer.echo(
            f"note: left as configured, though learned otherwise: {', '.join(refused)}", err=True
        )
    return config, learned


def _config_of_model(name: str, backbone: str | None, overrides: list[str]) -> DictConfig:
    """Return the configuration of a model that learns nothing, or works without it."""
    chosen = [f"model={name}", *([f"backbone={backbone}"] if backbone else [])]
    config = compose.compose_config(
        "test", [*chosen, "logger=none", "paths.output_dir=.", *overrides]
    )
    if not preflight.works_untrained(config):
        raise ValueError(
            f"{name} is a model that learns: give what it has learned, runs/train/NAME, instead of its name; or first "
            f"run: python train.py model={name} dataset=visa"
        )
    return config


def build_task(config: DictConfig, checkpoint: Path) -> Any:
    """Build the task, with what was learned if anything is."""
    task = instantiate.build_task(config)
    if model_facts.is_trainable(config) and checkpoint.exists():
        task.load_prompts(checkpoint)
    return task
