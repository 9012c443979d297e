"""Scores of single images, written as CSV."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning import Callback

from zsad.distributed import gather_objects
from zsad.reports.image_scores import ImageScore, write_scores
from zsad.types import Batch, Prediction


class ScoreWriter(Callback):
    """Writes the score of every image.

    A prediction writes ``path, score, probability`` and, with a threshold, ``verdict``: a line as
    soon as it is known, so that a stopped run keeps its lines. A test writes the labels, too, into
    a single file for all processes, after the last image.

    Args:
        file: The CSV file of a prediction; an earlier file is replaced.
        test_file: The CSV file of a test; ``None`` for none.
        threshold: A prediction calls images ``defective`` from this score on, others ``good``;
            ``None`` for no verdicts.

    Attributes:
        test_scores: After a test, the scores of all images.
        verdicts: After a prediction, the number of images with each verdict.
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
        heading = ["path", "score", "probability"]
        if self.threshold is not None:
            heading.append("verdict")
        with self.file.open("w", newline="") as file:
            csv.writer(file).writerow(heading)

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
        scores = outputs.score.tolist()
        probabilities = outputs.probability.tolist()
        with self.file.open("a", newline="") as file:
            writer = csv.writer(file)
            for path, score, probability in zip(batch.path, scores, probabilities, strict=True):
                row = [path, f"{score:.6f}", f"{probability:.6f}"]
                if self.threshold is not None:
                    row.append(self._verdict(score, self.threshold))
                writer.writerow(row)

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Clear the scores of an earlier test."""
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
        """Keep the scores."""
        self.test_scores += _scores(outputs, batch)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Join the scores of all processes and write them."""
        gathered = gather_objects(self.test_scores)
        self.test_scores = [score for scores in gathered for score in scores]
        if trainer.is_global_zero and self.test_file is not None:
            write_scores(self.test_scores, self.test_file)

    def _verdict(self, score: float, threshold: float) -> str:
        verdict = "defective" if score >= threshold else "good"
        self.verdicts[verdict] += 1
        return verdict


def _scores(prediction: Prediction, batch: Batch) -> Iterator[ImageScore]:
    labels = batch.is_anomalous.tolist()
    scores = prediction.score.tolist()
    probabilities = prediction.probability.tolist()
    for i, path in enumerate(batch.path):
        yield ImageScore(
            path=path,
            category=batch.category[i],
            defect=batch.defect[i],
            is_anomalous=labels[i],
            score=scores[i],
            probability=probabilities[i],
        )
