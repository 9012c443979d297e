"""Runs side by side, dataset by dataset; the best number of each comparison is bold."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zsad.atomic_write import write_whole
from zsad.reports.html.compare_page import render_comparison
from zsad.reports.read_runs import FinishedRun, read_finished_runs
from zsad.reports.results_table import MEAN, metric_label
from zsad.reports.table_cells import COMPARISON_TITLE, Cell, CellTable, number_cell

_ERROR_RATES = (
    "fpr",
)  # metrics whose name begins so, after image_ or pixel_, are better when lower
_FACTS = ("run", "method", "learned from", "input px")
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def compare(folders: Sequence[Path], by_category: bool = False) -> list[CellTable]:
    """Put runs side by side: a table for each set of images that they were tested on.

    Runs are in one table only if they tested as many images of the same categories of the same dataset.

    Args:
        folders: Run folders; one that tested several datasets takes part in the tables of all of them.
        by_category: Also a table per metric with a row for each category and a column for each run, if there are two.

    Raises:
        FileNotFoundError: A folder without results or run card.
        ValueError: Fewer than two runs.
    """
    if len(folders) < 2:
        raise ValueError(
            f"expected two runs or more to compare, got {len(folders)}: zsad compare RUN RUN …"
        )
    groups = _groups(read_finished_runs(folders))
    datasets = Counter(group[0].dataset for group in groups)
    blocks = [_means(group, datasets[group[0].dataset] > 1) for group in groups]
    several = [group for group in groups if len(group) > 1] if by_category else []
    return blocks + [block for group in several for block in _by_category(group)]


def screen_tables(blocks: Sequence[CellTable]) -> Iterator[Table]:
    """Lay out the tables for ``rich.print``."""
    for block in blocks:
        title, below = Text(block.title), Text("\n".join(block.notes))
        shown = Table(
            title=title,
            caption=below,
            caption_justify="left",
            box=SIMPLE_HEAD,
            padding=0,
            show_edge=False,
        )
        for name, cell in zip(block.heading, block.rows[0], strict=True):
            shown.add_column(
                Text(name.replace(" ", "\n")), justify="left" if cell.value is None else "right"
            )
        for row in block.rows:
            shown.add_row(*(Text(cell.text, style="bold" if cell.is_best else "") for cell in row))
        yield shown


def markdown(blocks: Sequence[CellTable]) -> str:
    """Write the tables as Markdown."""
    return "\n".join(
        [
            f"# {COMPARISON_TITLE}",
            "",
            *(line for block in blocks for line in _markdown_block(block)),
        ]
    )


def latex(blocks: Sequence[CellTable]) -> str:
    """Write the tables as LaTeX, in the manner of the package booktabs."""
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            *(line for block in blocks for line in _latex_block(block)),
        ]
    )


def csv_table(folders: Sequence[Path], by_category: bool = False) -> str:
    """Write what is compared as one CSV, a line per run and dataset, or category: percent with four decimals."""
    tests = read_finished_runs(folders)
    metrics = _metrics(tests)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    facts = ("run", "method", "trained_on", "image_size", "dataset")
    writer.writerow([*facts, "category", "normal", "defective", *metrics, "remarks"])
    for one in tests:
        for row in (*(one.images if by_category else ()), MEAN):
            numbers = (
                "" if math.isnan(value) else f"{value:.4f}" for value in _values(one, row, metrics)
            )
            words = [getattr(one, fact) for fact in facts]
            remarks = "; ".join(one.notes) if row == MEAN else ""
            writer.writerow([*words, row, *one.images.get(row, _totals(one)), *numbers, remarks])
    return buffer.getvalue()


def write_compared(
    folders: Sequence[Path], out: Path, by_category: bool = False
) -> tuple[Path, ...]:
    """Write ``compare.md``, ``compare.tex``, ``compare.csv`` and ``compare.html`` and return their paths."""
    blocks = compare(folders, by_category)
    writers: dict[str, Callable[[Sequence[CellTable]], str]] = {
        "md": markdown,
        "tex": latex,
        "html": render_comparison,
    }
    written = [
        write_whole(out / f"compare.{ending}", write(blocks)) for ending, write in writers.items()
    ]
    return (*written, write_whole(out / "compare.csv", csv_table(folders, by_category)))


def _groups(tests: Sequence[FinishedRun]) -> list[list[FinishedRun]]:
    """Put together what was tested on the same images, in the order of the runs."""
    groups: dict[tuple[str, frozenset], list[FinishedRun]] = {}
    for one in tests:
        groups.setdefault((one.dataset, frozenset(one.images.items())), []).append(one)
    return list(groups.values())


def _means(group: Sequence[FinishedRun], is_told_apart: bool) -> CellTable:
    metrics = _metrics(group)
    columns = [_ranked([_values(one, MEAN, [name])[0] for one in group], name) for name in metrics]
    facts = [(one.run, one.method, one.trained_on or "nothing", one.image_size) for one in group]
    rows = [(*map(Cell, words), *cells) for words, *cells in zip(facts, *columns, strict=True)]
    notes = [f"{one.run}: {note}" for one in group for note in one.notes]
    if is_told_apart:
        notes.append(f"Not the same images as in another table of {group[0].dataset}.")
    return CellTable(
        _titled(group[0]), (*_FACTS, *map(metric_label, metrics)), tuple(rows), tuple(notes)
    )


def _by_category(group: Sequence[FinishedRun]) -> Iterator[CellTable]:
    heading = ("category", *(one.run for one in group))
    for metric in _metrics(group):
        rows = [
            (Cell(row), *_ranked([_values(one, row, [metric])[0] for one in group], metric))
            for row in (*group[0].images, MEAN)
        ]
        yield CellTable(f"{_titled(group[0])}: {metric_label(metric)}", heading, tuple(rows))


def _ranked(values: Sequence[float], metric: str) -> list[Cell]:
    """Write numbers and mark the best, together with what prints the same; alone, a number is no best."""
    defined = [value for value in values if not math.isnan(value)]
    is_error = metric.partition("_")[2].startswith(_ERROR_RATES)
    best = f"{(min if is_error else max)(defined, default=math.nan):.1f}"
    return [
        number_cell(value, is_best=len(defined) > 1 and f"{value:.1f}" == best) for value in values
    ]


def _values(one: FinishedRun, row: str, metrics: Sequence[str]) -> list[float]:
    return [one.values[row].get(name, math.nan) for name in metrics]


def _metrics(tests: Sequence[FinishedRun]) -> list[str]:
    return list(dict.fromkeys(name for one in tests for name in one.metrics))


def _totals(one: FinishedRun) -> tuple[int, int]:
    return sum(good for good, _ in one.images.values()), sum(bad for _, bad in one.images.values())


def _titled(one: FinishedRun) -> str:
    (good, bad), count = _totals(one), len(one.images)
    return f"{one.dataset}: {good:,} good, {bad:,} defective, {count} {'category' if count == 1 else 'categories'}"


def _markdown_block(block: CellTable) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    alignment = [":---" if cell.value is None else "---:" for cell in block.rows[0]]
    body = [
        [f"**{cell.text}**" if cell.is_best else cell.text for cell in row] for row in block.rows
    ]
    notes = [f"- {note}" for note in block.notes]
    lines = [line(cells) for cells in (block.heading, alignment, *body)]
    return [f"## {block.title}", "", *lines, "", *notes, *([""] if notes else [])]


def _latex_block(block: CellTable) -> list[str]:
    columns = "".join("l" if cell.value is None else "r" for cell in block.rows[0])
    body = [
        " & ".join(
            f"\\textbf{{{_tex(cell.text)}}}" if cell.is_best else _tex(cell.text) for cell in row
        )
        + r" \\"
        for row in block.rows
    ]
    caption = " ".join([block.title, *(f"{note}." for note in block.notes)])
    return [
        "",
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{_tex(caption)}}}",
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_tex, block.heading)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]


def _tex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
