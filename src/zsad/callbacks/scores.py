"""The scores of single images, as they come."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from lightning import Callback

from zsad.distributed import gather_objects
from zsad.reports.image_scores import ImageScore, write_scores
from zsad.types import Batch, Prediction


class ScoreWriter(Callback):
    """Write the score of every image.

    Of a prediction ``path, score, probability``, with a threshold also ``verdict``, a line as soon as it is known: a
    run that is stopped keeps the lines it has written. Of a test also what the image is, in one file for all processes,
    when all images are through.

    Args:
        file: The CSV file of a prediction; an earlier one is replaced.
        test_file: The CSV file of a test; without one a test writes nothing.
        threshold: With one, a prediction says ``defective`` of images that score this or more, and ``good`` of others.

    Attributes:
        test_scores: After a test, the scores of all images.
        verdicts: After a prediction, how many images were called what.
    """

    def __init__(
        self, file: str | Path, test_file: str | Path | None = None, threshold: float | None = None
    ) -> None:
        self.file = Path(file)
        self.threshold = threshold
        self.verdicts: Counter[str] = Counter()
        self.test_file = None if test_file is None else Path(test_file)
        self.test_scores: list[ImageScore] = []

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the file."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.verdicts.clear()
        with self.file.open("w", newline="") as file:
            csv.writer(file).writerow(
                ["path", "score", "probability", *([] if self.threshold is None else ["verdict"])]
            )

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Prediction,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a line per image."""
        rows = zip(batch.path, outputs.score.tolist(), outputs.probability.tolist(), strict=True)
        with self.file.open("a", newline="") as file:
            csv.writer(file).writerows(
                (path, f"{score:.6f}", f"{probability:.6f}", *self._verdict(score))
                for path, score, probability in rows
            )

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier test."""
        self.test_scores = []

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Remember the scores."""
        self.test_scores += _scores(outputs, batch)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Join the scores of all processes and write them."""
        self.test_scores = list(chain.from_iterable(gather_objects(self.test_scores)))
        if trainer.is_global_zero and self.test_file is not None:
            write_scores(self.test_scores, self.test_file)

    def _verdict(self, score: float) -> list[str]:
        if self.threshold is None:
            return []
        verdict = "defective" if score >= self.threshold else "good"
        self.verdicts[verdict] += 1
        return [verdict]


def _scores(prediction: Prediction, batch: Batch) -> Iterator[ImageScore]:
    numbers = (
        batch.is_anomalous.tolist(),
        prediction.score.tolist(),
        prediction.probability.tolist(),
    )
    columns = zip(batch.path, batch.category, batch.defect, *numbers, strict=True)
    return (ImageScore(*row) for row in columns)
