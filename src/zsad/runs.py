"""What a run knows about itself: what was learned from what, what a reader must know, what it leaves behind."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Trainer
from rich.console import Console
from torch import nn

from zsad import __version__
from zsad.backbones.weights import fingerprint
from zsad.reports.run_card import Stopwatch, run_card, write_run_card
from zsad.reports.tables import screen_table, write_tables
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.tasks.prompt_tuning import PromptTuning

log = logging.getLogger("zsad")


def provenance(
    task: PromptTuning, data: Any, *, chosen: Mapping[str, str], settings: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Describe what is about to be learned, and from what: plain values that every checkpoint keeps.

    Args:
        task: Whose method learns.
        data: What it learns from, set up.
        chosen: The names of the chosen model and backbone.
        settings: The numbers of the method.
        seed: Of all random numbers.
    """
    samples = data.train_samples
    return {
        "method": type(task.method).__name__,
        "version": __version__,
        "model": chosen["model"],
        "backbone": chosen["backbone"],
        "weights": weights(task.method),
        "settings": dict(settings),
        "seed": seed,
        "trained_on": {
            "dataset": data.name,
            "phase": data.train_phase,
            "categories": sorted({sample.category for sample in samples}),
            "images": len(samples),
            "anomalous": sum(sample.is_anomalous for sample in samples),
        },
    }


def weights(method: nn.Module) -> dict[str, str]:
    """Return the fingerprint of every frozen network of a method, by its name in it."""
    frozen = (
        (name, child) for name, child in method.named_children() if not any(p.requires_grad for p in child.parameters())
    )
    return {name: fingerprint(child) for name, child in frozen}


def remarks(
    learned: Mapping[str, Any], *, dataset: str, weights: Mapping[str, str], settings: Mapping[str, Any]
) -> list[str]:
    """Return what a reader of test results has to know: not zero-shot, other weights, other settings.

    Args:
        learned: Provenance of the prompts; empty where unknown or where nothing was learned.
        dataset: The tested dataset.
        weights: Fingerprints of the networks of this run.
        settings: The numbers of the method of this run.
    """
    notes = []
    if learned.get("trained_on", {}).get("dataset") == dataset:
        notes.append(f"not zero-shot: the prompts were learned on {dataset} and tested on {dataset}")
    if learned.get("weights", weights) != weights:
        notes.append(f"other weights: the prompts were learned on {learned['weights']}, tested on {dict(weights)}")
    for key, value in learned.get("settings", {}).items():
        if key in settings and settings[key] != value:
            notes.append(f"other settings: learned with {key}={value}, tested with {key}={settings[key]}")
    return notes


def write_training(task: PromptTuning, trainer: Trainer, folder: Path, *, config: Mapping[str, Any]) -> None:
    """Leave the run card of a finished training, and say how to use what was learned."""
    if not trainer.is_global_zero:
        return
    known = task.provenance
    _write_card(trainer, folder, config=config, weights=known["weights"], trained_on=known["trained_on"], notes=[])
    log.info("learned: %s", shown(folder))
    choice = f"model={known['model']} backbone={known['backbone']}"
    log.info("test it on another dataset: python test.py dataset=mvtec %s ckpt_path=%s", choice, shown(folder))


def write_test(
    task: ZeroShotEvaluation,
    trainer: Trainer,
    folder: Path,
    *,
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    learned: Mapping[str, Any],
) -> None:
    """Show the table of a finished test and leave it as CSV and Markdown, with the run card."""
    if not trainer.is_global_zero or task.results is None:
        return
    dataset, used = config["dataset"]["name"], weights(task.method)
    notes = remarks(learned, dataset=dataset, weights=used, settings=settings)
    _write_card(trainer, folder, config=config, weights=used, trained_on=learned.get("trained_on"), notes=notes)
    title = f"{type(task.method).__name__} on {dataset}"
    write_tables(task.results, folder, title, notes)
    Console().print(screen_table(task.results, title, notes))
    log.info("written: %s (results.csv, results.md, run_card.md, heatmaps/)", shown(folder))


def shown(path: str | Path) -> str:
    """Return a path as one would type it from here."""
    return os.path.relpath(path)


def _write_card(
    trainer: Any,
    folder: Path,
    *,
    config: Mapping[str, Any],
    weights: Mapping[str, str],
    trained_on: Any,
    notes: Sequence[str],
) -> None:
    card = run_card(
        config=config,
        seed=config["seed"],
        weights=weights,
        trained_on=trained_on,
        device=trainer.strategy.root_device,
        precision=str(trainer.precision),
        world_size=trainer.world_size,
        stopwatch=next((callback for callback in trainer.callbacks if isinstance(callback, Stopwatch)), None),
        notes=notes,
    )
    write_run_card(card, folder)
