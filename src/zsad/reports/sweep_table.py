"""The runs of a sweep in a single table, with the state of each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.table import Table

from zsad.atomic_write import write_whole
from zsad.reports import text_tables
from zsad.reports.compare import write_compared
from zsad.reports.run_status import FINISHED, RUNNING
from zsad.reports.sweep_runs import Runs, SweepRun, finished_tests
from zsad.reports.text_tables import TextTable

_HEADING = ("run", "kind", "state", "progress", "loss", "remark")
_COLORS = {FINISHED: "green", RUNNING: "cyan"}


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
