"""Thresholds of a checkpoint: their file, their calibration data, the verdicts they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zsad.metrics.threshold_rules import F1Max, NormalOnly, parse_rule
from zsad.model_files.run_checkpoints import find_checkpoint
from zsad.model_files.threshold_file import FILE, VALUE_RANGE, Thresholds, read_thresholds

T = TypeVar("T")

if TYPE_CHECKING:  # Lightning takes seconds to import, and a prediction may do without
    from zsad.data.module import JsonDataModule


def thresholds_file(checkpoint: Path) -> Path | None:
    """Return the path of a checkpoint's thresholds: in its run folder, or beside a single file.

    ``None`` for the name of a training-free model, which has no folder.
    """
    if not checkpoint.exists():
        return None
    file = find_checkpoint(checkpoint)
    if file.parent.name == "checkpoints":
        return file.parents[1] / FILE
    if checkpoint.is_dir():
        return checkpoint / FILE
    return file.with_name(f"{file.name}.{FILE}")


def kept_value_range(checkpoint: Path, given: Path | None) -> list[float] | None:
    """Return the values shown as black and as white where the thresholds were chosen, if any."""
    file = given or thresholds_file(checkpoint)
    if file is None or (given is None and not file.is_file()):
        return None
    return read_thresholds(file).made_with.get(VALUE_RANGE)


def find_thresholds(
    checkpoint: Path, given: Path | None, made_with: Mapping[str, Any]
) -> tuple[Thresholds | None, list[str]]:
    """Return the thresholds to judge by, if there are any, and notes about them.

    Args:
        checkpoint: A checkpoint; its own thresholds are taken, if they fit the scores.
        given: A run folder, or a file; taken even if it does not fit.
        made_with: Facts of the scores to judge: method, networks, image size.

    Raises:
        FileNotFoundError, ValueError: If ``given`` holds no thresholds.
    """
    file = given or thresholds_file(checkpoint)
    if file is None or (given is None and not file.is_file()):
        return None, []
    thresholds = read_thresholds(file)
    differences = ", ".join(thresholds.differences(made_with))
    if not differences:
        return thresholds, []
    note = f"{file} was chosen for other scores ({differences})"
    if given is None:
        return None, [f"no verdicts: {note}; to use it: --thresholds {file}"]
    return thresholds, [note]


def prepare_calibration(data: JsonDataModule, rules: Sequence[str]) -> None:
    """Check that a dataset, set up, has the images that rules need.

    Rules that need normal images alone get no others.

    Raises:
        ValueError: If it has not, or there is no such rule.
    """
    parsed = [parse_rule(rule) for rule in rules]
    normal = [sample for sample in data.test_samples if not sample.is_anomalous]
    num_defective = len(data.test_samples) - len(normal)
    if all(isinstance(rule, NormalOnly) for rule in parsed):
        data.test_samples = normal
    if not normal:
        raise ValueError(
            f"{data.name} has no normal images to choose a threshold from: give another dataset, "
            "or --set dataset.test_phase=train"
        )
    if not num_defective and any(isinstance(rule, F1Max) for rule in parsed):
        raise ValueError(
            f"{data.name} has no defective images to choose a threshold from: --rule normal_only"
        )


def chosen_thresholds(trainer: Any) -> Thresholds:
    """Return the thresholds that a calibration with this trainer has chosen."""
    from zsad.callbacks.thresholds import ThresholdWriter

    writer = _callback(trainer, ThresholdWriter)
    thresholds = writer.chosen_thresholds
    assert thresholds is not None
    return thresholds


def prediction_summary(trainer: Any, images: int, thresholds: Thresholds | None) -> str:
    """Return one line about a finished prediction: images, verdicts, threshold."""
    from zsad.callbacks.scores import ScoreWriter

    if thresholds is None or thresholds.image is None:
        return f"{images} images"
    verdicts = _callback(trainer, ScoreWriter).verdicts
    threshold = thresholds.image
    return (
        f"{images} images, {verdicts['defective']} defective and {verdicts['good']} good "
        f"(score from {threshold.value:.4g} on, {threshold.rule} on {thresholds.dataset})"
    )


def _callback(trainer: Any, kind: type[T]) -> T:
    return next(callback for callback in trainer.callbacks if isinstance(callback, kind))
