"""Content of a report page: everything that a test knows about its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zsad.reports.figures.curve_data import Curves
from zsad.reports.image_scores import ImageScore
from zsad.reports.published_numbers import Comparison
from zsad.reports.results_table import CATEGORIES, Rows
from zsad.types import Results

REPORT_FILE = "report.html"

Interval = tuple[float, float]
Intervals = Mapping[str, Interval]


@dataclass(frozen=True)
class RobustnessTable:
    """Results on corrupted images or with other prompts.

    Attributes:
        heading: Names of the columns.
        rows: Words, whole numbers such as a severity, and as floats numbers in percent; NaN where
            undefined.
        remark: Explanation of the numbers.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    remark: str = ""


@dataclass(frozen=True)
class RunPage:
    """Content of a report page; the page leaves out everything that is empty.

    Attributes:
        title: Method and dataset of the test.
        results: The metrics per category.
        rows: Kind of the rows of the results: categories, or datasets with their groups.
        notes: Warnings to the reader, such as that a test is not zero-shot.
        intervals: Category → metric → 95 % confidence interval, in [0, 1].
        mean_intervals: The same of the means.
        curves: The curves of each category.
        scores: The scores of single images.
        heatmaps: Path of an image → its heat map.
        sheets: Category → its contact sheet.
        restored: Path of an image → the figure of its restoration to normal.
        threshold: An image with this score or more is called defective.
        robustness: Results on corrupted images or with other prompts.
        published: Published numbers beside measured ones.
        card: The run card.
        links: Row → its own page, relative to this page.
    """

    title: str
    results: Results
    rows: Rows = CATEGORIES
    notes: Sequence[str] = ()
    intervals: Mapping[str, Intervals] = field(default_factory=dict)
    mean_intervals: Intervals = field(default_factory=dict)
    curves: Mapping[str, Curves] = field(default_factory=dict)
    scores: Sequence[ImageScore] = ()
    heatmaps: Mapping[str, Path] = field(default_factory=dict)
    sheets: Mapping[str, Path] = field(default_factory=dict)
    restored: Mapping[str, Path] = field(default_factory=dict)
    threshold: float | None = None
    robustness: RobustnessTable | None = None
    published: Sequence[Comparison] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
