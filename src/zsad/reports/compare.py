"""Runs side by side, dataset by dataset; the best number of each comparison is bold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas
from rich.table import Table

from zsad.atomic_write import write_whole
from zsad.reports import text_tables
from zsad.reports.html.compare_page import render_comparison
from zsad.reports.read_runs import COUNTS, metrics_of, read_finished_runs
from zsad.reports.results_table import MEAN, metric_label
from zsad.reports.table_cells import COMPARISON_TITLE, Cell, CellTable, number_cell
from zsad.reports.text_tables import Bold, TextTable

# Better when lower: metrics whose name, after image_ or pixel_, begins so.
_ERROR_RATES = ("fpr",)
_HEADING = ("run", "method", "learned from", "input px")


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
    groups = _group_by_images(read_finished_runs(folders))
    datasets = Counter(_dataset(group) for group in groups)
    tables = []
    for group in groups:
        tables.append(_mean_table(group, has_sibling=datasets[_dataset(group)] > 1))
    for group in groups:
        if by_category and len(_means(group)) > 1:
            tables += _category_tables(group)
    return tables


def screen_tables(tables: Sequence[CellTable]) -> Iterator[Table]:
    """Lay out the tables for ``rich.print``."""
    for table in tables:
        yield text_tables.screen_table(_text_table(table), wrap=True)


def markdown(tables: Sequence[CellTable]) -> str:
    """Write the tables as Markdown."""
    pages = [text_tables.markdown_page(_text_table(table), level=2) for table in tables]
    return "\n".join([f"# {COMPARISON_TITLE}", "", *pages])


def latex(tables: Sequence[CellTable]) -> str:
    """Write the tables as LaTeX, in the manner of the package booktabs."""
    lines = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        lines += text_tables.latex_lines(_text_table(table))
    return "\n".join(lines)


def csv_table(folders: Sequence[Path], by_category: bool = False) -> str:
    """Write the compared tests as CSV, in percent with four decimals.

    A line for each run and dataset, or for each of their categories, too.
    """
    tests = pandas.concat(read_finished_runs(folders))
    if not by_category:
        tests = _means(tests)
    notes = tests.pop("notes")
    tests["remarks"] = notes.map("; ".join)
    return tests.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def write_compared(
    folders: Sequence[Path], out: Path, by_category: bool = False
) -> tuple[Path, ...]:
    """Write ``compare.md``, ``compare.tex``, ``compare.html``, ``compare.csv``; return their paths."""
    tables = compare(folders, by_category)
    return (
        write_whole(out / "compare.md", markdown(tables)),
        write_whole(out / "compare.tex", latex(tables)),
        write_whole(out / "compare.html", render_comparison(tables)),
        write_whole(out / "compare.csv", csv_table(folders, by_category)),
    )


def _group_by_images(tests: Sequence[pandas.DataFrame]) -> list[pandas.DataFrame]:
    """Join the tables of tests on the same images, in the order of the runs."""
    groups: dict[tuple[str, frozenset], list[pandas.DataFrame]] = {}
    for test in tests:
        images = frozenset(_categories(test)[["category", *COUNTS]].itertuples(index=False))
        groups.setdefault((_dataset(test), images), []).append(test)
    return [pandas.concat(group) for group in groups.values()]


def _mean_table(group: pandas.DataFrame, has_sibling: bool) -> CellTable:
    """Compare the means of runs: a row for each run, a column for each metric."""
    means = _means(group)
    metrics = metrics_of(group)
    columns = [_number_cells(means[metric].tolist(), metric) for metric in metrics]
    rows = []
    notes = []
    for place, run in enumerate(means.to_dict("records")):
        words = (run["run"], run["method"], run["trained_on"] or "nothing", run["image_size"])
        rows.append((*map(Cell, words), *(column[place] for column in columns)))
        notes += [f"{run['run']}: {note}" for note in run["notes"]]
    if has_sibling:
        notes.append(f"Not the same images as in another table of {_dataset(group)}.")
    heading = (*_HEADING, *map(metric_label, metrics))
    return CellTable(_title(group), heading, tuple(rows), tuple(notes))


def _category_tables(group: pandas.DataFrame) -> Iterator[CellTable]:
    """Compare the categories: a table for each metric, with a column for each run."""
    heading = ("category", *_means(group)["run"])
    for metric in metrics_of(group):
        rows = []
        for category, values in group.groupby("category", sort=False)[metric]:
            rows.append((Cell(str(category)), *_number_cells(values.tolist(), metric)))
        yield CellTable(f"{_title(group)}: {metric_label(metric)}", heading, tuple(rows))


def _number_cells(values: Sequence[float], metric: str) -> list[Cell]:
    """Write the numbers of a comparison; the best, and all that print the same, are marked.

    A number without a rival is not marked.
    """
    defined = [value for value in values if not math.isnan(value)]
    if len(defined) < 2:
        return [number_cell(value) for value in values]
    is_error = metric.partition("_")[2].startswith(_ERROR_RATES)
    best = min(defined) if is_error else max(defined)
    return [number_cell(value, is_best=f"{value:.1f}" == f"{best:.1f}") for value in values]


def _means(tests: pandas.DataFrame) -> pandas.DataFrame:
    return tests.loc[tests["category"] == MEAN]


def _categories(tests: pandas.DataFrame) -> pandas.DataFrame:
    return tests.loc[tests["category"] != MEAN]


def _dataset(tests: pandas.DataFrame) -> str:
    return tests["dataset"].iloc[0]


def _title(group: pandas.DataFrame) -> str:
    count = len(set(group["category"]) - {MEAN})
    categories = "category" if count == 1 else "categories"
    normal, defective = _means(group)[COUNTS].iloc[0]
    images = f"{normal:,} good, {defective:,} defective"
    return f"{_dataset(group)}: {images}, {count} {categories}"


def _text_table(table: CellTable) -> TextTable:
    text_columns = sum(cell.value is None for cell in table.rows[0])
    rows = []
    for cells in table.rows:
        rows.append([Bold(cell.text) if cell.is_best else cell.text for cell in cells])
    return TextTable(
        table.heading, rows, text_columns=text_columns, title=table.title, notes=table.notes
    )
