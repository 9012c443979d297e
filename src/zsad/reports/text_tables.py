"""Tables of text as Markdown, as LaTeX, as CSV and on the screen."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


Row = Sequence[str]


class Bold(str):
    """A cell in bold type."""

    __slots__ = ()


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are written already.

    Attributes:
        heading: Names of the columns.
        rows: The cells, ``Bold`` ones in bold type.
        means: Rows below a rule, all of them bold.
        text_columns: The first columns hold words, aligned to the left; the others hold numbers.
        title: Stands above the table.
        notes: Lines below the table.
    """

    heading: Row
    rows: Sequence[Row]
    means: Sequence[Row] = ()
    text_columns: int = 1
    title: str = ""
    notes: Sequence[str] = ()


def markdown_lines(table: TextTable) -> list[str]:
    """Return the table alone in Markdown, line by line."""
    numbers = len(table.heading) - table.text_columns
    alignment = [":---"] * table.text_columns
    alignment += ["---:"] * numbers
    rows = [table.heading, alignment, *table.rows]
    for mean in table.means:
        rows.append(list(map(Bold, mean)))
    lines = []
    for row in rows:
        cells = map(_markdown_cell, row)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def markdown_page(table: TextTable, level: int = 1) -> str:
    """Return title, table and notes in Markdown; ``level`` is that of the title."""
    marks = "#" * level
    lines = [f"{marks} {table.title}", ""]
    lines += markdown_lines(table)
    lines.append("")
    if table.notes:
        lines += [f"- {note}" for note in table.notes]
        lines.append("")
    return "\n".join(lines)


def latex_lines(table: TextTable) -> list[str]:
    """Return the table in LaTeX, in the manner of the package booktabs, line by line."""
    numbers = len(table.heading) - table.text_columns
    alignment = "l" * table.text_columns + "r" * numbers
    caption = table.title
    for note in table.notes:
        caption += f" {note}."
    rows = []
    for row in (table.heading, *table.rows):
        cells = map(_latex_cell, row)
        rows.append(" & ".join(cells) + r" \\")
    return [
        "",
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{_latex_cell(caption)}}}",
        f"\\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]


def csv_text(heading: Row, rows: Iterable[Sequence[object]]) -> str:
    """Return heading and rows as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return buffer.getvalue()


def screen_table(
    table: TextTable, *, wrap: bool = False, styles: Mapping[str, str] = MappingProxyType({})
) -> Table:
    """Lay the table out for ``rich.print``.

    Cells are shown as they are: a "[" is a bracket, not markup of rich. Headings have a line for
    each word, so that all metrics fit into 80 characters.

    Args:
        table: The table.
        wrap: Continue long cells on the next line instead of cutting them.
        styles: Text of a cell → its style, such as ``bold red``.
    """
    caption = "\n".join(table.notes)
    screen = Table(
        title=Text(table.title),
        caption=Text(caption) if caption else None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    for number, name in enumerate(table.heading):
        justify = "left" if number < table.text_columns else "right"
        words = Text(name.replace(" ", "\n"))
        overflow = "fold" if wrap else "ellipsis"
        screen.add_column(words, justify=justify, no_wrap=not wrap, overflow=overflow)
    for row in table.rows:
        cells = [Text(cell, style=_style(cell, styles)) for cell in row]
        screen.add_row(*cells)
    if table.means:
        screen.add_section()
    for mean in table.means:
        screen.add_row(*map(Text, mean), style="bold")
    return screen


def footnote_mark(number: int) -> str:
    """Return a number in superscript.

    >>> footnote_mark(12)
    '¹²'
    """
    return str(number).translate(_SUPERSCRIPT)


def format_number(value: float, form: str, undefined: str = "n/a") -> str:
    """Write a number in a format of Python's, NaN as ``undefined``.

    >>> format_number(91.25, ".1f"), format_number(math.nan, ".1f")
    ('91.2', 'n/a')
    """
    return undefined if math.isnan(value) else f"{value:{form}}"


def _markdown_cell(cell: str) -> str:
    text = cell.replace("|", "\\|")
    return f"**{text}**" if isinstance(cell, Bold) and text else text


def _latex_cell(cell: str) -> str:
    text = "".join(_LATEX.get(character, character) for character in cell)
    return f"\\textbf{{{text}}}" if isinstance(cell, Bold) else text


def _style(cell: str, styles: Mapping[str, str]) -> str:
    return "bold" if isinstance(cell, Bold) else styles.get(cell, "")
