"""Results of a run: tables, run card and report page, on the screen and in its folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning import Trainer
from rich.console import Console

from zsad.callbacks.heatmaps import HeatmapWriter
from zsad.callbacks.loggers import log_report
from zsad.callbacks.restoration import RestorationWriter
from zsad.callbacks.scores import ScoreWriter
from zsad.callbacks.stopwatch import Stopwatch
from zsad.callbacks.thresholds import ThresholdWriter
from zsad.reports.figures.curve_data import curves_from_rankings
from zsad.reports.html.page import write_page
from zsad.reports.published_numbers import Comparison
from zsad.reports.results_table import screen_table, write_tables
from zsad.reports.run_card import run_card, write_run_card
from zsad.reports.run_page import RobustnessTable, RunPage
from zsad.reports.saved_results import save_results
from zsad.runs.evaluation_info import EvaluationInfo
from zsad.runs.provenance import weight_fingerprints
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.tasks.prompt_tuning import PromptTuning

log = logging.getLogger("zsad")


def write_training(
    task: PromptTuning, trainer: Trainer, folder: Path, *, config: Mapping[str, Any]
) -> None:
    """Write the run card of a finished training, and log the command that tests its prompts."""
    if not trainer.is_global_zero:
        return
    known = task.provenance
    facts = {"weights": known["weights"], "trained_on": known["trained_on"]}
    _write_card(trainer, folder, config=config, notes=[], **facts)
    path = os.path.relpath(folder)
    log.info("trained: %s", path)
    choices = f"model={known['model']} backbone={known['backbone']}"
    log.info(
        "test it on another dataset: python test.py dataset=mvtec %s ckpt_path=%s", choices, path
    )


def write_test(
    task: ZeroShotEvaluation,
    trainer: Trainer,
    folder: Path,
    info: EvaluationInfo,
    notes: Sequence[str],
    robustness: RobustnessTable | None = None,
) -> list[Comparison]:
    """Show the table of a finished test; write tables, run card and report page.

    Args:
        task: The tested task.
        trainer: Its trainer.
        folder: Folder of the test.
        info: Facts of the test.
        notes: Notes for readers of the results.
        robustness: Results on changed images and with other words.

    Returns published and measured numbers of the method, side by side.
    """
    results = task.results
    if not trainer.is_global_zero or results is None:
        return []
    facts = {"weights": weight_fingerprints(task.method), "trained_on": info.trained_on}
    card = _write_card(trainer, folder, config=info.config, notes=notes, **facts)
    published = info.compare_with_published(results)
    title = f"{type(task.method).__name__} on {info.dataset}"
    write_tables(results, folder, title, notes)
    page = RunPage(
        title, results, notes=notes, card=card, published=published, robustness=robustness
    )
    page = _with_metrics(page, task)
    page = _with_callbacks(page, trainer)
    write_page(page, folder)
    log_report(trainer.loggers, page, folder)
    save_results(folder, results, notes, info.deciding_settings)
    Console().print(screen_table(results, title, notes))
    files = "report.html, results.csv, results.md, run_card.md, heatmaps/"
    log.info("written: %s (%s)", os.path.relpath(folder), files)
    return published


def _with_metrics(page: RunPage, task: ZeroShotEvaluation) -> RunPage:
    """Add confidence intervals and curves to a report."""
    metrics = task.metrics
    curves = {}
    for category, rankings in metrics.rankings.items():
        curves[category] = curves_from_rankings(*rankings)
    return replace(
        page, intervals=metrics.intervals, mean_intervals=metrics.mean_intervals, curves=curves
    )


def _with_callbacks(page: RunPage, trainer: Any) -> RunPage:
    """Add heat maps, restored images, scores and the threshold of a test to its report."""
    for callback in trainer.callbacks:
        if isinstance(callback, HeatmapWriter):
            sheets = {name: callback.sheet_path(name) for name in page.results.values}
            page = replace(page, heatmaps=callback.files, sheets=sheets)
        elif isinstance(callback, RestorationWriter):
            page = replace(page, restored=callback.files)
        elif isinstance(callback, ScoreWriter):
            page = replace(page, scores=callback.test_scores)
        elif isinstance(callback, ThresholdWriter):
            thresholds = callback.chosen_thresholds
            if thresholds is not None and thresholds.image is not None:
                page = replace(page, threshold=thresholds.image.value)
    return page


def _write_card(
    trainer: Any,
    folder: Path,
    *,
    config: Mapping[str, Any],
    weights: Mapping[str, str],
    trained_on: Any,
    notes: Sequence[str],
) -> dict[str, Any]:
    stopwatches = [each for each in trainer.callbacks if isinstance(each, Stopwatch)]
    card = run_card(
        config=config,
        seed=config["seed"],
        weights=weights,
        trained_on=trained_on,
        device=trainer.strategy.root_device,
        precision=str(trainer.precision),
        world_size=trainer.world_size,
        timing=stopwatches[0].timing() if stopwatches else None,
        notes=notes,
    )
    write_run_card(card, folder)
    return card
