"""All runs of a sweep in one table, whatever became of them: finished, running, failed, or gone without a word."""

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
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zsad.atomic_write import write_whole
from zsad.reports.compare import write_compared
from zsad.reports.run_status import FINISHED, RUNNING, Status, current_state, read_status

UNKNOWN = "unknown"  # begun by Hydra, and nothing more: it is being started, or was ended before it could say a word
_STYLES = {FINISHED: "green", RUNNING: "cyan"}
_HEADING = ("run", "kind", "state", "progress", "loss", "remark")


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        folder: Where it is.
        run: Its name, the folder as seen from the sweep.
        kind: ``training`` or ``test``.
        state: What became of it.
        progress: How far it came.
        loss: Of the last epoch of a training, as its log has it.
        remark: Why it failed, in a line; or when it last gave a sign of life.
        command: What goes on with it, or begins it anew.
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
        """Whether it has to be started again to come to an end."""
        return self.state not in (FINISHED, RUNNING)


def collect(sweeps: Sequence[Path]) -> list[SweepRun]:
    """Find all runs below some folders: whatever Hydra has given a folder, by any launcher.

    Raises:
        FileNotFoundError: If there are none.
    """
    found = [
        _read(sweep, file.parents[1])
        for sweep in sweeps
        for file in sorted(sweep.rglob(".hydra/overrides.yaml"))
    ]
    if not found:
        places = ", ".join(map(str, sweeps))
        raise FileNotFoundError(
            f"no runs below {places}. A sweep leaves them in runs/train/sweeps/NAME or runs/test/sweeps/NAME: "
            "python train.py -m seed=1,2,3"
        )
    return found


def count_waiting(sweeps: Iterable[Path]) -> int:
    """Count the jobs that are in SLURM's queue: submitted, without a log yet. They have no run folder."""
    submitted = (file for sweep in sweeps for file in sweep.glob(".submitit/*/*_submitted.pkl"))
    return sum(not any(file.parent.glob("*_log.out")) for file in submitted)


def headline(runs: Sequence[SweepRun], waiting: int = 0) -> str:
    """Count the runs by what became of them.

    >>> headline([], waiting=2), headline([])
    ('runs: 2 waiting', 'runs: none')
    """
    counts = Counter(one.state for one in runs) + Counter(waiting=waiting)
    return f"runs: {', '.join(f'{count} {state}' for state, count in counts.items()) or 'none'}"


def screen_table(runs: Sequence[SweepRun], waiting: int = 0) -> Table:
    """Lay out the runs for ``rich.print``."""
    table = Table(
        title=Text(headline(runs, waiting)), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    for name in _HEADING:
        table.add_column(name, overflow="fold")
    for one in runs:
        cells = [Text(cell) for cell in _cells(one)]
        cells[_HEADING.index("state")].stylize(_STYLES.get(one.state, "bold red"))
        table.add_row(*cells)
    return table


def markdown(runs: Sequence[SweepRun]) -> str:
    """Write the runs as Markdown, with the commands that start again those that came to no end."""
    rows = [_HEADING, tuple(":---" for _ in _HEADING), *map(_cells, runs)]
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    lost = [one.command for one in runs if one.needs_restart and one.command]
    again = ["", "## To start again", "", "```", *lost, "```"] if lost else []
    return "\n".join([f"# {headline(runs)}", "", *lines, *again, ""])


def write_collected(runs: Sequence[SweepRun], out: Path) -> tuple[Path, ...]:
    """Write what became of the runs, how to start the lost ones again, and the comparison of the finished tests.

    Returns the files: ``collect.md``, ``rerun.sh`` if there are lost runs, and ``compare.*`` if there are two tests.
    """
    written = [write_whole(out / "collect.md", markdown(runs))]
    script, lost = out / "rerun.sh", [one for one in runs if one.needs_restart and one.command]
    script.unlink(missing_ok=True)  # of an earlier call
    if lost:
        written.append(write_whole(script, _script(lost)))
    tests = finished_tests(runs)
    return (*written, *(write_compared(tests, out) if len(tests) > 1 else ()))


def finished_tests(runs: Iterable[SweepRun]) -> list[Path]:
    """Return the folders of the tests that have results."""
    return [one.folder for one in runs if one.state == FINISHED and one.kind == "test"]


def _script(lost: Sequence[SweepRun]) -> str:
    # A launcher waits for its job: all are handed to it at once.
    lines = [
        f"# {one.run}: {one.remark}\n{one.command}{' &' if ' -m ' in one.command else ''}\n"
        for one in lost
    ]
    return "".join([*lines, "wait\n"])


def _cells(one: SweepRun) -> tuple[str, ...]:
    return one.run, one.kind, one.state, one.progress, one.loss, one.remark


def _read(sweep: Path, folder: Path) -> SweepRun:
    run = str(folder.relative_to(sweep)) if folder != sweep else folder.resolve().name
    status = read_status(folder)
    if status is None:
        return _unsaid(run, folder)
    state, remark = current_state(folder, status)
    if state not in (FINISHED, RUNNING):
        remark = _first_line(status.error) or _last_words(folder, status) or remark
    elif state == FINISHED:
        remark = f"at {status.ended[:16].replace('T', ' ')}"
    progress = "" if state == FINISHED else status.progress
    return SweepRun(
        folder, run, status.kind, state, progress, _loss(folder), remark, status.command
    )


def _unsaid(run: str, folder: Path) -> SweepRun:
    """Describe a run without a status, of an earlier version or hardly begun, by the files there are."""
    is_test = (folder / "test.log").exists() or not (folder / "train.log").exists()
    done = folder / ("results.csv" if is_test else "run_card.json")
    script, kind = ("test.py", "test") if is_test else ("train.py", "training")
    given = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8")) or []
    kept = [one for one in map(str, given) if one.partition("=")[0] not in ("resume", "overwrite")]
    place = os.path.relpath(folder)
    place = place if re.fullmatch(r"[\w./+-]+", place) else f"'{place}'"  # as Hydra quotes
    command = shlex.join(["python", script, *kept, "resume=auto", f"hydra.run.dir={place}"])
    remark = "" if done.exists() else "it is being started, or was ended before it could say a word"
    return SweepRun(
        folder,
        run,
        kind,
        FINISHED if done.exists() else UNKNOWN,
        "",
        _loss(folder),
        remark,
        command,
    )


def _last_words(folder: Path, status: Status) -> str:
    """Return the last line that SLURM has kept of a job which could not say itself why it ended."""
    logs = [
        log
        for parent in (folder, *folder.parents[:3])
        for log in parent.glob(f".submitit/{status.job}/*_log.err")
        if status.job
    ]
    lines = [
        line
        for log in sorted(logs)
        for line in log.read_text(errors="replace").splitlines()
        if line.strip()
    ]
    return re.sub(r"\s+", " ", lines[-1]).strip() if lines else ""


def _loss(folder: Path) -> str:
    """Return the loss of the last epoch that a training has logged."""
    logs = sorted(
        folder.glob("log/version_*/metrics.csv"), key=lambda file: file.stat().st_mtime_ns
    )
    for log in reversed(logs):
        with log.open(newline="", encoding="utf-8") as file:
            losses = [row["train/total"] for row in csv.DictReader(file) if row.get("train/total")]
        if losses:
            return f"{float(losses[-1]):.4f}"
    return ""


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
