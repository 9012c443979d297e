"""From scores to verdicts: where the thresholds of a checkpoint lie, what they are chosen from, whether they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Trainer

from zsad.callbacks.scores import ScoreWriter
from zsad.callbacks.thresholds import ThresholdWriter
from zsad.data.module import JsonDataModule
from zsad.metrics.threshold_rules import F1Max, NormalOnly, parse_rule
from zsad.model_files.learned import find_checkpoint
from zsad.model_files.threshold_file import FILE, Thresholds, read_thresholds


def thresholds_file(checkpoint: Path) -> Path | None:
    """Return where the thresholds of a checkpoint lie: in its run folder, or beside a file that stands alone.

    ``None`` for what is no file: a model that learns nothing has no folder.
    """
    if not checkpoint.exists():
        return None
    file = find_checkpoint(checkpoint)
    if file.parent.name == "checkpoints":
        return file.parents[1] / FILE
    return checkpoint / FILE if checkpoint.is_dir() else file.with_name(f"{file.name}.{FILE}")


def find_thresholds(
    checkpoint: Path, given: Path | None, made_with: Mapping[str, Any]
) -> tuple[Thresholds | None, list[str]]:
    """Return the thresholds to judge by, if there are any, and what a reader has to know of them.

    Args:
        checkpoint: Whose own thresholds are taken, if they fit.
        given: A run folder, or a file; taken in any case.
        made_with: What will give the scores.

    Raises:
        FileNotFoundError, ValueError: If what is given holds no thresholds.
    """
    file = given or thresholds_file(checkpoint)
    if file is None or (given is None and not file.is_file()):
        return None, []
    thresholds = read_thresholds(file)
    unlike = ", ".join(thresholds.differences(made_with))
    if unlike and given is None:
        return None, [
            f"no verdicts: {file} was chosen for other scores ({unlike}); to use it: --thresholds {file}"
        ]
    return thresholds, [f"{file} was chosen for other scores ({unlike})"] if unlike else []


def prepare_calibration(data: JsonDataModule, rules: Sequence[str]) -> None:
    """Check that a dataset, set up, has what rules need, and keep its normal images alone where they need no others.

    Raises:
        ValueError: If it has not, or there is no such rule.
    """
    read = [parse_rule(rule) for rule in rules]
    normal = [sample for sample in data.test_samples if not sample.is_anomalous]
    wanted = {"normal": len(normal), "defective": len(data.test_samples) - len(normal)}
    if all(isinstance(rule, NormalOnly) for rule in read):
        data.test_samples = normal
    missing = [kind for kind, count in wanted.items() if not count]
    if missing and (not normal or any(isinstance(rule, F1Max) for rule in read)):
        other = (
            "--rule normal_only" if normal else "another dataset, or --set dataset.test_phase=train"
        )
        raise ValueError(
            f"{data.name} has no {missing[0]} images to choose a threshold from: {other}"
        )


def chosen_thresholds(trainer: Trainer) -> Thresholds:
    """Return the thresholds that a test has just chosen."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    writer = next(callback for callback in callbacks if isinstance(callback, ThresholdWriter))
    thresholds = writer.chosen_thresholds
    assert thresholds is not None
    return thresholds


def prediction_summary(trainer: Trainer, images: int, thresholds: Thresholds | None) -> str:
    """Return what a prediction came to, in one line."""
    if thresholds is None or thresholds.image is None:
        return f"{images} images"
    verdicts = next(one.verdicts for one in trainer.callbacks if isinstance(one, ScoreWriter))  # type: ignore[attr-defined]
    line = f"score from {thresholds.image.value:.4g} on, {thresholds.image.rule} on {thresholds.dataset}"
    return (
        f"{images} images, {verdicts['defective']} defective and {verdicts['good']} good ({line})"
    )
