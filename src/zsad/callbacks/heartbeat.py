"""Signs of life of a run, for readers of its folder on other machines."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning import Callback

from zsad.reports.run_status import FILE, HEARTBEAT_SECONDS, read_status, touch, write_status


class Heartbeat(Callback):
    """Writes the progress of a run into its status, and touches the file while batches pass.

    Args:
        folder: Of the run, or that of a dataset inside of the folder of the run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._last_touch = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Write the number of the epoch."""
        epoch = trainer.current_epoch + 1
        self._write_progress(trainer, f"epoch {epoch} of {trainer.max_epochs}")

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        """Write the name of the tested dataset."""
        name = getattr(trainer.datamodule, "name", "")
        self._write_progress(trainer, f"testing on {name}" if name else "testing")

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Touch the status."""
        self._touch(trainer)

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Touch the status."""
        self._touch(trainer)

    @property
    def _run(self) -> Path:
        if (self.folder / FILE).exists():
            return self.folder
        return self.folder.parent

    def _write_progress(self, trainer: Any, progress: str) -> None:
        if not trainer.is_global_zero:
            return
        status = read_status(self._run)
        if status is not None:
            write_status(self._run, replace(status, progress=progress))

    def _touch(self, trainer: Any) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self._last_touch > HEARTBEAT_SECONDS:
            self._last_touch = now
            touch(self._run)
