"""What a test shows besides numbers, for the experiment trackers that can show it: curves, pictures, the whole page."""

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
    """Send the report of a test to the loggers of its trainer; those of numbers alone get nothing more.

    Args:
        loggers: Of the trainer.
        run: What the test knows.
        folder: Where its report page is.
    """
    for logger in loggers:
        send(logger, run, folder)


def finish_open_wandb_run() -> None:
    """End what an earlier run of this process, one of a sweep, has left open in W&B: the next would go on with it."""
    if wandb := sys.modules.get("wandb"):
        wandb.finish()


@singledispatch
def send(logger: Logger, run: RunPage, folder: Path) -> None:
    """Send a report to one logger."""


@send.register
def _to_tensorboard(logger: TensorBoardLogger, run: RunPage, _folder: Path) -> None:
    """Curves and pictures under IMAGES, the table under TEXT."""
    writer = logger.experiment
    for name, drawn in _pictures(run).items():
        writer.add_image(f"test/{name}", drawn, 0, dataformats="HWC")
    writer.add_text("test/results", markdown_table(run.results, run.title, run.notes, run.rows), 0)
    writer.close()  # the trainer has closed it once: what was added since then is still in memory


@send.register
def _to_wandb(logger: WandbLogger, run: RunPage, folder: Path) -> None:
    """Curves as charts, pictures, the table per category, and the page; then the run is over."""
    import wandb

    shown: dict[str, Any] = {f"test/{one.title}": _chart(one) for one in _diagrams(run)}
    shown |= {f"test/{name}": wandb.Image(drawn) for name, drawn in _files(run).items()}
    metrics = list(run.results.metrics)
    rows = [
        [name, *(values.get(metric) for metric in metrics)]
        for name, values in run.results.values.items()
    ]
    shown["test/results"] = wandb.Table(columns=[run.rows.heading, *metrics], data=rows)
    if (folder / REPORT_FILE).is_file():
        shown["test/report"] = wandb.Html((folder / REPORT_FILE).read_text(), inject=False)
    logger.experiment.log(shown)
    logger.experiment.finish()  # or a test on the next dataset would go on with this run


def _chart(diagram: Diagram) -> Any:
    import wandb

    lines = {name: line for name, line in diagram.lines.items() if line}
    xs = [
        i * diagram.x_limit / (len(line) - 1)
        for line in list(lines.values())[:1]
        for i in range(len(line))
    ]
    return wandb.plot.line_series(
        xs, list(lines.values()), list(lines), diagram.title, diagram.x_name
    )


def _diagrams(run: RunPage) -> list[Diagram]:
    return diagrams(mean_curves(run.curves)) if run.curves else []


def _pictures(run: RunPage) -> dict[str, RGBArray]:
    return {f"curves/{one.title}": draw_diagram(one) for one in _diagrams(run)} | _files(run)


def _files(run: RunPage) -> dict[str, RGBArray]:
    """Read the contact sheets, and evenly chosen heat maps."""
    drawn = list(run.heatmaps.values())
    some = drawn[:: max(1, -(-len(drawn) // MAX_HEATMAPS))]
    named = {f"sheets/{name}": path for name, path in run.sheets.items()}
    named |= {
        f"heatmaps/{path.parent.parent.name}/{path.parent.name}/{path.stem}": path for path in some
    }
    return {name: _read(path) for name, path in named.items() if path.is_file()}


def _read(path: Path) -> RGBArray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
