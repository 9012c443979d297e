"""What a run knows about itself: what was learned from what, what a reader must know, what it leaves behind."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from zsad.reports import published_numbers
from zsad.reports.figures.curve_data import curves_from_rankings
from zsad.reports.html.page import write_page
from zsad.reports.results_table import screen_table, write_tables
from zsad.reports.run_card import run_card, write_run_card
from zsad.reports.run_page import RobustnessTable, RunPage
from zsad.reports.saved_results import save_results
from zsad.runs.provenance import weight_fingerprints
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.tasks.prompt_tuning import PromptTuning
from zsad.types import Results

log = logging.getLogger("zsad")


def setup_datasets(data: Mapping[str, Any], skip_missing: bool = False) -> dict[str, Any]:
    """Read the indexes of all datasets of a test, so that a mistake shows before any weights are read.

    Args:
        data: The data modules by name.
        skip_missing: Leave out, and say so, what is not prepared on this machine.

    Raises:
        FileNotFoundError: If some are not there; the message names all of them.
    """
    missing = {}
    for name, one in data.items():
        try:
            one.setup("test")
        except FileNotFoundError as error:
            missing[name] = error
    if missing and len(data) == 1:
        raise next(iter(missing.values()))
    if missing and (not skip_missing or len(missing) == len(data)):
        reasons = "\n".join(f"  {name}: {error}" for name, error in missing.items())
        raise FileNotFoundError(
            f"{len(missing)} of {len(data)} datasets are not here:\n{reasons}\nTo test on the others: skip_missing=true"
        )
    if missing:
        log.warning("left out, not prepared here: %s", ", ".join(missing))
    return {name: one for name, one in data.items() if name not in missing}


def announce_training(known: Mapping[str, Any]) -> None:
    """Say what is about to be learned from, given the provenance of what will be."""
    log.info(
        "learning from %(dataset)s: %(images)d images, %(anomalous)d of them anomalous",
        known["trained_on"],
    )
    if known["trained_on"]["drawn"]:
        log.info(
            "defects are drawn into %d %% of the normal images", 100 * known["trained_on"]["drawn"]
        )


def write_training(
    task: PromptTuning, trainer: Trainer, folder: Path, *, config: Mapping[str, Any]
) -> None:
    """Leave the run card of a finished training, and say how to use what was learned."""
    if not trainer.is_global_zero:
        return
    known = task.provenance
    _write_card(
        trainer,
        folder,
        config=config,
        weights=known["weights"],
        trained_on=known["trained_on"],
        notes=[],
    )
    log.info("learned: %s", relative_path(folder))
    choice = f"model={known['model']} backbone={known['backbone']}"
    log.info(
        "test it on another dataset: python test.py dataset=mvtec %s ckpt_path=%s",
        choice,
        relative_path(folder),
    )


@dataclass(frozen=True)
class EvaluationInfo:
    """What is tested, in plain values.

    Attributes:
        config: The configuration of the test.
        chosen: The names of the chosen model and backbone.
        learned: Provenance of what was learned, empty for files that do not say it; ``None`` where nothing is learned.
        deciding_settings: What decides about the results.
        changed_settings: In what the model differs from its configuration, which sets it apart from what is published.
    """

    config: Mapping[str, Any]
    chosen: Mapping[str, str]
    learned: Mapping[str, Any] | None
    deciding_settings: Mapping[str, Any] = field(default_factory=dict)
    changed_settings: Sequence[str] = ()

    def compare_with_published(self, results: Results) -> list[published_numbers.Comparison]:
        """Return what has been published for the method beside what was measured."""
        return published_numbers.compare_with_published(
            {self.config["dataset"]["name"]: results},
            published_numbers.read_published(),
            method=self.chosen["model"],
            backbone=self.chosen["backbone"],
            trained_on=_training_source(self.learned),
            shots=self.config["k_shot"],
            mismatches=[f"{one} here" for one in self.changed_settings],
        )


def write_test(
    task: ZeroShotEvaluation,
    trainer: Trainer,
    folder: Path,
    info: EvaluationInfo,
    notes: Sequence[str],
    robustness: RobustnessTable | None = None,
) -> list[published_numbers.Comparison]:
    """Show the table of a finished test; leave it as CSV and Markdown, with the run card and the report.

    Args:
        task: What was tested.
        trainer: What tested it.
        folder: Where to write.
        info: What it is.
        notes: What a reader has to know.
        robustness: How results change with the images and the words.

    Returns what has been published for the method beside what was measured.
    """
    if not trainer.is_global_zero or task.results is None:
        return []
    config, dataset = info.config, info.config["dataset"]["name"]
    trained_on = (info.learned or {}).get("trained_on")
    card = _write_card(
        trainer,
        folder,
        config=config,
        weights=weight_fingerprints(task.method),
        trained_on=trained_on,
        notes=notes,
    )
    beside = info.compare_with_published(task.results)
    title = f"{type(task.method).__name__} on {dataset}"
    write_tables(task.results, folder, title, notes)
    report = RunPage(
        title, task.results, notes=notes, card=card, published=beside, robustness=robustness
    )
    report = _complete_page(task, trainer, report)
    write_page(report, folder)
    log_report(trainer.loggers, report, folder)
    save_results(folder, task.results, notes, info.deciding_settings)
    Console().print(screen_table(task.results, title, notes))
    log.info(
        "written: %s (report.html, results.csv, results.md, run_card.md, heatmaps/)",
        relative_path(folder),
    )
    return beside


def _complete_page(task: ZeroShotEvaluation, trainer: Any, page: RunPage) -> RunPage:
    """Add to a report what the metrics and the callbacks of a test know."""
    metrics, callbacks = task.metrics, {type(one): one for one in trainer.callbacks}
    page = replace(
        page,
        intervals=metrics.intervals,
        mean_intervals=metrics.mean_intervals,
        curves={
            name: curves_from_rankings(*rankings) for name, rankings in metrics.rankings.items()
        },
    )
    if drawn := callbacks.get(HeatmapWriter):
        page = replace(
            page,
            heatmaps=drawn.files,
            sheets={name: drawn.sheet_path(name) for name in page.results.values},
        )
    if filled := callbacks.get(RestorationWriter):
        page = replace(page, restored=filled.files)
    if scored := callbacks.get(ScoreWriter):
        page = replace(page, scores=scored.test_scores)
    if (
        (chosen := callbacks.get(ThresholdWriter))
        and chosen.chosen_thresholds
        and chosen.chosen_thresholds.image
    ):
        page = replace(page, threshold=chosen.chosen_thresholds.image.value)
    return page


def _training_source(learned: Mapping[str, Any] | None) -> str:
    """Name what was learned from, as the published numbers do."""
    if learned is None:
        return ""
    known = learned.get("trained_on")
    if not known:
        return published_numbers.NOT_STATED
    return (
        known["dataset"] if known["phase"] == "test" else f"{known['dataset']} ({known['phase']})"
    )


def relative_path(path: str | Path) -> str:
    """Return a path as one would type it from here."""
    return os.path.relpath(path)


def _write_card(
    trainer: Any,
    folder: Path,
    *,
    config: Mapping[str, Any],
    weights: Mapping[str, str],
    trained_on: Any,
    notes: Sequence[str],
) -> dict[str, Any]:
    stopwatches = [one for one in trainer.callbacks if isinstance(one, Stopwatch)]
    stopwatch = stopwatches[0] if stopwatches else None
    card = run_card(
        config=config,
        seed=config["seed"],
        weights=weights,
        trained_on=trained_on,
        device=trainer.strategy.root_device,
        precision=str(trainer.precision),
        world_size=trainer.world_size,
        timing=None if stopwatch is None else stopwatch.timing(),
        notes=notes,
    )
    write_run_card(card, folder)
    return card
