"""Panels of a report page: curves, scores and images of the whole run and of each category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zsad.reports.figures.curve_data import Curves, diagrams, mean_curves
from zsad.reports.html.charts import Chart, Series, histogram, line_chart
from zsad.reports.html.embedded_images import (
    CardRow,
    EmbeddedImage,
    embed_contact_sheet,
    extreme_cards,
    selection_remark,
)
from zsad.reports.image_scores import ImageScore
from zsad.reports.run_page import RunPage


@dataclass(frozen=True)
class Panel:
    """Charts and images of one category, or of all.

    Attributes:
        key: The category; empty for all.
        title: Title of the panel.
        charts: Curves and the histogram of scores.
        extremes: Cards of the extreme scores.
        remark: Remark on the selection of the cards.
        contact_sheet: Contact sheet of the category, if there is one.
    """

    key: str
    title: str
    charts: Sequence[Chart]
    extremes: Sequence[CardRow] = ()
    remark: str = ""
    contact_sheet: EmbeddedImage | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.charts or self.extremes or self.contact_sheet)


def build_panels(run: RunPage) -> list[Panel]:
    """Return a panel of all categories, if there are several, and a panel of each category.

    Panels with nothing to show are left out. Cards of extreme scores stand in the first panel.
    """
    categories = run.rows.sorted(run.results)
    curves = {name: run.curves[name] for name in categories if name in run.curves}
    heatmaps = _existing_files(run.heatmaps)
    sheets = _existing_files(run.sheets)
    panels = []
    if len(categories) > 1:
        panels.append(_panel_of_all(run, mean_curves(curves), heatmaps))
        heatmaps = {}
    for category in categories:
        sheet = None
        if category in sheets:
            file = sheets[category]
            sheet = embed_contact_sheet(category, file, len(sheets))
        category_curves = curves.get(category, Curves())
        panels.append(_category_panel(run, category, category_curves, heatmaps, sheet))
    return [panel for panel in panels if not panel.is_empty]


def _panel_of_all(run: RunPage, curves: Curves, heatmaps: Mapping[str, Path]) -> Panel:
    return Panel(
        key="",
        title="All categories",
        charts=_charts(curves, run.scores, run.threshold),
        extremes=extreme_cards(run.scores, heatmaps),
        remark=selection_remark(run.scores, heatmaps),
    )


def _category_panel(
    run: RunPage,
    category: str,
    curves: Curves,
    heatmaps: Mapping[str, Path],
    sheet: EmbeddedImage | None,
) -> Panel:
    scores = [one for one in run.scores if one.category == category]
    return Panel(
        key=category,
        title=category,
        charts=_charts(curves, scores, run.threshold),
        extremes=extreme_cards(scores, heatmaps),
        remark=selection_remark(scores, heatmaps),
        contact_sheet=sheet,
    )


def _charts(curves: Curves, scores: Sequence[ImageScore], threshold: float | None) -> list[Chart]:
    charts = []
    for diagram in diagrams(curves):
        series = []
        for name, line in diagram.lines.items():
            style = "first" if name == "images" else "second"
            series.append(Series(name, style, line))
        charts.append(line_chart(diagram, series))
    if scores:
        charts.append(_score_histogram(scores, threshold))
    return charts


def _score_histogram(scores: Sequence[ImageScore], threshold: float | None) -> Chart:
    good: list[float] = []
    defective: list[float] = []
    for one in scores:
        values = defective if one.is_anomalous else good
        values.append(one.score)
    series = [Series("good", "first", good), Series("defective", "second", defective)]
    return histogram("Image scores", "score (logit margin)", series, threshold)


def _existing_files(files: Mapping[str, Path]) -> dict[str, Path]:
    return {name: file for name, file in files.items() if file.is_file()}
