"""Runs side by side, dataset by dataset; the best number of each comparison is bold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from zsad.atomic_write import write_whole
from zsad.reports.html.compare_page import render_comparison
from zsad.reports.read_runs import COUNTS, DataFrame, metrics_of, read_finished_runs
from zsad.reports.results_table import MEAN, metric_label
from zsad.reports.table_cells import COMPARISON_TITLE, Cell, CellTable, number_cell
from zsad.reports.text_tables import Bold, TextTable, latex_lines, markdown_page, screen_table

Tables = Sequence[CellTable]

# Better when lower: metrics whose name, after image_ or pixel_, begins so.
_ERROR_RATES = ("fpr",)


def compare(folders: Sequence[Path], by_category: bool = False) -> list[CellTable]:
    """Put runs side by side: a table for each set of tested images.

    Runs share a table only if they tested as many images of the same categories of a dataset.

    Args:
        folders: Run folders; a run on several datasets takes part in the tables of all of them.
        by_category: Add a table for each metric, with a row for each category and a column for
            each run, where two runs or more share a table.

    Raises:
        FileNotFoundError: A folder without results or run card.
        ValueError: Fewer than two runs.
    """
    if len(folders) < 2:
        raise ValueError(
            f"expected two runs or more to compare, got {len(folders)}: zsad compare RUN RUN …"
        )
    tests = read_finished_runs(folders)
    groups = _group_by_images(tests)
    datasets = Counter(map(_dataset, groups))
    tables = []
    for group in groups:
        has_sibling = datasets[_dataset(group)] > 1
        tables.append(_mean_table(group, has_sibling))
    if by_category:
        for group in groups:
            tables += _category_tables(group)
    return tables


def screen_tables(tables: Tables) -> Iterator[Table]:
    """Lay out the tables for ``rich.print``."""
    for table in map(_text_table, tables):
        yield screen_table(table, wrap=True)


def markdown(tables: Tables) -> str:
    """Write the tables as Markdown."""
    pages = [f"# {COMPARISON_TITLE}\n"]
    for table in map(_text_table, tables):
        pages.append(markdown_page(table, level=2))
    return "\n".join(pages)


def latex(tables: Tables) -> str:
    """Write the tables as LaTeX, in the manner of the package booktabs."""
    lines = ["% needs \\usepackage{booktabs}"]
    for table in map(_text_table, tables):
        lines += latex_lines(table)
    return "\n".join(lines)


def csv_table(folders: Sequence[Path], by_category: bool = False) -> str:
    """Write the compared tests as CSV, in percent with four decimals.

    A line for each run and dataset, or for each of their categories, too.
    """
    from pandas import concat

    tests = concat(read_finished_runs(folders))
    if not by_category:
        tests = _means(tests)
    notes = tests.pop("notes")
    tests["remarks"] = notes.map("; ".join)
    return tests.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def write_compared(
    folders: Sequence[Path], out: Path, by_category: bool = False
) -> tuple[Path, ...]:
    """Write ``compare.md``, ``.tex``, ``.html`` and ``.csv`` and return their paths."""
    tables = compare(folders, by_category)
    return (
        write_whole(out / "compare.md", markdown(tables)),
        write_whole(out / "compare.tex", latex(tables)),
        write_whole(out / "compare.html", render_comparison(tables)),
        write_whole(out / "compare.csv", csv_table(folders, by_category)),
    )


def _group_by_images(tests: Sequence[DataFrame]) -> list[DataFrame]:
    """Join the tables of tests on the same images, in the order of the runs."""
    from pandas import concat

    groups: dict[tuple[str, frozenset], list[DataFrame]] = {}
    for test in tests:
        categories = test.loc[test["category"] != MEAN]
        counts = categories[["category", *COUNTS]]
        images = frozenset(counts.itertuples(index=False))
        group = groups.setdefault((_dataset(test), images), [])
        group.append(test)
    return [concat(group) for group in groups.values()]


def _mean_table(group: DataFrame, has_sibling: bool) -> CellTable:
    """Compare the means of runs: a row for each run, a column for each metric."""
    means = _means(group)
    words = means[["run", "method", "trained_on", "image_size"]].replace("", "nothing")
    columns = []
    for name in words.columns:
        columns.append(list(map(Cell, words[name])))
    heading = ["run", "method", "learned from", "input px"]
    for metric in metrics_of(group):
        heading.append(metric_label(metric))
        numbers = means[metric].tolist()
        columns.append(_number_cells(numbers, metric))
    notes = []
    for run, run_notes in zip(means["run"], means["notes"], strict=True):
        notes += [f"{run}: {note}" for note in run_notes]
    if has_sibling:
        notes.append(f"Not the same images as in another table of {_dataset(group)}.")
    rows = zip(*columns, strict=True)
    return CellTable(_title(group), tuple(heading), tuple(rows), tuple(notes))


def _category_tables(group: DataFrame) -> Iterator[CellTable]:
    """Compare the categories of runs: a table for each metric, a column for each run."""
    runs = _means(group)["run"]
    if len(runs) < 2:
        return
    for metric in metrics_of(group):
        title = f"{_title(group)}: {metric_label(metric)}"
        rows = []
        for category, values in group.groupby("category", sort=False)[metric]:
            numbers = _number_cells(values.tolist(), metric)
            rows.append((Cell(str(category)), *numbers))
        yield CellTable(title, ("category", *runs), tuple(rows))


def _number_cells(values: Sequence[float], metric: str) -> list[Cell]:
    """Write the numbers of a comparison; the best, and all that print the same, are marked.

    A number without a rival is not marked.
    """
    defined = [value for value in values if not math.isnan(value)]
    if len(defined) < 2:
        return list(map(number_cell, values))
    _, _, name = metric.partition("_")
    best = min(defined) if name.startswith(_ERROR_RATES) else max(defined)
    cells = []
    for value in values:
        is_best = f"{value:.1f}" == f"{best:.1f}"
        cells.append(number_cell(value, is_best=is_best))
    return cells


def _means(tests: DataFrame) -> DataFrame:
    return tests.loc[tests["category"] == MEAN]


def _dataset(tests: DataFrame) -> str:
    return tests["dataset"].iloc[0]


def _title(group: DataFrame) -> str:
    count = len(group["category"].unique()) - 1  # without the mean
    categories = "category" if count == 1 else "categories"
    means = _means(group)
    normal, defective = means[COUNTS].to_numpy()[0]
    images = f"{normal:,} good, {defective:,} defective"
    return f"{_dataset(group)}: {images}, {count} {categories}"


def _text_table(table: CellTable) -> TextTable:
    words = [cell for cell in table.rows[0] if cell.value is None]
    rows = []
    for cells in table.rows:
        rows.append([Bold(cell.text) if cell.is_best else cell.text for cell in cells])
    return TextTable(
        heading=table.heading,
        rows=rows,
        text_columns=len(words),
        title=table.title,
        notes=table.notes,
    )
