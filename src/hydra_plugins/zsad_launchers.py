"""Hydra launchers for the runs of a sweep: jobs of a SLURM cluster, or a few processes of this machine at a time."""

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
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
from omegaconf import DictConfig, OmegaConf, open_dict

log = logging.getLogger("zsad")


class Slurm(SlurmLauncher):
    """Submit every run as a job, and wait for all of them; a run knows the command that begins it alone."""

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
            logging.getLogger("submitit").setLevel(
                logging.ERROR
            )  # or it would say so every few seconds
            log.warning(
                "this cluster has no accounts (sacct): a job that is killed is waited for, until Ctrl-C"
            )
        try:
            return super().launch(job_overrides, initial_job_idx)
        except KeyboardInterrupt:
            log.warning(
                "the jobs go on: squeue --me. What has become of them: zsad collect %s",
                _sweep(self.config),
            )
            return []


class _Run(
    NamedTuple
):  # no dataclass: Hydra executes a plugin before it is among the known modules
    number: int
    overrides: list[str]
    folder: Path


class LocalPool(Launcher):
    """Start every run of a sweep as a process of its own, so many at a time.

    Args:
        workers: Runs at a time.
        threads: CPUs of each run, for its threads and its loader workers; ``None``: the machine's, shared out.
        gpus: Each worker sees one of these alone; ``None``: all see all.
    """

    def __init__(
        self, workers: int, threads: int | None = None, gpus: Sequence[int] | None = None
    ) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"hydra.launcher.workers={workers}: expected 1 or more")
        self.workers, self.threads, self.gpus = workers, threads, gpus
        self._slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take from Hydra what a launch needs."""
        self.hydra_context, self.config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Start the runs, wait for all of them, and return how each ended."""
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        runs = [
            self._run(initial_job_idx + place, list(one)) for place, one in enumerate(job_overrides)
        ]
        for slot in range(self.workers):
            self._slots.put(slot)
        log.info("%d runs, %d at a time, in %s", len(runs), self.workers, _sweep(self.config))
        with ThreadPoolExecutor(self.workers) as pool:
            ends = [pool.submit(self._finish, run) for run in runs]
            try:
                return [end.result() for end in ends]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self._running.values()):
                    process.send_signal(signal.SIGTERM)
                raise

    def _run(self, number: int, overrides: list[str]) -> _Run:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)  # names of folders ask for the choices of the run
        try:
            return _Run(
                number, overrides, Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir))
            )
        finally:
            HydraConfig.instance().cfg = before

    def _finish(self, run: _Run) -> JobReturn:
        """Run one combination to its end, in the next free slot."""
        slot, began = self._slots.get(), time.monotonic()
        shown = " ".join(filter_overrides(run.overrides))
        log.info("#%d started: %s", run.number, shown)
        try:
            code = self._wait(run, slot)
        finally:
            self._slots.put(slot)
        ended = JobReturn(overrides=run.overrides, working_dir=str(run.folder))
        ended.status = JobStatus.FAILED if code else JobStatus.COMPLETED
        ended.return_value = _failure(run, code, _sweep(self.config)) if code else None
        took = time.monotonic() - began
        log.info(
            "#%d %s after %.0f s: %s",
            run.number,
            "failed" if code else "finished",
            took,
            run.folder,
        )
        return ended

    def _wait(self, run: _Run, slot: int) -> int:
        given = OmegaConf.to_container(self.config.hydra.overrides.hydra, resolve=False)
        kept = [one for one in map(str, given) if not one.startswith(_OF_THE_SWEEP)]  # type: ignore[arg-type]
        command = [
            sys.executable,
            sys.argv[0],
            *run.overrides,
            *kept,
            f"hydra.run.dir='{run.folder}'",
        ]
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / "screen.log").open("ab") as screen:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=screen,
                env=self._environment(slot),
            )
        self._running[run.number] = process
        with contextlib.suppress(
            AttributeError, OSError
        ):  # not on every system; the environment says it, too
            os.sched_setaffinity(process.pid, self._cpus(slot))
        try:
            return process.wait()
        finally:
            del self._running[run.number]

    def _cpus(self, slot: int) -> list[int]:
        """Return the CPUs of a slot: neighbours, and shared with other slots only where there are too few."""
        own = sorted(os.sched_getaffinity(0))
        count = min(self.threads or max(1, len(own) // self.workers), len(own))
        return [own[(slot * count + place) % len(own)] for place in range(count)]

    def _environment(self, slot: int) -> dict[str, str]:
        count = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
        with contextlib.suppress(AttributeError):
            count = len(self._cpus(slot))
        own = {
            name: str(count)
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        }
        if self.gpus:
            own["CUDA_VISIBLE_DEVICES"] = str(self.gpus[slot % len(self.gpus)])
        return os.environ | own


_OF_THE_SWEEP = ("hydra.launcher", "hydra/launcher", "hydra.sweep", "hydra/sweeper", "hydra.mode")


class RunFailedError(CompactHydraException):
    """A run came to no good end; Hydra shows the message alone."""


def _failure(run: _Run, code: int, sweep: str) -> RunFailedError:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed ({code})"
    said = [
        line
        for line in (run.folder / "screen.log").read_text(errors="replace").splitlines()
        if line.strip()
    ]
    errors = [line for line in said if line.startswith("error:")] or said[-1:]
    return RunFailedError(
        f"run #{run.number} {how}, {' '.join(errors[-1:])}\nAll of them: zsad collect {sweep}"
    )


def _sweep(config: DictConfig) -> str:
    return str(config.hydra.sweep.dir)
