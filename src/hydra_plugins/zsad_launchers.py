"""Hydra launchers for the runs of a sweep: SLURM jobs, or a pool of processes on this machine."""

# ruff: noqa: ARG002 (the signatures are Hydra's)
from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
from omegaconf import DictConfig, OmegaConf, open_dict

log = logging.getLogger("zsad")

# Overrides of the sweep itself, which its runs do not get.
_OF_THE_SWEEP = ("hydra.launcher", "hydra/launcher", "hydra.sweep", "hydra/sweeper", "hydra.mode")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Slurm(SlurmLauncher):
    """Submits every run as a SLURM job, and waits for all of them.

    Each run has the command line that begins it alone.
    """

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self._program = sys.argv[0]

    def __call__(self, sweep_overrides: list[str], *args: Any, **kwargs: Any) -> JobReturn:
        """Run one combination, inside its job."""
        sys.argv = [self._program, *sweep_overrides]
        return super().__call__(sweep_overrides, *args, **kwargs)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit, and wait. An interrupt ends the waiting, not the jobs."""
        assert self.config is not None
        if subprocess.run(["sacct"], capture_output=True, check=False).returncode:
            # submitit would complain every few seconds.
            logging.getLogger("submitit").setLevel(logging.ERROR)
            log.warning(
                "this cluster has no accounting (sacct): killed jobs are waited for, until Ctrl-C"
            )
        try:
            return super().launch(job_overrides, initial_job_idx)
        except KeyboardInterrupt:
            folder = _sweep_folder(self.config)
            log.warning(
                "the jobs continue: squeue --me. To see their states: zsad collect %s", folder
            )
            return []


class _Run(NamedTuple):  # a dataclass would need the module, which Hydra executes unregistered
    number: int
    overrides: list[str]
    folder: Path


class LocalPool(Launcher):
    """Starts every run of a sweep as a process of its own, a few at a time.

    Args:
        workers: Runs at a time.
        threads: CPUs of each run, for its threads and its loader workers; ``None``: an equal share
            of the machine's.
        gpus: Each worker sees one of these alone; ``None``: all see all.
    """

    def __init__(
        self, workers: int, threads: int | None = None, gpus: Sequence[int] | None = None
    ) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"hydra.launcher.workers={workers}: expected 1 or more")
        self.workers = workers
        self.threads = threads
        self.gpus = gpus
        self._slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Store Hydra's context and configuration for a launch."""
        self.hydra_context = hydra_context
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Start the runs, wait for all of them, and return their ends."""
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        runs = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            runs.append(self._prepare(number, list(overrides)))
        for slot in range(self.workers):
            self._slots.put(slot)
        folder = _sweep_folder(self.config)
        log.info("%d runs, %d at a time, in %s", len(runs), self.workers, folder)
        with ThreadPoolExecutor(self.workers) as pool:
            ends = [pool.submit(self._finish, run) for run in runs]
            try:
                return [end.result() for end in ends]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self._running.values()):
                    process.send_signal(signal.SIGTERM)
                raise

    def _prepare(self, number: int, overrides: list[str]) -> _Run:
        """Compose the configuration of a run, which names its folder."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)  # names of folders ask for the choices of the run
        try:
            folder = Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir))
        finally:
            HydraConfig.instance().cfg = before
        return _Run(number, overrides, folder)

    def _finish(self, run: _Run) -> JobReturn:
        """Run one combination to its end, in the next free slot."""
        slot = self._slots.get()
        start = time.monotonic()
        log.info("#%d started: %s", run.number, " ".join(filter_overrides(run.overrides)))
        try:
            code = self._wait(run, slot)
        finally:
            self._slots.put(slot)
        ended = JobReturn(overrides=run.overrides, working_dir=str(run.folder))
        ended.status = JobStatus.COMPLETED
        word = "finished"
        if code:
            ended.status = JobStatus.FAILED
            ended.return_value = _failure(run, code, _sweep_folder(self.config))
            word = "failed"
        seconds = time.monotonic() - start
        log.info("#%d %s after %.0f s: %s", run.number, word, seconds, run.folder)
        return ended

    def _wait(self, run: _Run, slot: int) -> int:
        """Start the process of a run, wait for it, and return its exit code."""
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / "screen.log").open("ab") as screen:
            process = subprocess.Popen(
                self._command(run),
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=screen,
                env=self._environment(slot),
            )
        self._running[run.number] = process
        # Not on every system; the environment says it, too.
        with contextlib.suppress(AttributeError, OSError):
            os.sched_setaffinity(process.pid, self._cpus(slot))
        try:
            return process.wait()
        finally:
            del self._running[run.number]

    def _command(self, run: _Run) -> list[str]:
        command = [sys.executable, sys.argv[0], *run.overrides]
        typed: Any = OmegaConf.to_container(self.config.hydra.overrides.hydra, resolve=False)
        for override in map(str, typed):
            if not override.startswith(_OF_THE_SWEEP):
                command.append(override)
        command.append(f"hydra.run.dir='{run.folder}'")
        return command

    def _cpus(self, slot: int) -> list[int]:
        """Return the CPUs of a slot: neighbours, shared with other slots if there are too few."""
        available = sorted(os.sched_getaffinity(0))
        share = max(1, len(available) // self.workers)
        count = min(self.threads or share, len(available))
        first = slot * count
        return [available[place % len(available)] for place in range(first, first + count)]

    def _environment(self, slot: int) -> dict[str, str]:
        count = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
        with contextlib.suppress(AttributeError):  # sched_getaffinity is not on every system
            count = len(self._cpus(slot))
        environment = dict(os.environ)
        for variable in _THREAD_VARIABLES:
            environment[variable] = str(count)
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(self.gpus[slot % len(self.gpus)])
        return environment


def _failure(run: _Run, code: int, sweep: str) -> Exception:
    """Return the error of a run, with the last error message of its screen."""
    # Hydra imports this file in all of its programs: zsad only where a run of ours has failed.
    from zsad.config.errors import RunFailedError

    how = f"failed ({code})"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    screen = (run.folder / "screen.log").read_text(errors="replace")
    last = ""
    for line in screen.splitlines():
        is_error = line.startswith("error:")
        if is_error or (line.strip() and not last.startswith("error:")):
            last = line
    return RunFailedError(f"run #{run.number} {how}, {last}\nAll runs: zsad collect {sweep}")


def _sweep_folder(config: DictConfig) -> str:
    return str(config.hydra.sweep.dir)
