"""Timing of the batches of a run."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import time
from typing import Any

from lightning import Callback

from zsad.types import Batch


class Stopwatch(Callback):
    """Measures the time of the batches of a run and counts their images, in each process."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0

    @property
    def images_per_second(self) -> float:
        """Images per second of this process, 0 before the first batch has ended."""
        return self.images / self.seconds if self.seconds else 0.0

    def timing(self) -> dict[str, int | float]:
        """Return images, seconds and images per second, for the run card."""
        return {
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 3),
        }

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self._start()

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self._start()

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self._start()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the images of a batch."""
        self._count(batch)

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the images of a batch."""
        self._count(batch)

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the images of a batch."""
        self._count(batch)

    def _start(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._start_time = time.perf_counter()

    def _count(self, batch: Batch) -> None:
        self.images += len(batch)
        self.seconds = time.perf_counter() - self._start_time
