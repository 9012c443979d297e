"""The scores of single images, as they come."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning import Callback

from zsad.types import Batch, Prediction


class ScoreWriter(Callback):
    """Write ``path, score, probability`` of every predicted image, a line as soon as it is known.

    A run that is stopped keeps the lines it has written.

    Args:
        file: The CSV file; an earlier one is replaced.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the file."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("w", newline="") as file:
            csv.writer(file).writerow(["path", "score", "probability"])

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
                (path, f"{score:.6f}", f"{probability:.6f}") for path, score, probability in rows
            )
