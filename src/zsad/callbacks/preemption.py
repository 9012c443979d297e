"""Make room when a cluster asks for it, and lose nothing."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback

log = logging.getLogger("zsad")

_REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)  # sbatch --signal; submitit's is USR2
_STOP = (
    signal.SIGTERM
)  # scontrol requeue, preemption, scancel: whoever sends it decides what follows
_MOST_SECONDS_TO_REQUEUE = 300


class StoppedError(SystemExit):
    """The process leaves because it was told to; its exit code is that of a process killed by the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"


class Preemption(Callback):
    """On a warning signal end the step, write a checkpoint in mid-epoch, and leave.

    SIGUSR1 and SIGUSR2 mean that the job's time is nearly up: the job is put back into the queue, by submitit where it
    has started the job, by ``scontrol requeue`` otherwise. On SIGTERM the process only leaves. Lightning's own handlers
    are replaced: they save and talk to the other processes from inside the signal, in the middle of a step.
    """

    def __init__(self) -> None:
        self._received = 0
        self._starter: dict[int, Any] = {}
        self._before: dict[int, Any] = {}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Remember what the starter of the process does on the signals, before Lightning listens, too."""
        self._starter = {one: signal.getsignal(one) for one in (*_REQUEUE, _STOP)}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Listen from now on. Earlier nothing would be lost."""
        self._received = 0
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._remember) for one in (*_REQUEUE, _STOP)}

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Leave if asked to, but never between the gradients of one step; at the end of an epoch the epoch ends."""
        is_between_steps = not trainer.fit_loop.epoch_loop._should_accumulate()
        if is_between_steps and not trainer.is_last_batch and (asked := self._asked(trainer)):
            if folder := getattr(trainer.checkpoint_callback, "dirpath", None):
                trainer.save_checkpoint(Path(folder) / "last.ckpt")
            self._leave(trainer, asked)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Leave if asked to: the checkpoint of the epoch before has just been written."""
        if asked := self._asked(trainer):
            self._leave(trainer, asked)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Give the signals back."""
        self._give_back()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Give the signals back."""
        self._give_back()

    def _remember(self, number: int, frame: Any) -> None:
        self._received = max(self._received, int(number))

    def _asked(self, trainer: Any) -> int:
        """Return the signal that any of the processes has received, 0 for none: all leave after the same step."""
        if trainer.world_size == 1:
            return self._received
        received = torch.tensor(self._received, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(received, reduce_op="max"))

    def _leave(self, trainer: Any, asked: int) -> None:
        name = signal.Signals(asked).name
        log.warning(
            "%s: stopped after step %d; the training goes on from its last.ckpt",
            name,
            trainer.global_step,
        )
        starter = self._starter.get(asked)
        self._give_back()
        if asked == _STOP:
            raise StoppedError(asked)
        if not trainer.is_global_zero:
            time.sleep(
                _MOST_SECONDS_TO_REQUEUE
            )  # leaving first could end the step before the job is in the queue
        try:
            if callable(starter):
                starter(
                    asked, None
                )  # submitit's: it knows how often this job may come back, and leaves
            elif job := slurm_job_id():
                subprocess.run(
                    ["scontrol", "requeue", job], check=True, timeout=_MOST_SECONDS_TO_REQUEUE
                )
        except SystemExit as left:
            raise StoppedError(asked) from left
        raise StoppedError(asked)

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}


def slurm_job_id() -> str | None:
    """Return the number of the SLURM job that this process belongs to, as ``scontrol`` takes it; ``None`` outside."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
