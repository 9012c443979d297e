"""Bars of commands that read many files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress, TextColumn, TimeRemainingColumn

Amount = Callable[[int, int], str]


def images(done: int, total: int) -> str:
    """Say how many images are through."""
    return f"{done:,}/{total:,}"


def megabytes(done: int, total: int) -> str:
    """Say how many megabytes are through."""
    return f"{done / 1e6:,.0f}/{total / 1e6:,.0f} MB"


@contextmanager
def progress_bars(rows: dict[str, Amount]) -> Iterator[list[Callable[[int, int], None]]]:
    """Yield for each bar the function that moves it; a bar shows from its first move on."""
    columns = (
        *Progress.get_default_columns()[:2],
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as display:

        def mover(what: str, amount: Amount) -> Callable[[int, int], None]:
            row = display.add_task(what, total=None, visible=False, amount="")
            return lambda done, total: display.update(
                row, completed=done, total=total, visible=True, amount=amount(done, total)
            )

        yield [mover(what, amount) for what, amount in rows.items()]
