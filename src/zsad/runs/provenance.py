"""Provenance of learned prompts, and notes for readers of test results."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from omegaconf import DictConfig
from torch import nn

from zsad.backbones.weight_files import fingerprint
from zsad.config import checkpoint_settings, compose
from zsad.data.fingerprints import Fingerprints, compute_fingerprints
from zsad.data.leakage import Overlap, find_overlap
from zsad.data.module import JsonDataModule
from zsad.distributed import is_first_process
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.tasks.prompt_tuning import PromptTuning

log = logging.getLogger("zsad")


def training_provenance(
    config: DictConfig, task: PromptTuning, data: JsonDataModule
) -> dict[str, Any]:
    """Describe a training before it starts, in plain values that every checkpoint keeps.

    Args:
        config: The configuration of the training.
        task: The task with the method to train.
        data: The training data, set up.
    """
    choices = compose.choices_of_run()
    # Only the first process writes checkpoints, so it alone reads the images.
    seen = None
    if is_first_process():
        seen = compute_fingerprints(data.train_samples).to_state()
    return {
        "method": type(task.method).__name__,
        "version": version("zsad"),
        "model": choices["model"],
        "backbone": choices["backbone"],
        "weights": weight_fingerprints(task.method),
        "settings": checkpoint_settings.settings(config),
        "seed": config.seed,
        "seen": seen,
        "trained_on": _training_data(data),
    }


def announce_training(provenance: Mapping[str, Any]) -> None:
    """Log the training data before a training. The first process does it."""
    if not is_first_process():
        return
    data = provenance["trained_on"]
    log.info("training on %(dataset)s: %(images)d images, %(anomalous)d of them anomalous", data)
    if data["drawn"]:
        log.info("synthetic defects in %d %% of the normal images", 100 * data["drawn"])


def announce_test(
    task: ZeroShotEvaluation,
    data: JsonDataModule,
    *,
    learned: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
) -> list[str]:
    """Log notes for readers of the results before a test, and return them.

    The first process does it; it reads the images.

    Args:
        task: The task to test.
        data: The test data, set up.
        learned: Provenance of the learned prompts, empty if a file has none; ``None`` for a
            training-free model.
        settings: The settings of the method.
    """
    if not is_first_process():
        return []
    images, categories = len(data.test_samples), len(data.categories)
    log.info("testing on %s: images %d, categories %d", data.name, images, categories)
    notes = [data.references.remark] if data.shots else []
    shared = None
    if learned and learned.get("seen"):
        seen = Fingerprints.from_state(learned["seen"])
        shared = find_overlap(seen, compute_fingerprints(data.test_samples))
    elif learned is not None:
        notes.append(
            "unknown whether zero-shot: the checkpoint does not say which images it was learned "
            "from"
        )
    notes += evaluation_notes(
        learned or {},
        dataset=data.name,
        weights=weight_fingerprints(task.method),
        settings=settings,
        shared=shared,
    )
    for note in notes:
        log.warning("note: %s", note)
    return notes


def evaluation_notes(
    learned: Mapping[str, Any],
    *,
    dataset: str,
    weights: Mapping[str, str],
    settings: Mapping[str, Any],
    shared: Overlap | None = None,
) -> list[str]:
    """Return notes for readers of test results: not zero-shot, other weights, other settings.

    Args:
        learned: Provenance of the prompts; empty if unknown, or for a training-free model.
        dataset: Name of the tested dataset.
        weights: Fingerprints of the networks of this run.
        settings: The settings of the method of this run.
        shared: Images that were trained on and are tested; ``None`` if that is unknown.
    """
    notes = [] if shared is None else shared.sentences()
    if shared is None and learned.get("trained_on", {}).get("dataset") == dataset:
        notes.append(
            f"not zero-shot: the prompts were learned on {dataset} and tested on {dataset}"
        )
    learned_on = learned.get("weights", weights)
    if learned_on != weights:
        notes.append(
            f"other weights: the prompts were learned on {learned_on}, tested on {dict(weights)}"
        )
    for key, value in learned.get("settings", {}).items():
        if key in settings and settings[key] != value:
            notes.append(
                f"other settings: learned with {key}={value}, tested with {key}={settings[key]}"
            )
    return notes


def weight_fingerprints(method: nn.Module) -> dict[str, str]:
    """Return the fingerprint of every frozen network of a method, by its name in the method.

    For a network that is trained in part, those of its frozen parts.
    """
    prints = {}
    for name, network in method.named_children():
        if _is_frozen(network):
            prints[name] = fingerprint(network)
            continue
        for part, inside in network.named_children():
            if _is_frozen(inside):
                prints[f"{name}.{part}"] = fingerprint(inside)
    return prints


def _training_data(data: JsonDataModule) -> dict[str, Any]:
    samples = data.train_samples
    synthetic = data.synthetic_defects
    return {
        "dataset": data.name,
        "phase": data.train_phase,
        "categories": sorted({sample.category for sample in samples}),
        "images": len(samples),
        "anomalous": sum(sample.is_anomalous for sample in samples),
        # The share of the normal images that get a synthetic defect.
        "drawn": synthetic.share if synthetic else 0.0,
    }


def _is_frozen(network: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in network.parameters())
