"""Preemption on a cluster: a checkpoint in mid-epoch, then the queue again."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback

from zsad.reports.run_status import slurm_job_id

log = logging.getLogger("zsad")

_REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)  # sbatch --signal; submitit's is USR2
_STOP = signal.SIGTERM  # of scontrol requeue, preemption, scancel: the sender decides what follows
_SIGNALS = (*_REQUEUE, _STOP)
_MOST_SECONDS_TO_REQUEUE = 300


class StoppedError(SystemExit):
    """The process leaves on a signal, with the exit code of a process killed by it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"


class Preemption(Callback):
    """Ends the step on a warning signal, writes a checkpoint in mid-epoch, and leaves.

    SIGUSR1 and SIGUSR2 mean that the job's time is nearly up: the job is put back into the queue,
    by submitit if it has started the job, by ``scontrol requeue`` otherwise. On SIGTERM the process
    only leaves. Lightning's own handlers are replaced: they save and talk to the other processes
    from inside the signal, in the middle of a step.
    """

    def __init__(self) -> None:
        self._received = 0
        self._handlers_of_starter: dict[int, Any] = {}
        self._handlers_before: dict[int, Any] = {}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Keep the signal handlers of the starter of the process, before Lightning sets its own."""
        self._handlers_of_starter = {number: signal.getsignal(number) for number in _SIGNALS}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Set the handlers. A signal before the training begins loses nothing."""
        self._received = 0
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._handlers_before[number] = signal.signal(number, self._receive)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Leave if a signal was received, but never between the gradients of a step.

        After the last batch the epoch ends first.
        """
        is_within_step = trainer.fit_loop.epoch_loop._should_accumulate()
        if is_within_step or trainer.is_last_batch:
            return
        received = self._received_anywhere(trainer)
        if not received:
            return
        folder = getattr(trainer.checkpoint_callback, "dirpath", None)
        if folder:
            trainer.save_checkpoint(Path(folder) / "last.ckpt")
        self._leave(trainer, received)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Leave if a signal was received: the last epoch's checkpoint has just been written."""
        received = self._received_anywhere(trainer)
        if received:
            self._leave(trainer, received)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Restore the handlers."""
        self._restore_handlers()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Restore the handlers."""
        self._restore_handlers()

    def _receive(self, number: int, frame: Any) -> None:
        self._received = max(self._received, int(number))

    def _received_anywhere(self, trainer: Any) -> int:
        """Return the signal that any process has received, 0 for none: all leave after one step."""
        if trainer.world_size == 1:
            return self._received
        received = torch.tensor(self._received, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(received, reduce_op="max"))

    def _leave(self, trainer: Any, received: int) -> None:
        log.warning(
            "%s: stopped after step %d; to resume from its last.ckpt: resume=auto",
            signal.Signals(received).name,
            trainer.global_step,
        )
        handler = self._handlers_of_starter.get(received)
        self._restore_handlers()
        if received == _STOP:
            raise StoppedError(received)
        if not trainer.is_global_zero:
            # Leaving first could end the step before the job is in the queue.
            time.sleep(_MOST_SECONDS_TO_REQUEUE)
        try:
            _requeue(handler, received)
        except SystemExit as left:
            raise StoppedError(received) from left
        raise StoppedError(received)

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._handlers_before = {}


def _requeue(handler: Any, received: int) -> None:
    """Put the job back into the queue, by the handler of its starter or by SLURM."""
    job = slurm_job_id()
    if callable(handler):
        handler(received, None)  # submitit's: it knows how often this job may come back, and leaves
    elif job:
        command = ["scontrol", "requeue", job]
        subprocess.run(command, check=True, timeout=_MOST_SECONDS_TO_REQUEUE)
