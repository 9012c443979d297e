"""The table of results: on screen, as Markdown and as CSV. Percent with one decimal, as the papers print them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zsad.reports.files import write_whole
from zsad.types import Results

_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MEAN = "mean"


def screen_table(results: Results, title: str, notes: Sequence[str] = ()) -> Table:
    """Lay out the results for ``rich.print``; notes and the reasons of what is undefined stand below."""
    heading, *rows, mean = _cells(results)
    caption = Text("\n".join(_footnotes(results, notes)))  # Text: a "[" in a name is a bracket, not markup
    table = Table(
        title=Text(title), caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False
    )
    for name in heading:
        words = Text(name.replace(" ", "\n"))  # narrow columns: all metrics fit 80 characters
        table.add_column(words, justify="left" if name == heading[0] else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    table.add_section()
    table.add_row(*map(Text, mean), style="bold")
    return table


def markdown_table(results: Results, title: str, notes: Sequence[str] = ()) -> str:
    """Write the results as Markdown, with notes and the reasons of what is undefined below."""
    heading, *rows, mean = _cells(results)
    marked = [f"**{cell}**" if cell else "" for cell in mean]
    alignment = [":---", *("---:" for _ in heading[1:])]
    lines = [f"| {' | '.join(map(_escaped, row))} |" for row in (heading, alignment, *rows, marked)]
    below = [f"- {line}" for line in _footnotes(results, notes)]
    return "\n".join([f"# {title}", "", *lines, *([""] if below else []), *below, ""])


def csv_table(results: Results, notes: Sequence[str] = ()) -> str:
    """Write the results as CSV: metrics in percent with four decimals, empty where undefined; remarks last.

    The remarks of a category say what is undefined and why; those of the mean are the notes.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["category", "normal", "defective", *results.metrics, "remarks"])
    for category in _sorted(results.values):
        remarks = [f"{name}: {reason}" for name, reason in results.reasons[category].items()]
        writer.writerow([category, *results.images[category], *_exact(results, category), "; ".join(remarks)])
    writer.writerow([MEAN, *_totals(results), *(_number(value) for value in results.mean.values()), "; ".join(notes)])
    return buffer.getvalue()


def write_tables(results: Results, folder: Path, title: str, notes: Sequence[str] = ()) -> tuple[Path, Path]:
    """Write ``results.csv`` and ``results.md`` and return their paths."""
    return (
        write_whole(folder / "results.csv", csv_table(results, notes)),
        write_whole(folder / "results.md", markdown_table(results, title, notes)),
    )


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _cells(results: Results) -> list[list[str]]:
    """Return the table as text: heading, categories in natural order, mean."""
    reasons = _reasons(results)
    rows = [["category", "good", "bad", *map(_title, results.metrics)]]
    for category in _sorted(results.values):
        row = results.values[category]
        cells = [_percent(row[name], _mark(results, category, name, reasons)) for name in results.metrics]
        rows.append([category, *map(str, results.images[category]), *cells])
    totals = map(str, _totals(results))
    return [*rows, [MEAN, *totals, *(_percent(value, "") for value in results.mean.values())]]


def _title(metric: str) -> str:
    """Write ``pixel_aupro_200`` as ``pixel AUPRO 200``."""
    kind, _, name = metric.partition("_")
    return f"{kind} {name.replace('_', ' ').upper()}"


def _percent(value: float, mark: str) -> str:
    return f"n/a{mark}" if math.isnan(value) else f"{100 * value:.1f}"


def _mark(results: Results, category: str, metric: str, reasons: list[str]) -> str:
    reason = results.reasons[category].get(metric)
    return "" if reason is None else str(reasons.index(reason) + 1).translate(_SUPERSCRIPT)


def _reasons(results: Results) -> list[str]:
    """Return the different reasons, in the order in which the table meets them."""
    met = (results.reasons[category].get(name) for category in _sorted(results.values) for name in results.metrics)
    return list(dict.fromkeys(reason for reason in met if reason is not None))


def _footnotes(results: Results, notes: Sequence[str]) -> list[str]:
    reasons = _reasons(results)
    lines = [f"{str(i).translate(_SUPERSCRIPT)} {reason}" for i, reason in enumerate(reasons, start=1)]
    if reasons:
        lines.append("The mean of a metric leaves out the categories where it is n/a.")
    return [*lines, *notes]


def _exact(results: Results, category: str) -> list[str]:
    return [_number(results.values[category][name]) for name in results.metrics]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.4f}"


def _totals(results: Results) -> tuple[int, int]:
    normal, anomalous = zip(*results.images.values(), strict=True) if results.images else ((), ())
    return sum(normal), sum(anomalous)


def _sorted(categories: dict[str, dict[str, float]]) -> list[str]:
    """Sort as people do: ``pcb2`` before ``pcb10``."""
    return sorted(categories, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    """Split a name into its numbers and the text before each.

    >>> _natural("pcb10")
    [(10, 'pcb'), (-1, '')]
    """
    return [(int(number) if number else -1, text) for text, number in re.findall(r"([^0-9]*)([0-9]*)", name.lower())]
