"""The report of a test for experiment trackers: curves, images, the table, the whole page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from zsad.reports.figures.curve_data import Diagram, diagrams, mean_curves
from zsad.reports.figures.curve_plots import draw_diagram
from zsad.reports.figures.rgb_arrays import RGBArray
from zsad.reports.results_table import markdown_table
from zsad.reports.run_page import REPORT_FILE, RunPage

MAX_HEATMAPS = 12  # single heat maps that are sent; the sheets show more of each category


def log_report(loggers: Sequence[Logger], run: RunPage, folder: Path) -> None:
    """Send the report of a test to the loggers of its trainer.

    Loggers of numbers alone, such as that of CSV files, get nothing.

    Args:
        loggers: Of the trainer.
        run: The contents of the report.
        folder: The folder of its page.
    """
    for logger in loggers:
        send(logger, run, folder)


def finish_open_wandb_run() -> None:
    """Finish a W&B run that an earlier run of this process, in a sweep, has left open.

    The next run would otherwise continue it.
    """
    wandb = sys.modules.get("wandb")
    if wandb is not None:
        wandb.finish()


@singledispatch
def send(logger: Logger, run: RunPage, folder: Path) -> None:
    """Send a report to a logger."""


@send.register
def _to_tensorboard(logger: TensorBoardLogger, run: RunPage, _folder: Path) -> None:
    """Send curves and images to IMAGES, the table to TEXT."""
    writer = logger.experiment
    for diagram in _diagrams(run):
        drawn = draw_diagram(diagram)
        writer.add_image(f"test/curves/{diagram.title}", drawn, 0, dataformats="HWC")
    for name, image in _saved_images(run).items():
        writer.add_image(f"test/{name}", image, 0, dataformats="HWC")
    table = markdown_table(run.results, run.title, run.notes, run.rows)
    writer.add_text("test/results", table, 0)
    writer.close()  # the trainer has closed it before: later additions are still in memory


@send.register
def _to_wandb(logger: WandbLogger, run: RunPage, folder: Path) -> None:
    """Send charts, images, the table per category, and the page; then finish the W&B run."""
    import wandb

    contents: dict[str, Any] = {}
    for diagram in _diagrams(run):
        contents[f"test/{diagram.title}"] = _chart(diagram)
    for name, image in _saved_images(run).items():
        contents[f"test/{name}"] = wandb.Image(image)
    contents["test/results"] = _wandb_table(run)
    page = folder / REPORT_FILE
    if page.is_file():
        contents["test/report"] = wandb.Html(page.read_text(), inject=False)
    logger.experiment.log(contents)
    logger.experiment.finish()  # a test on the next dataset would otherwise continue this run


def _wandb_table(run: RunPage) -> Any:
    import wandb

    metrics = run.results.metrics
    table = wandb.Table(columns=[run.rows.heading, *metrics])
    for name, values in run.results.values.items():
        table.add_data(name, *map(values.get, metrics))
    return table


def _chart(diagram: Diagram) -> Any:
    import wandb

    lines = {name: line for name, line in diagram.lines.items() if line}
    xs: list[float] = []
    if lines:
        count = len(next(iter(lines.values())))
        xs = [i * diagram.x_limit / (count - 1) for i in range(count)]
    ys = list(lines.values())
    return wandb.plot.line_series(xs, ys, list(lines), diagram.title, diagram.x_name)


def _diagrams(run: RunPage) -> list[Diagram]:
    return diagrams(mean_curves(run.curves)) if run.curves else []


def _saved_images(run: RunPage) -> dict[str, RGBArray]:
    """Read the contact sheets, and evenly chosen heat maps."""
    paths: dict[str, Path] = {}
    for category, path in run.sheets.items():
        paths[f"sheets/{category}"] = path
    heatmaps = list(run.heatmaps.values())
    step = max(1, -(-len(heatmaps) // MAX_HEATMAPS))
    for path in heatmaps[::step]:
        *_, category, defect = path.parent.parts
        paths[f"heatmaps/{category}/{defect}/{path.stem}"] = path
    return {name: _read(path) for name, path in paths.items() if path.is_file()}


def _read(path: Path) -> RGBArray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
