"""Commands that join the tables of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zsad.cli.options import app
from zsad.config import errors


@app.command()
def average(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of tests that differ by their seed alone.")
    ],
    out: Annotated[Path, typer.Option(help="Where average.csv and average.md go.")] = Path(
        "runs/average"
    ),
) -> None:
    """Join the tables of tests that repeat one another: mean ± deviation of every number."""
    from rich.console import Console

    from zsad.reports import seeds as averages

    with errors.clear_errors():
        result = averages.average(runs)
        title = f"mean of {len(runs)} runs"
        written = averages.write_average(result, out, title)
    Console().print(averages.screen_table(result, title))
    typer.echo(f"written: {', '.join(map(str, written))}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished tests.")],
    out: Annotated[Path, typer.Option(help="Where compare.md, .tex, .csv and .html go.")] = Path(
        "runs/compare"
    ),
    by_category: Annotated[
        bool, typer.Option(help="Also a table per metric, with a row for each category.")
    ] = False,
) -> None:
    """Put finished tests side by side, dataset by dataset; only what tested the same images shares a table."""
    from rich.console import Console

    from zsad.reports import compare as side_by_side

    with errors.clear_errors():
        written = side_by_side.write_compared(runs, out, by_category)
        tables = side_by_side.screen_tables(side_by_side.compare(runs))
    for table in tables:
        Console().print(table)
    typer.echo(f"written: {', '.join(map(str, written))}")


@app.command()
def collect(
    sweeps: Annotated[
        list[Path], typer.Argument(help="Folders of sweeps: runs/train/sweeps/NAME.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where the tables go; by default into the first sweep.")
    ] = None,
) -> None:
    """Gather all runs of a sweep: what became of each, tests side by side, commands that start lost ones again."""
    from rich.console import Console

    from zsad.reports import compare as side_by_side
    from zsad.reports import sweep_table as collected

    with errors.clear_errors():
        runs = collected.collect(sweeps)
        written = collected.write_collected(runs, out or sweeps[0])
        tests = collected.finished_tests(runs)
        tables = (
            list(side_by_side.screen_tables(side_by_side.compare(tests))) if len(tests) > 1 else []
        )
    for table in (collected.screen_table(runs, collected.count_waiting(sweeps)), *tables):
        Console().print(table)
    lost = [one for one in runs if one.needs_restart]
    if lost:
        typer.echo(
            f"to start the {len(lost)} that came to no end again: sh {(out or sweeps[0]) / 'rerun.sh'}"
        )
    for one in lost:
        typer.echo(one.command)
    typer.echo(f"written: {', '.join(map(str, written))}")
