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
from torch import nn

from zsad import __version__
from zsad.backbones.weights import fingerprint
from zsad.data.fingerprints import Fingerprints, Overlap, fingerprints, overlap
from zsad.reports import published
from zsad.reports.calibration import ThresholdWriter
from zsad.reports.heatmaps import HeatmapWriter
from zsad.reports.kept import keep_results
from zsad.reports.lines import curves
from zsad.reports.page import RobustnessTable, RunPage, write_page
from zsad.reports.restoration import RestorationWriter
from zsad.reports.run_card import Stopwatch, run_card, write_run_card
from zsad.reports.scores import ScoreWriter
from zsad.reports.tables import screen_table, write_tables
from zsad.reports.tracking import track
from zsad.restarts import is_first_process
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.tasks.prompt_tuning import PromptTuning
from zsad.types import Results

log = logging.getLogger("zsad")


def provenance(
    task: PromptTuning, data: Any, *, chosen: Mapping[str, str], settings: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Describe what is about to be learned, and from what: plain values that every checkpoint keeps.

    Args:
        task: Whose method learns.
        data: What it learns from, set up.
        chosen: The names of the chosen model and backbone.
        settings: The numbers of the method.
        seed: Of all random numbers.
    """
    samples = data.train_samples
    return {
        "method": type(task.method).__name__,
        "version": __version__,
        "model": chosen["model"],
        "backbone": chosen["backbone"],
        "weights": weights(task.method),
        "settings": dict(settings),
        "seed": seed,
        "seen": fingerprints(samples).to_state() if is_first_process() else None,  # who writes the checkpoint reads
        "trained_on": {
            "dataset": data.name,
            "phase": data.train_phase,
            "categories": sorted({sample.category for sample in samples}),
            "images": len(samples),
            "anomalous": sum(sample.is_anomalous for sample in samples),
            "drawn": data.drawn_defects.share if data.drawn_defects else 0.0,  # of the others, given a defect
        },
    }


def weights(method: nn.Module) -> dict[str, str]:
    """Return the fingerprint of every frozen network of a method, by its name in it.

    Of a network that learns in part, those of its frozen parts.
    """
    frozen = {}
    for name, child in method.named_children():
        parts = {f"{name}.{part}": inside for part, inside in child.named_children() if _is_frozen(inside)}
        frozen |= {name: child} if _is_frozen(child) else parts
    return {name: fingerprint(network) for name, network in frozen.items()}


def _is_frozen(network: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in network.parameters())


def remarks(
    learned: Mapping[str, Any],
    *,
    dataset: str,
    weights: Mapping[str, str],
    settings: Mapping[str, Any],
    shared: Overlap | None = None,
) -> list[str]:
    """Return what a reader of test results has to know: not zero-shot, other weights, other settings.

    Args:
        learned: Provenance of the prompts; empty where unknown or where nothing was learned.
        dataset: The tested dataset.
        weights: Fingerprints of the networks of this run.
        settings: The numbers of the method of this run.
        shared: What is tested and was learned from; ``None`` where that is unknown.
    """
    notes = [] if shared is None else shared.sentences()
    if shared is None and learned.get("trained_on", {}).get("dataset") == dataset:
        notes.append(f"not zero-shot: the prompts were learned on {dataset} and tested on {dataset}")
    if learned.get("weights", weights) != weights:
        notes.append(f"other weights: the prompts were learned on {learned['weights']}, tested on {dict(weights)}")
    for key, value in learned.get("settings", {}).items():
        if key in settings and settings[key] != value:
            notes.append(f"other settings: learned with {key}={value}, tested with {key}={settings[key]}")
    return notes


def inspect(
    task: ZeroShotEvaluation, data: Any, *, learned: Mapping[str, Any] | None, settings: Mapping[str, Any]
) -> list[str]:
    """Say before a test what a reader of its results has to know, and return it. The first process reads the images.

    Args:
        task: What is tested.
        data: What it is tested on, set up.
        learned: Provenance of what was learned, empty for files that do not say it; ``None`` where nothing is learned.
        settings: The numbers of the method.
    """
    if not is_first_process():
        return []
    log.info("testing on %s: images %d, categories %d", data.name, len(data.test_samples), len(data.categories))
    shared, notes = None, [data.references.remark] if data.shots else []
    if learned and learned.get("seen"):
        shared = overlap(Fingerprints.from_state(learned["seen"]), fingerprints(data.test_samples))
    elif learned is not None:
        notes.append("unknown whether zero-shot: the checkpoint does not say which images it was learned from")
    used = weights(task.method)
    notes += remarks(learned or {}, dataset=data.name, weights=used, settings=settings, shared=shared)
    for note in notes:
        log.warning("note: %s", note)
    return notes


def set_up(data: Mapping[str, Any], skip_missing: bool = False) -> dict[str, Any]:
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
    log.info("learning from %(dataset)s: %(images)d images, %(anomalous)d of them anomalous", known["trained_on"])
    if known["trained_on"]["drawn"]:
        log.info("defects are drawn into %d %% of the normal images", 100 * known["trained_on"]["drawn"])


def write_training(task: PromptTuning, trainer: Trainer, folder: Path, *, config: Mapping[str, Any]) -> None:
    """Leave the run card of a finished training, and say how to use what was learned."""
    if not trainer.is_global_zero:
        return
    known = task.provenance
    _write_card(trainer, folder, config=config, weights=known["weights"], trained_on=known["trained_on"], notes=[])
    log.info("learned: %s", shown(folder))
    choice = f"model={known['model']} backbone={known['backbone']}"
    log.info("test it on another dataset: python test.py dataset=mvtec %s ckpt_path=%s", choice, shown(folder))


@dataclass(frozen=True)
class About:
    """What is tested, in plain values.

    Attributes:
        config: The configuration of the test.
        chosen: The names of the chosen model and backbone.
        learned: Provenance of what was learned, empty for files that do not say it; ``None`` where nothing is learned.
        decisions: What decides about the results.
        departures: In what the model differs from its configuration, which sets it apart from what is published.
    """

    config: Mapping[str, Any]
    chosen: Mapping[str, str]
    learned: Mapping[str, Any] | None
    decisions: Mapping[str, Any] = field(default_factory=dict)
    departures: Sequence[str] = ()

    def beside(self, results: Results) -> list[published.Comparison]:
        """Return what has been published for the method beside what was measured."""
        return published.beside(
            {self.config["dataset"]["name"]: results},
            published.read_published(),
            method=self.chosen["model"],
            backbone=self.chosen["backbone"],
            trained_on=_source(self.learned),
            shots=self.config["k_shot"],
            unlike=[f"{one} here" for one in self.departures],
        )


def write_test(
    task: ZeroShotEvaluation,
    trainer: Trainer,
    folder: Path,
    about: About,
    notes: Sequence[str],
    robustness: RobustnessTable | None = None,
) -> list[published.Comparison]:
    """Show the table of a finished test; leave it as CSV and Markdown, with the run card and the report.

    Args:
        task: What was tested.
        trainer: What tested it.
        folder: Where to write.
        about: What it is.
        notes: What a reader has to know.
        robustness: How results change with the images and the words.

    Returns what has been published for the method beside what was measured.
    """
    if not trainer.is_global_zero or task.results is None:
        return []
    config, dataset = about.config, about.config["dataset"]["name"]
    trained_on = (about.learned or {}).get("trained_on")
    card = _write_card(trainer, folder, config=config, weights=weights(task.method), trained_on=trained_on, notes=notes)
    beside = about.beside(task.results)
    title = f"{type(task.method).__name__} on {dataset}"
    write_tables(task.results, folder, title, notes)
    report = RunPage(title, task.results, notes=notes, card=card, published=beside, robustness=robustness)
    report = _page(task, trainer, report)
    write_page(report, folder)
    track(trainer.loggers, report, folder)
    keep_results(folder, task.results, notes, about.decisions)
    Console().print(screen_table(task.results, title, notes))
    log.info("written: %s (report.html, results.csv, results.md, run_card.md, heatmaps/)", shown(folder))
    return beside


def _page(task: ZeroShotEvaluation, trainer: Any, page: RunPage) -> RunPage:
    """Add to a report what the metrics and the callbacks of a test know."""
    metrics, callbacks = task.metrics, {type(one): one for one in trainer.callbacks}
    page = replace(
        page,
        intervals=metrics.intervals,
        mean_intervals=metrics.mean_intervals,
        curves={name: curves(*rankings) for name, rankings in metrics.rankings.items()},
    )
    if drawn := callbacks.get(HeatmapWriter):
        page = replace(page, heatmaps=drawn.files, sheets={name: drawn.sheet(name) for name in page.results.values})
    if filled := callbacks.get(RestorationWriter):
        page = replace(page, restored=filled.files)
    if scored := callbacks.get(ScoreWriter):
        page = replace(page, scores=scored.tested)
    if (chosen := callbacks.get(ThresholdWriter)) and chosen.chosen and chosen.chosen.image:
        page = replace(page, threshold=chosen.chosen.image.value)
    return page


def _source(learned: Mapping[str, Any] | None) -> str:
    """Name what was learned from, as the published numbers do."""
    if learned is None:
        return ""
    known = learned.get("trained_on")
    if not known:
        return published.NOT_STATED
    return known["dataset"] if known["phase"] == "test" else f"{known['dataset']} ({known['phase']})"


def shown(path: str | Path) -> str:
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
    card = run_card(
        config=config,
        seed=config["seed"],
        weights=weights,
        trained_on=trained_on,
        device=trainer.strategy.root_device,
        precision=str(trainer.precision),
        world_size=trainer.world_size,
        stopwatch=next((callback for callback in trainer.callbacks if isinstance(callback, Stopwatch)), None),
        notes=notes,
    )
    write_run_card(card, folder)
    return card
