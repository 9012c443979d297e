"""The runs of a sweep, read from their folders."""

from __future__ import annotations

import csv
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from zsad.reports.run_status import FINISHED, RUNNING, Status, current_state, read_status

UNKNOWN = "unknown"  # Hydra has made the folder; the run has not written its status
_NOT_REPEATED = ("resume", "overwrite")  # overrides of a first start


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep.

    Attributes:
        folder: Its folder.
        run: Its name: the folder relative to that of the sweep.
        kind: ``training`` or ``test``.
        state: A state of ``run_status``, or ``unknown``.
        progress: Such as ``epoch 3 of 15``.
        loss: Of the last epoch of a training, from its log.
        remark: Reason of a failure, in a line; or time of the last sign of life.
        command: Resumes the run, or begins it anew.
    """

    folder: Path
    run: str
    kind: str
    state: str
    progress: str
    loss: str
    remark: str
    command: str

    @property
    def needs_restart(self) -> bool:
        """Whether the run has ended without results."""
        return self.state not in (FINISHED, RUNNING)


Runs = Sequence[SweepRun]


def collect(sweeps: Sequence[Path]) -> list[SweepRun]:
    """Find all runs below some folders, of any launcher: every folder that Hydra has made.

    Raises:
        FileNotFoundError: No runs.
    """
    runs = []
    for sweep in sweeps:
        for file in sorted(sweep.rglob(".hydra/overrides.yaml")):
            runs.append(_read(sweep, file.parents[1]))
    if not runs:
        places = ", ".join(map(str, sweeps))
        raise FileNotFoundError(
            f"no runs below {places}. A sweep leaves them in runs/train/sweeps/NAME or "
            "runs/test/sweeps/NAME: python train.py -m seed=1,2,3"
        )
    return runs


def count_waiting(sweeps: Iterable[Path]) -> int:
    """Count the jobs in SLURM's queue: submitted, still without a log and a run folder."""
    count = 0
    for sweep in sweeps:
        for submitted in sweep.glob(".submitit/*/*_submitted.pkl"):
            if not any(submitted.parent.glob("*_log.out")):
                count += 1
    return count


def finished_tests(runs: Runs) -> list[Path]:
    """Return the folders of the tests that have results."""
    folders = []
    for run in runs:
        if run.kind == "test" and run.state == FINISHED:
            folders.append(run.folder)
    return folders


def _read(sweep: Path, folder: Path) -> SweepRun:
    run = folder.resolve().name if folder == sweep else str(folder.relative_to(sweep))
    status = read_status(folder)
    if status is None:
        return _without_status(run, folder)
    state, remark = current_state(folder, status)
    progress = status.progress
    if state == FINISHED:
        progress = ""
        remark = f"at {status.ended[:16].replace('T', ' ')}"
    elif state != RUNNING:
        remark = _first_line(status.error) or _last_log_line(folder, status) or remark
    return SweepRun(
        folder, run, status.kind, state, progress, _loss(folder), remark, status.command
    )


def _without_status(run: str, folder: Path) -> SweepRun:
    """Describe a run without a status by its other files: of an early version, or hardly begun."""
    is_test = (folder / "test.log").exists() or not (folder / "train.log").exists()
    is_finished = (folder / ("results.csv" if is_test else "run_card.json")).exists()
    remark = "starting, or ended before it could write its status"
    return SweepRun(
        folder=folder,
        run=run,
        kind="test" if is_test else "training",
        state=FINISHED if is_finished else UNKNOWN,
        progress="",
        loss=_loss(folder),
        remark="" if is_finished else remark,
        command=_command_from_overrides(folder, "test.py" if is_test else "train.py"),
    )


def _command_from_overrides(folder: Path, script: str) -> str:
    file = folder / ".hydra" / "overrides.yaml"
    overrides = yaml.safe_load(file.read_text(encoding="utf-8")) or []
    kept = []
    for override in map(str, overrides):
        if override.partition("=")[0] not in _NOT_REPEATED:
            kept.append(override)
    place = os.path.relpath(folder)
    if not re.fullmatch(r"[\w./+-]+", place):
        place = f"'{place}'"  # as Hydra quotes
    return shlex.join(["python", script, *kept, "resume=auto", f"hydra.run.dir={place}"])


def _last_log_line(folder: Path, status: Status) -> str:
    """Return the last line of SLURM's log of a job that was ended from outside."""
    if not status.job:
        return ""
    lines: list[str] = []
    for log in sorted(_slurm_logs(folder, status.job)):
        text = log.read_text(errors="replace")
        lines += filter(str.strip, text.splitlines())
    if not lines:
        return ""
    return " ".join(lines[-1].split())


def _slurm_logs(folder: Path, job: str) -> list[Path]:
    logs: list[Path] = []
    for parent in (folder, *folder.parents[:3]):
        logs += parent.glob(f".submitit/{job}/*_log.err")
    return logs


def _loss(folder: Path) -> str:
    """Return the loss of the last logged epoch of a training."""
    logs = folder.glob("log/version_*/metrics.csv")
    oldest_first = sorted(logs, key=lambda file: file.stat().st_mtime_ns)
    for log in reversed(oldest_first):
        loss = ""
        with log.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                loss = row.get("train/total") or loss
        if loss:
            return f"{float(loss):.4f}"
    return ""


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else ""
