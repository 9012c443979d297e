"""The runs of a sweep in a single table, with the state of each."""

from __future__ import annotations

import csv
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.table import Table

from zsad.atomic_write import write_whole
from zsad.reports import text_tables
from zsad.reports.compare import write_compared
from zsad.reports.run_status import FINISHED, RUNNING, Status, current_state, read_status
from zsad.reports.text_tables import TextTable

UNKNOWN = "unknown"  # Hydra has made the folder; the run has not written its status
_HEADING = ("run", "kind", "state", "progress", "loss", "remark")
_COLORS = {FINISHED: "green", RUNNING: "cyan"}
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


def headline(runs: Runs, waiting: int = 0) -> str:
    """Count the runs in each state.

    >>> headline([], waiting=2), headline([])
    ('runs: 2 waiting', 'runs: none')
    """
    counts = Counter(run.state for run in runs)
    if waiting:
        counts["waiting"] = waiting
    states = [f"{count} {state}" for state, count in counts.items()]
    joined = ", ".join(states)
    return f"runs: {joined or 'none'}"


def screen_table(runs: Runs, waiting: int = 0) -> Table:
    """Lay out the runs for ``rich.print``, with states in colour."""
    styles = {}
    for run in runs:
        styles[run.state] = _COLORS.get(run.state, "bold red")
    table = _text_table(runs, waiting)
    return text_tables.screen_table(table, wrap=True, styles=styles)


def markdown(runs: Runs) -> str:
    """Write the runs as Markdown, with commands that start the unfinished ones again."""
    page = text_tables.markdown_page(_text_table(runs))
    commands = [run.command for run in _restartable(runs)]
    if not commands:
        return page
    return "\n".join([page, "## To start again", "", "```", *commands, "```", ""])


def write_collected(runs: Runs, out: Path) -> tuple[Path, ...]:
    """Write the table of the runs, a script that restarts them, and a comparison of the tests.

    Returns the files: ``collect.md``; ``rerun.sh`` if runs are unfinished; ``compare.*`` if two
    tests are finished.
    """
    written = [write_whole(out / "collect.md", markdown(runs))]
    script = out / "rerun.sh"
    script.unlink(missing_ok=True)  # of an earlier call
    unfinished = _restartable(runs)
    if unfinished:
        written.append(write_whole(script, _script(unfinished)))
    tests = finished_tests(runs)
    if len(tests) > 1:
        written += write_compared(tests, out)
    return tuple(written)


def finished_tests(runs: Runs) -> list[Path]:
    """Return the folders of the tests that have results."""
    folders = []
    for run in runs:
        if run.kind == "test" and run.state == FINISHED:
            folders.append(run.folder)
    return folders


def _restartable(runs: Runs) -> list[SweepRun]:
    return [run for run in runs if run.needs_restart and run.command]


def _script(runs: Runs) -> str:
    """Write a shell script that starts runs again.

    A launcher waits for its job. Its commands go to the background, so that all jobs are submitted
    at once.
    """
    lines = []
    for run in runs:
        background = " &" if " -m " in run.command else ""
        lines.append(f"# {run.run}: {run.remark}\n{run.command}{background}\n")
    return "".join([*lines, "wait\n"])


def _text_table(runs: Runs, waiting: int = 0) -> TextTable:
    rows = []
    for run in runs:
        rows.append([getattr(run, name) for name in _HEADING])
    title = headline(runs, waiting)
    return TextTable(_HEADING, rows, text_columns=len(_HEADING), title=title)


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
