"""Thresholds of a run, as a file: values above which images and pixels are called defective."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from zsad.atomic_write import write_whole
from zsad.backbones.weight_files import fingerprint
from zsad.metrics.threshold_rules import Decisions

FILE = "thresholds.json"
OPTIMISTIC = (
    "The numbers beside a threshold are those of the images that it was chosen from. They are "
    "optimistic: on other images expect fewer defects found and more false alarms. Results on the "
    "same images are no test of the threshold."
)
_DECISIONS = "decisions_on_calibration"  # "there" in files of version 0.1

VALUE_RANGE = "value_range"


@dataclass(frozen=True, slots=True)
class Threshold:
    """The value from which on an image or a pixel is called defective.

    Attributes:
        value: The threshold: a logit margin for images, a value of the anomaly map in [0, 1] for
            pixels.
        rule: Rule by which it was chosen.
        decisions_on_calibration: Its decisions about the items that it was chosen from.
    """

    value: float
    rule: str
    decisions_on_calibration: Decisions


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The two thresholds of a run.

    Attributes:
        image: Of image scores; ``None`` where the images did not allow a choice.
        pixel: Of the values of anomaly maps; ``None`` where there were no masks, if the rule needs
            them.
        dataset: Dataset that they were chosen on.
        made_with: Facts that the scores depend on: another method, weights, input size or
            references give other scores.
    """

    image: Threshold | None
    pixel: Threshold | None
    dataset: str
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """Describe both thresholds, and their decisions on the images they were chosen from."""
        of_images = _sentence("image", self.image, "images")
        of_pixels = _sentence("pixel", self.pixel, "pixels")
        return [of_images, of_pixels]

    def differences(self, made_with: Mapping[str, Any]) -> list[str]:
        """Name the facts of a run that differ from those of the run that chose the thresholds."""
        differing = []
        for key, was in self.made_with.items():
            value = made_with.get(key)
            if value != was:
                differing.append(f"{key} is {value}, was {was}")
        return differing


def made_with(
    method: nn.Module,
    image_size: int | None,
    references: int,
    value_range: Sequence[int | float] | None = None,
) -> dict[str, Any]:
    """Return the facts that scores depend on: method, numbers, side of the input, references.

    The values shown as black and as white are among them where images have more than 8 bits.
    """
    facts: dict[str, Any] = {
        "method": type(method).__name__,
        "networks": fingerprint(method),
        "image_size": image_size,
        "references": references,
    }
    if value_range is not None:
        facts[VALUE_RANGE] = list(value_range)
    return facts


def write_thresholds(thresholds: Thresholds, file: Path) -> Path:
    """Write thresholds as JSON and return the file's path; undefined numbers become null."""
    content = {**_without_nan(asdict(thresholds)), "remark": OPTIMISTIC}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return write_whole(file, text + "\n")


def read_thresholds(path: Path) -> Thresholds:
    """Read the thresholds of a run folder, or a file of them.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If the file is none of ours.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"no {file}: choose thresholds with zsad calibrate RUN DATASET, or test with test.py"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Thresholds(
            image=_threshold(content["image"]),
            pixel=_threshold(content["pixel"]),
            dataset=str(content["dataset"]),
            made_with=dict(content["made_with"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} holds no thresholds ({error!r}): choose them anew with zsad calibrate"
        ) from error


def _threshold(content: Mapping[str, Any] | None) -> Threshold | None:
    if content is None:
        return None
    stored = content["there" if "there" in content else _DECISIONS]
    decisions: dict[str, Any] = {}
    for key, value in stored.items():
        decisions[key] = math.nan if value is None else value
    value = float(content["value"])
    rule = str(content["rule"])
    return Threshold(value, rule, Decisions(**decisions))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    is_nan = isinstance(value, float) and math.isnan(value)
    return None if is_nan else value


def _sentence(kind: str, threshold: Threshold | None, items: str) -> str:
    if threshold is None:
        return f"no {kind} threshold: nothing to choose it from"
    decisions = threshold.decisions_on_calibration
    false_alarms = _percent(decisions.false_positive_rate)
    text = f"{kind} threshold {threshold.value:.4g} ({threshold.rule}): "
    text += f"{false_alarms} of {decisions.normal:,} normal {items} called defective"
    if decisions.anomalous:
        found = _percent(decisions.recall)
        text += f", {found} of {decisions.anomalous:,} defective {items} found"
    return text


def _percent(share: float) -> str:
    if math.isnan(share):
        return "n/a"
    return f"{100 * share:.1f} %"
