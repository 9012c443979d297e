"""What has been published beside what was measured, in percent; never a difference of runs that are not alike."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zsad.atomic_write import write_whole
from zsad.reports.results_table import MEAN
from zsad.types import Results

NOT_STATED = "?"
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_PUBLISHED = Path(__file__).parents[1] / "assets" / "published.csv"
_COLUMNS = (
    "dataset",
    "category",
    "metric",
    "measured",
    "published",
    "difference",
    "source",
    "remark",
)


@dataclass(frozen=True, slots=True)
class PublishedNumber:
    """A number that somebody has published.

    Attributes:
        method: The model it belongs to, by the name of its configuration where it has one.
        backbone: Likewise; ``?`` where it is not stated.
        trained_on: The dataset it learned from; empty where nothing is learned, ``?`` where it is not stated.
        tested_on: The tested dataset.
        category: The tested category; empty for the mean of a dataset.
        categories: How many categories the value is a mean of.
        images: How many images were tested; 0 where it is not known.
        shots: Normal images of the tested category that the method was shown; 0 for zero-shot.
        metric: Its name, as in ``results.csv``.
        value: Percent.
        source: Paper and table, or repository.
        note: What else has to be known, such as that it is recalled and was not read again.
    """

    method: str
    backbone: str
    trained_on: str
    tested_on: str
    category: str
    categories: int
    images: int
    shots: int
    metric: str
    value: float
    source: str
    note: str


@dataclass(frozen=True)
class Comparison:
    """A measured number and what has been published in its place.

    Attributes:
        dataset: The tested dataset.
        category: The category, or ``mean``.
        metric: Its name.
        measured: Percent; NaN where undefined.
        published: What has been published, if anything.
        mismatches: In what the two runs differ; empty where they can be compared.
    """

    dataset: str
    category: str
    metric: str
    measured: float
    published: PublishedNumber | None
    mismatches: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """Measured minus published, in points; NaN where nothing is published or the runs are unlike."""
        return (
            math.nan
            if self.published is None or self.mismatches
            else self.measured - self.published.value
        )

    @property
    def remark(self) -> str:
        """In what the runs differ, and what the source says."""
        note = self.published.note if self.published is not None else ""
        return "; ".join(filter(None, (*self.mismatches, note)))


def read_published(file: Path | None = None) -> list[PublishedNumber]:
    """Read the published numbers, by default those that come with zsad.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A row with another number of columns, or a value that is no number; its line is told.
    """
    file = file or _PUBLISHED
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        try:
            return [_read(row) for row in reader]
        except (TypeError, ValueError) as error:
            expected = ", ".join(PublishedNumber.__slots__)
            raise ValueError(
                f"{file}, line {reader.line_num}: {error}; expected columns {expected}"
            ) from error


def compare_with_published(
    results: Mapping[str, Results],
    published: Sequence[PublishedNumber],
    *,
    method: str,
    backbone: str,
    trained_on: str,
    shots: int = 0,
    mismatches: Sequence[str] = (),
    by_category: bool = False,
) -> list[Comparison]:
    """Put everything published for a method beside what was measured, dataset by dataset, metric by metric.

    Args:
        results: What was measured on each dataset.
        published: As ``read_published`` gives it.
        method: Name of the model's configuration.
        backbone: Name of the backbone's.
        trained_on: The dataset learned from; empty where nothing is learned, ``?`` where it is not known.
        shots: Normal images of each category that the method was shown.
        mismatches: What else sets the run apart from every published one, such as that it tested a part of the images.
        by_category: Also compare single categories, those for which something is published.
    """
    known = [each for each in published if each.method == method and each.shots == shots]
    rows: list[Comparison] = []
    for dataset, measured in results.items():
        for category, metric, value in _measured(measured, by_category):
            tested = [measured.images[category]] if category else list(measured.images.values())
            counts = len(tested), sum(map(sum, tested))
            here = [
                each
                for each in known
                if (each.tested_on, each.category, each.metric) == (dataset, category, metric)
            ]
            shown = (dataset, category or MEAN, metric, 100 * value)
            rows += [
                Comparison(
                    *shown, each, (*_mismatches(each, backbone, trained_on, *counts), *mismatches)
                )
                for each in here
            ]
            if not (here or category):
                rows.append(Comparison(*shown, None))
    return rows


def screen_table(rows: Sequence[Comparison], title: str) -> Table:
    """Lay out a comparison for ``rich.print``; sources and remarks stand below."""
    heading, *cells = _cells(rows)
    caption = Text("\n".join(_footnotes(rows)))
    table = Table(
        title=Text(title),
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    for i, name in enumerate(heading):
        table.add_column(name, justify="left" if i < 3 else "right", no_wrap=True)
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def markdown_table(rows: Sequence[Comparison], title: str) -> str:
    """Write a comparison as Markdown, with sources and remarks below."""
    heading, *cells = _cells(rows)
    alignment = [":---"] * 3 + ["---:"] * (len(heading) - 3)
    body = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    lines = [f"| {' | '.join(row)} |" for row in (heading, alignment, *body)]
    below = [f"- {line}" for line in _footnotes(rows)]
    return "\n".join([f"# {title}", "", *lines, *([""] if below else []), *below, ""])


def csv_table(rows: Sequence[Comparison]) -> str:
    """Write a comparison as CSV, empty where nothing is measured, published or comparable."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        value, source = (
            (row.published.value, row.published.source) if row.published else (math.nan, "")
        )
        numbers = (_number(row.measured, ".4f"), _number(value), _number(row.difference, ".4f"))
        writer.writerow([row.dataset, row.category, row.metric, *numbers, source, row.remark])
    return buffer.getvalue()


def write_comparison(rows: Sequence[Comparison], folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``published.csv`` and ``published.md`` and return their paths."""
    return (
        write_whole(folder / "published.csv", csv_table(rows)),
        write_whole(folder / "published.md", markdown_table(rows, title)),
    )


def _read(row: dict[str, Any]) -> PublishedNumber:
    counts = {name: int(row[name] or 0) for name in ("categories", "images", "shots")}
    numbers = {**counts, "value": float(row["value"])}
    return PublishedNumber(**{**row, **numbers})


def _measured(results: Results, by_category: bool) -> Iterator[tuple[str, str, float]]:
    """Yield category (empty for the mean), metric and value."""
    groups = {"": results.mean} | (results.values if by_category else {})
    return (
        (category, metric, value)
        for category, row in groups.items()
        for metric, value in row.items()
    )


def _mismatches(
    published: PublishedNumber, backbone: str, trained_on: str, categories: int, images: int
) -> Iterator[str]:
    """Yield in what a run differs from the published one, as far as either says it."""
    if NOT_STATED in (published.backbone, backbone) or published.backbone != backbone:
        yield f"backbone {_said(published.backbone)} there, {_said(backbone)} here"
    if NOT_STATED in (published.trained_on, trained_on) or published.trained_on != trained_on:
        yield f"learned from {_said(published.trained_on)} there, {_said(trained_on)} here"
    if published.categories != categories:
        yield f"mean of {published.categories} categories there, {categories} here"
    if published.images not in (0, images):
        yield f"{published.images} images there, {images} here"


def _said(name: str) -> str:
    return {"": "nothing", NOT_STATED: "(not stated)"}.get(name, name)


def _cells(rows: Sequence[Comparison]) -> list[list[str]]:
    """Return the table as text: heading, then a row per published number."""
    remarks = _remarks(rows)
    cells = [["dataset", "category", "metric", "measured", "published", "difference"]]
    for row in rows:
        mark = str(remarks.index(_remark(row)) + 1).translate(_SUPERSCRIPT) if row.published else ""
        value = row.published.value if row.published else math.nan
        numbers = (
            _number(row.measured, ".1f"),
            _number(value) + mark,
            _number(row.difference, "+.1f"),
        )
        cells.append(
            [
                row.dataset,
                row.category,
                row.metric.replace("_", " "),
                *(number or "n/a" for number in numbers),
            ]
        )
    return cells


def _remarks(rows: Sequence[Comparison]) -> list[str]:
    """Return the different sources and remarks, in the order in which the table meets them."""
    return list(dict.fromkeys(_remark(row) for row in rows if row.published))


def _remark(row: Comparison) -> str:
    source = row.published.source if row.published else ""
    comparable = "not comparable: " if row.mismatches else ""
    return f"{source}; {comparable}{row.remark}" if row.remark else source


def _footnotes(rows: Sequence[Comparison]) -> list[str]:
    return [
        f"{str(i).translate(_SUPERSCRIPT)} {remark}"
        for i, remark in enumerate(_remarks(rows), start=1)
    ]


def _number(value: float, form: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{form}}"
