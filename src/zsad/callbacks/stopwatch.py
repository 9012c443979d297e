"""How long the batches of a run took."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import time
from typing import Any

from lightning import Callback

from zsad.types import Batch


class Stopwatch(Callback):
    """Measure how long the batches of a run took, and how many images were in them. Each process measures its own."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0

    @property
    def images_per_second(self) -> float:
        """Images a second of this process, 0 before the first batch ended."""
        return self.images / self.seconds if self.seconds else 0.0

    def timing(self) -> dict[str, int | float]:
        """Return images, seconds and images per second, for the run card."""
        return {
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 3),
        }

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start."""
        self._start()

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        """Start."""
        self._start()

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Start."""
        self._start()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count."""
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
        """Count."""
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
        """Count."""
        self._count(batch)

    def _start(self) -> None:
        self.images, self.seconds, self._since = 0, 0.0, time.perf_counter()

    def _count(self, batch: Batch) -> None:
        self.images += len(batch)
        self.seconds = time.perf_counter() - self._since
