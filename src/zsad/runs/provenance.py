"""What was learned from what, and what a reader of test results has to know."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from zsad import __version__
from zsad.backbones.clip.weights import fingerprint
from zsad.data.fingerprints import Fingerprints, compute_fingerprints
from zsad.data.leakage import Overlap, find_overlap
from zsad.distributed import is_first_process
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.tasks.prompt_tuning import PromptTuning

log = logging.getLogger("zsad")


def training_provenance(
    task: PromptTuning,
    data: Any,
    *,
    chosen: Mapping[str, str],
    settings: Mapping[str, Any],
    seed: int,
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
        "weights": weight_fingerprints(task.method),
        "settings": dict(settings),
        "seed": seed,
        "seen": compute_fingerprints(samples).to_state()
        if is_first_process()
        else None,  # who writes the checkpoint reads
        "trained_on": {
            "dataset": data.name,
            "phase": data.train_phase,
            "categories": sorted({sample.category for sample in samples}),
            "images": len(samples),
            "anomalous": sum(sample.is_anomalous for sample in samples),
            "drawn": data.synthetic_defects.share
            if data.synthetic_defects
            else 0.0,  # of the others, given a defect
        },
    }


def weight_fingerprints(method: nn.Module) -> dict[str, str]:
    """Return the fingerprint of every frozen network of a method, by its name in it.

    Of a network that learns in part, those of its frozen parts.
    """
    frozen = {}
    for name, child in method.named_children():
        parts = {
            f"{name}.{part}": inside
            for part, inside in child.named_children()
            if _is_frozen(inside)
        }
        frozen |= {name: child} if _is_frozen(child) else parts
    return {name: fingerprint(network) for name, network in frozen.items()}


def _is_frozen(network: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in network.parameters())


def evaluation_notes(
    learned: Mapping[str, Any],
    *,
    dataset: str,
    weights: Mapping[str, str],
    settings: Mapping[str, Any],
    shared: Overlap | None = None,
) -> list[str]:
    """Return what a reader of test results has to know: not zero-shot, other weights, other settings.

    Args:
        learned: Provenance of the prompts; empty where unknown or where nothing was learned.
        dataset: The tested dataset.
        weights: Fingerprints of the networks of this run.
        settings: The numbers of the method of this run.
        shared: What is tested and was learned from; ``None`` where that is unknown.
    """
    notes = [] if shared is None else shared.sentences()
    if shared is None and learned.get("trained_on", {}).get("dataset") == dataset:
        notes.append(
            f"not zero-shot: the prompts were learned on {dataset} and tested on {dataset}"
        )
    if learned.get("weights", weights) != weights:
        notes.append(
            f"other weights: the prompts were learned on {learned['weights']}, tested on {dict(weights)}"
        )
    for key, value in learned.get("settings", {}).items():
        if key in settings and settings[key] != value:
            notes.append(
                f"other settings: learned with {key}={value}, tested with {key}={settings[key]}"
            )
    return notes


def announce_test(
    task: ZeroShotEvaluation,
    data: Any,
    *,
    learned: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
) -> list[str]:
    """Say before a test what a reader of its results has to know, and return it. The first process reads the images.

    Args:
        task: What is tested.
        data: What it is tested on, set up.
        learned: Provenance of what was learned, empty for files that do not say it; ``None`` where nothing is learned.
        settings: The numbers of the method.
    """
    if not is_first_process():
        return []
    log.info(
        "testing on %s: images %d, categories %d",
        data.name,
        len(data.test_samples),
        len(data.categories),
    )
    shared, notes = None, [data.references.remark] if data.shots else []
    if learned and learned.get("seen"):
        shared = find_overlap(
            Fingerprints.from_state(learned["seen"]), compute_fingerprints(data.test_samples)
        )
    elif learned is not None:
        notes.append(
            "unknown whether zero-shot: the checkpoint does not say which images it was learned from"
        )
    used = weight_fingerprints(task.method)
    notes += evaluation_notes(
        learned or {}, dataset=data.name, weights=used, settings=settings, shared=shared
    )
    for note in notes:
        log.warning("note: %s", note)
    return notes
