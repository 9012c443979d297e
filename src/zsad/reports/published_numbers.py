"""Published numbers beside measured ones, in percent.

A difference is given only for runs with the same backbone, training data, categories and images.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.reports.results_table import MEAN
from zsad.types import Results

NOT_STATED = "?"
_PUBLISHED = Path(__file__).parents[1] / "assets" / "published.csv"


@dataclass(frozen=True, slots=True)
class PublishedNumber:
    """A number from a paper or a repository.

    Attributes:
        method: Its model, by the name of the configuration where there is one.
        backbone: Its backbone, likewise; ``?`` where not stated.
        trained_on: The training dataset; empty for training-free methods, ``?`` where not stated.
        tested_on: The tested dataset.
        category: The tested category; empty for the mean of a dataset.
        categories: Number of categories below the mean.
        images: Number of tested images; 0 where not known.
        shots: Reference images of each category; 0 for zero-shot.
        metric: Its name, as in ``results.csv``.
        value: Percent.
        source: Paper and table, or repository.
        note: Remarks, such as that it is recalled and was not read again.
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
    """A measured number beside a published number.

    Attributes:
        dataset: The tested dataset.
        category: The category, or ``mean``.
        metric: Its name.
        measured: Percent; NaN where undefined.
        published: The published number, if there is one.
        mismatches: Differences between the two runs; empty where they can be compared.
    """

    dataset: str
    category: str
    metric: str
    measured: float
    published: PublishedNumber | None
    mismatches: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """Measured minus published, in points; NaN without a published number of a like run."""
        if self.published is None or self.mismatches:
            return math.nan
        return self.measured - self.published.value

    @property
    def remark(self) -> str:
        """The mismatches of the runs, and the note of the source."""
        parts = list(self.mismatches)
        if self.published is not None and self.published.note:
            parts.append(self.published.note)
        return "; ".join(parts)


def read_published(file: Path | None = None) -> list[PublishedNumber]:
    """Read the published numbers, by default those that come with zsad.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A row with another number of columns, or a value that is no number; the message
            names its line.
    """
    file = file or _PUBLISHED
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        try:
            return [_published_number(row) for row in reader]
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
    """Compare results with all published numbers of a method, by dataset and metric.

    Args:
        results: The results of each dataset.
        published: From ``read_published``.
        method: Name of the model's configuration.
        backbone: Name of the backbone's.
        trained_on: The training dataset; empty for training-free methods, ``?`` where not known.
        shots: Reference images of each category.
        mismatches: Differences from every published run, such as a test of a part of the images.
        by_category: Also compare single categories, if something is published for them.
    """
    known: dict[tuple[str, str, str], list[PublishedNumber]] = {}
    for number in published:
        if number.method == method and number.shots == shots:
            key = (number.tested_on, number.category, number.metric)
            known.setdefault(key, []).append(number)
    rows: list[Comparison] = []
    for dataset, measured in results.items():
        for category, metric, value in _measured(measured, by_category):
            shown = (dataset, category or MEAN, metric, 100 * value)
            numbers = known.get((dataset, category, metric), [])
            for number in numbers:
                found = _mismatches(number, backbone, trained_on, measured)
                rows.append(Comparison(*shown, number, (*found, *mismatches)))
            if not numbers and not category:
                rows.append(Comparison(*shown, None))
    return rows


def _published_number(row: dict[str, Any]) -> PublishedNumber:
    for count in ("categories", "images", "shots"):
        row[count] = int(row[count] or 0)
    row["value"] = float(row["value"])
    return PublishedNumber(**row)


def _measured(results: Results, by_category: bool) -> Iterator[tuple[str, str, float]]:
    """Yield category (empty for the mean), metric and value."""
    for metric, value in results.mean.items():
        yield "", metric, value
    if by_category:
        for category, row in results.values.items():
            for metric, value in row.items():
                yield category, metric, value


def _mismatches(
    published: PublishedNumber, backbone: str, trained_on: str, measured: Results
) -> Iterator[str]:
    """Yield the differences between a run and a published run, as far as either states them."""
    there, here = published.backbone, backbone
    if NOT_STATED in (there, here) or there != here:
        yield f"backbone {_name(there)} there, {_name(here)} here"
    there, here = published.trained_on, trained_on
    if NOT_STATED in (there, here) or there != here:
        yield f"learned from {_name(there)} there, {_name(here)} here"
    category = published.category
    tested = [measured.images[category]] if category else list(measured.images.values())
    if published.categories != len(tested):
        yield f"mean of {published.categories} categories there, {len(tested)} here"
    images = sum(normal + defective for normal, defective in tested)
    if published.images not in (0, images):
        yield f"{published.images} images there, {images} here"


def _name(stated: str) -> str:
    return {"": "nothing", NOT_STATED: "(not stated)"}.get(stated, stated)
