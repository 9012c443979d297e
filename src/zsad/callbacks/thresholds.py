"""Choose the thresholds of a run while it is tested."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import math
from collections.abc import Collection
from itertools import chain
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
    """Choose an image and a pixel threshold from all categories of a test together, and write them.

    Nothing is kept of a map but its highest value: the metrics of the task already have its pixels in order.

    Args:
        file: Where to write.
        image_rule: How the image threshold is chosen: ``f1_max``, ``fpr=0.05``, ``normal_only``.
        pixel_rule: The same for pixels.

    Attributes:
        chosen_thresholds: After a test, the thresholds.

    Raises:
        ValueError: An unknown rule.
    """

    def __init__(
        self, file: str | Path, image_rule: str = "f1_max", pixel_rule: str = "f1_max"
    ) -> None:
        self.file = Path(file)
        self.image_rule, self.pixel_rule = image_rule, pixel_rule
        self._rules = {rule: parse_rule(rule) for rule in (image_rule, pixel_rule)}
        self.chosen_thresholds: Thresholds | None = None
        self._start()

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier test."""
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
        """Remember the highest value of the map of each normal image."""
        self._peaks += outputs.map[~batch.is_anomalous].float().flatten(1).amax(dim=1).tolist()

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Choose and write; the metrics are joined over the processes by now."""
        peaks = torch.tensor(list(chain.from_iterable(gather_objects(self._peaks))))
        if trainer.is_global_zero:
            data = trainer.datamodule
            made = made_with(pl_module.method, data.image_size, data.shots)
            self.chosen_thresholds = self._choose(
                pl_module.metrics.rankings.values(), peaks, data.name, made
            )
            write_thresholds(self.chosen_thresholds, self.file)

    def _start(self) -> None:
        self._peaks: list[float] = []
        self.chosen_thresholds = None

    def _choose(
        self,
        rankings: Collection[tuple[Ranking, Ranking]],
        peaks: Tensor,
        dataset: str,
        made: dict[str, Any],
    ) -> Thresholds:
        images, pixels = (merge_rankings(parts) for parts in zip(*rankings, strict=True))
        image = self._rules[self.image_rule].image_threshold(images)
        pixel = self._rules[self.pixel_rule].pixel_threshold(pixels, peaks)
        return Thresholds(
            image=_unless_undefined(image, self.image_rule, images),
            pixel=_unless_undefined(pixel, self.pixel_rule, pixels),
            dataset=dataset,
            made_with=made,
        )


def _unless_undefined(value: float, rule: str, ranking: Ranking) -> Threshold | None:
    return None if math.isnan(value) else Threshold(value, rule, decisions(ranking, value))
