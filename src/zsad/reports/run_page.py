"""What a run knows, for the tables and for the page that shows it."""

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

Interval = tuple[float, float]
Intervals = Mapping[str, Interval]


REPORT_FILE = "report.html"


@dataclass(frozen=True)
class RobustnessTable:
    """How results change with the images.

    Attributes:
        heading: Names of the columns.
        rows: Words, whole numbers such as a severity, and as floats numbers in percent; NaN where undefined.
        remark: What the numbers are.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    remark: str = ""


@dataclass(frozen=True)
class RunPage:
    """What a run knows, as far as it does; the page leaves out what is not there.

    Attributes:
        title: What was tested on what.
        results: The metrics per category.
        rows: What the rows of the results are.
        notes: What a reader has to know, such as that a test is not zero-shot.
        intervals: Category → metric → 95 % confidence interval, in [0, 1].
        mean_intervals: The same of the means.
        curves: The curves of each category.
        scores: The scores of single images.
        heatmaps: Path of an image → the heat map that was written of it.
        sheets: Category → its contact sheet.
        restored: Path of an image → the picture of its restoration to normal.
        threshold: Score from which on an image is called defective.
        robustness: How results change with the images.
        published: Published numbers beside measured ones.
        card: The run card.
        links: Row → the page that tells more about it, relative to this one.
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
