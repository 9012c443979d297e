"""Commands that compare, average and collect finished runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from zsad.cli.options import RUNS, app
from zsad.config import errors


@app.command(rich_help_panel=RUNS)
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished tests.")],
    out: Annotated[Path, typer.Option(help="Folder of compare.md, .tex, .csv and .html.")] = Path(
        "runs/compare"
    ),
    by_category: Annotated[
        bool, typer.Option("--by-category", help="Add tables with a row for each category.")
    ] = False,
) -> None:
    """Compare finished tests, dataset by dataset. Only tests of the same images share a table."""
    from zsad.reports import compare as comparison

    with errors.clear_errors():
        written = comparison.write_compared(runs, out, by_category)
        tables = comparison.screen_tables(comparison.compare(runs))
    _show_tables(tables)
    _list_files(written)


@app.command(rich_help_panel=RUNS)
def average(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of tests that differ by their seed alone.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of average.csv and average.md.")] = Path(
        "runs/average"
    ),
) -> None:
    """Average tests with several seeds: mean ± standard deviation of every number."""
    from zsad.reports import seeds

    with errors.clear_errors():
        result = seeds.average(runs)
        title = f"mean of {len(runs)} runs"
        written = seeds.write_average(result, out, title)
    _show_tables([seeds.screen_table(result, title)])
    _list_files(written)


@app.command(rich_help_panel=RUNS)
def collect(
    sweeps: Annotated[
        list[Path], typer.Argument(help="Folders of sweeps: runs/train/sweeps/NAME.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the tables; by default the first sweep.")
    ] = None,
) -> None:
    """Collect the runs of a sweep: their states, a comparison, commands to restart lost runs."""
    from zsad.reports import compare as comparison
    from zsad.reports import sweep_runs, sweep_table

    folder = out or sweeps[0]
    with errors.clear_errors():
        runs = sweep_runs.collect(sweeps)
        written = sweep_table.write_collected(runs, folder)
        tables = [sweep_table.screen_table(runs, sweep_runs.count_waiting(sweeps))]
        tests = sweep_runs.finished_tests(runs)
        if len(tests) > 1:
            tables += comparison.screen_tables(comparison.compare(tests))
    _show_tables(tables)
    commands = [run.command for run in runs if run.needs_restart]
    if commands:
        typer.echo(f"to restart {len(commands)} unfinished runs: sh {folder / 'rerun.sh'}")
        typer.echo("\n".join(commands))
    _list_files(written)


def _show_tables(tables: Iterable[object]) -> None:
    from rich.console import Console

    for table in tables:
        Console().print(table)


def _list_files(files: Iterable[Path]) -> None:
    typer.echo(f"written: {', '.join(map(str, files))}")
