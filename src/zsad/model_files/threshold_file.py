"""The thresholds of a run, as a file: what is called defective from then on, and what that was chosen from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from zsad.atomic_write import write_whole
from zsad.backbones.weight_files import fingerprint
from zsad.metrics.threshold_rules import Decisions

FILE = "thresholds.json"
_DECISIONS = "decisions_on_calibration"  # "there" in files of version 0.1
OPTIMISTIC = (
    "The numbers beside a threshold are those of the images that it was chosen from. They are optimistic: on other "
    "images expect fewer defects found and more false alarms. Results on the same images are no test of the threshold."
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which value on something is called defective.

    Attributes:
        value: The threshold: a logit margin for images, a value of the anomaly map in [0, 1] for pixels.
        rule: How it was chosen.
        decisions_on_calibration: What it does to what it was chosen from.
    """

    value: float
    rule: str
    decisions_on_calibration: Decisions


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The two thresholds of a run.

    Attributes:
        image: Of image scores; ``None`` where the images did not allow to choose one.
        pixel: Of the values of anomaly maps; ``None`` where there were no masks, if the rule needs them.
        dataset: What they were chosen on.
        made_with: What gave the scores: another method, weights, input size or references give other ones.
    """

    image: Threshold | None
    pixel: Threshold | None
    dataset: str
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """Say what the thresholds are, and what they do to what they were chosen from."""
        return [_sentence("image", self.image, "images"), _sentence("pixel", self.pixel, "pixels")]

    def differences(self, made_with: Mapping[str, Any]) -> list[str]:
        """Name what differs between the run that chose the thresholds and the one that is to use them."""
        return [
            f"{key} is {made_with.get(key)}, was {value}"
            for key, value in self.made_with.items()
            if made_with.get(key) != value
        ]


def write_thresholds(thresholds: Thresholds, file: Path) -> Path:
    """Write thresholds as JSON and return the file's path; what is undefined becomes null."""
    content = {**_without_nan(asdict(thresholds)), "remark": OPTIMISTIC}
    return write_whole(
        file, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


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
        image, pixel = (_threshold(content[kind]) for kind in ("image", "pixel"))
        return Thresholds(image, pixel, str(content["dataset"]), dict(content["made_with"]))
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
    return Threshold(float(content["value"]), str(content["rule"]), Decisions(**decisions))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _sentence(kind: str, threshold: Threshold | None, items: str) -> str:
    if threshold is None:
        return f"no {kind} threshold: nothing to choose it from"
    decisions = threshold.decisions_on_calibration
    said = [
        f"{_percent(decisions.false_positive_rate)} of {decisions.normal:,} normal {items} called defective"
    ]
    if decisions.anomalous:
        said.append(
            f"{_percent(decisions.recall)} of {decisions.anomalous:,} defective {items} found"
        )
    return f"{kind} threshold {threshold.value:.4g} ({threshold.rule}): {', '.join(said)}"


def _percent(share: float) -> str:
    return "n/a" if math.isnan(share) else f"{100 * share:.1f} %"


def made_with(method: nn.Module, image_size: int | None, references: int) -> dict[str, Any]:
    """Return what scores depend on: the method with all its numbers, the side of its input, and its references."""
    return {
        "method": type(method).__name__,
        "networks": fingerprint(method),
        "image_size": image_size,
        "references": references,
    }
