"""Progress bars of commands that read many files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress, TextColumn, TimeRemainingColumn

Amount = Callable[[int, int], str]
Move = Callable[[int, int], None]


def images(done: int, total: int) -> str:
    """Return the amount of a bar that counts images."""
    return f"{done:,}/{total:,}"


def megabytes(done: int, total: int) -> str:
    """Return the amount of a bar that counts bytes, in megabytes."""
    return f"{done / 1e6:,.0f}/{total / 1e6:,.0f} MB"


@contextmanager
def progress_bars(bars: dict[str, Amount]) -> Iterator[list[Move]]:
    """Yield the function that moves each bar; a bar shows from its first move on.

    Args:
        bars: Title of each bar, with the function that writes its amount.
    """
    title_and_bar = Progress.get_default_columns()[:2]
    columns = (*title_and_bar, TextColumn("{task.fields[amount]}"), TimeRemainingColumn())
    with Progress(*columns) as display:
        yield [_add_bar(display, title, amount) for title, amount in bars.items()]


def _add_bar(display: Progress, title: str, amount: Amount) -> Move:
    row = display.add_task(title, total=None, visible=False, amount="")

    def move(done: int, total: int) -> None:
        text = amount(done, total)
        display.update(row, completed=done, total=total, visible=True, amount=text)

    return move
