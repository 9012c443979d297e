"""Thresholds of a run, chosen during a test."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from lightning import Callback
from torch import Tensor

from zsad.distributed import gather_objects
from zsad.metrics.ranking import Ranking
from zsad.metrics.threshold_rules import decisions, merge_rankings, parse_rule
from zsad.model_files.threshold_file import Threshold, Thresholds, made_with, write_thresholds
from zsad.types import Batch, Prediction


class ThresholdWriter(Callback):
    """Chooses an image and a pixel threshold from all categories of a test together.

    Of a map only the highest value is kept: the metrics of the task have already ranked its pixels.

    Args:
        file: The written file.
        image_rule: Rule of the image threshold: ``f1_max``, ``fpr=0.05``, ``normal_only``.
        pixel_rule: Rule of the pixel threshold.

    Attributes:
        chosen_thresholds: After a test, the thresholds.

    Raises:
        ValueError: An unknown rule.
    """

    def __init__(
        self, file: str | Path, image_rule: str = "f1_max", pixel_rule: str = "f1_max"
    ) -> None:
        self.file = Path(file)
        self.image_rule = image_rule
        self.pixel_rule = pixel_rule
        self._rules = {rule: parse_rule(rule) for rule in (image_rule, pixel_rule)}
        self.chosen_thresholds: Thresholds | None = None
        self._start()

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Clear the state of an earlier test."""
        self._start()

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Prediction,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the highest value of the map of each normal image."""
        normal = outputs.map[~batch.is_anomalous].float()
        self._peaks += normal.flatten(1).amax(dim=1).tolist()

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Choose and write; the metrics of all processes are joined before."""
        gathered = gather_objects(self._peaks)
        peaks = [peak for part in gathered for peak in part]
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        rankings = pl_module.metrics.rankings.values()
        image, pixel = self._choose(rankings, torch.tensor(peaks))
        self.chosen_thresholds = Thresholds(
            image=image,
            pixel=pixel,
            dataset=data.name,
            made_with=made_with(pl_module.method, data.image_size, data.shots, _value_range(data)),
        )
        write_thresholds(self.chosen_thresholds, self.file)

    def _start(self) -> None:
        self._peaks: list[float] = []
        self.chosen_thresholds = None

    def _choose(
        self, rankings: Collection[tuple[Ranking, Ranking]], peaks: Tensor
    ) -> tuple[Threshold | None, Threshold | None]:
        """Return the image and the pixel threshold."""
        of_images, of_pixels = zip(*rankings, strict=True)
        images = merge_rankings(of_images)
        pixels = merge_rankings(of_pixels)
        image = self._rules[self.image_rule].image_threshold(images)
        pixel = self._rules[self.pixel_rule].pixel_threshold(pixels, peaks)
        return (
            _threshold(image, self.image_rule, images),
            _threshold(pixel, self.pixel_rule, pixels),
        )


def _threshold(value: float, rule: str, ranking: Ranking) -> Threshold | None:
    if math.isnan(value):
        return None
    return Threshold(value, rule, decisions(ranking, value))


def _value_range(data: Any) -> tuple[float, float] | None:
    """Return the values shown as black and as white in images of more than 8 bits, if any are."""
    for sample in getattr(data, "test_samples", ()):  # other loaders have no samples
        if sample.value_range is not None:
            return sample.value_range
    return None
