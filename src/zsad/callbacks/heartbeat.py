"""Signs of life of a run, for those who look at its folder from another machine."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning import Callback

from zsad.reports.run_status import FILE, HEARTBEAT_SECONDS, read_status, touch, write_status


class Heartbeat(Callback):
    """Write into the status of a run how far it has come, and touch it while batches pass.

    Args:
        folder: Of the run; a dataset among several that are tested has its folder inside of it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._given = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Say which epoch begins."""
        self._say(trainer, f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        """Say what is tested."""
        name = getattr(trainer.datamodule, "name", "")
        self._say(trainer, f"testing on {name}" if name else "testing")

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Give a sign."""
        self._sign(trainer)

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Give a sign."""
        self._sign(trainer)

    @property
    def _run(self) -> Path:
        return self.folder if (self.folder / FILE).exists() else self.folder.parent

    def _say(self, trainer: Any, progress: str) -> None:
        status = read_status(self._run) if trainer.is_global_zero else None
        if status is not None:
            write_status(self._run, replace(status, progress=progress))

    def _sign(self, trainer: Any) -> None:
        if trainer.is_global_zero and time.monotonic() - self._given > HEARTBEAT_SECONDS:
            self._given = time.monotonic()
            touch(self._run)
