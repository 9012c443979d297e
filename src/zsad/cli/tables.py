"""Commands that join the tables of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zsad import build
from zsad.cli.options import app


@app.command()
def average(
    runs: Annotated[list[Path], typer.Argument(help="Folders of tests that differ by their seed alone.")],
    out: Annotated[Path, typer.Option(help="Where average.csv and average.md go.")] = Path("runs/average"),
) -> None:
    """Join the tables of tests that repeat one another: mean ± deviation of every number."""
    from rich.console import Console

    from zsad.reports import average as averages

    with build.clear_errors():
        result = averages.average(runs)
        title = f"mean of {len(runs)} runs"
        written = averages.write_average(result, out, title)
    Console().print(averages.screen_table(result, title))
    typer.echo(f"written: {', '.join(map(str, written))}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished tests.")],
    out: Annotated[Path, typer.Option(help="Where compare.md, .tex, .csv and .html go.")] = Path("runs/compare"),
    by_category: Annotated[bool, typer.Option(help="Also a table per metric, with a row for each category.")] = False,
) -> None:
    """Put finished tests side by side, dataset by dataset; only what tested the same images shares a table."""
    from rich.console import Console

    from zsad.reports import compare as side_by_side

    with build.clear_errors():
        written = side_by_side.write_compared(runs, out, by_category)
        tables = side_by_side.screen_tables(side_by_side.compare(runs))
    for table in tables:
        Console().print(table)
    typer.echo(f"written: {', '.join(map(str, written))}")
