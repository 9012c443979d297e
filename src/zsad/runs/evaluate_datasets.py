"""Tests of one model on one dataset after the other, with the same networks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zsad.config import checkpoint_settings, compose, instantiate
from zsad.config.changed_settings import changed_settings
from zsad.data.module import JsonDataModule
from zsad.distributed import is_first_process
from zsad.runs.evaluation_info import EvaluationInfo
from zsad.runs.provenance import announce_test
from zsad.runs.results import write_test
from zsad.runs.robustness import Robustness
from zsad.runs.run_settings import deciding_settings
from zsad.runs.several_datasets import Summary
from zsad.tasks.evaluation import ZeroShotEvaluation

log = logging.getLogger("zsad")


@dataclass(frozen=True)
class EvaluatedDataset:
    """A dataset of a test, with the configuration of its own test."""

    config: DictConfig
    data: JsonDataModule


def setup_datasets(config: DictConfig) -> dict[str, EvaluatedDataset]:
    """Read the indexes of all datasets of a test, by name, before any weights are read.

    With ``skip_missing`` datasets that are not prepared on this machine are left out, with a
    warning.

    Raises:
        FileNotFoundError: If some are not prepared; the message names all of them.
    """
    datasets = {}
    missing = {}
    configs = compose.configs_by_dataset(config)
    for name, own in configs.items():
        data = instantiate.build(own.dataset)
        try:
            data.setup("test")
        except FileNotFoundError as error:
            missing[name] = error
            continue
        datasets[name] = EvaluatedDataset(own, data)
    if missing and len(configs) == 1:
        raise next(iter(missing.values()))
    if missing and not (config.skip_missing and datasets):
        reasons = "\n".join(f"  {name}: {error}" for name, error in missing.items())
        raise FileNotFoundError(
            f"{len(missing)} of {len(configs)} datasets are not here:\n{reasons}\n"
            "To test on the others: skip_missing=true"
        )
    if missing:
        log.warning("left out, not prepared here: %s", ", ".join(missing))
    return datasets


def evaluate_datasets(
    config: DictConfig,
    datasets: Mapping[str, EvaluatedDataset],
    task: ZeroShotEvaluation,
    provenance: Mapping[str, Any] | None,
    robustness: Robustness | None = None,
) -> None:
    """Test a model on each dataset, and write the results of each and of all.

    Datasets that an earlier, stopped start of the test has finished are restored.

    Args:
        config: The configuration of the whole test.
        datasets: The datasets, set up.
        task: The task, with its weights.
        provenance: Provenance of the learned prompts, empty if a file has none; ``None`` for a
            training-free model.
        robustness: Further tests on changed images and with other words.
    """
    summary = Summary()
    settings = checkpoint_settings.settings(config)
    may_restore = bool(config.test_on) and not config.overwrite
    for name, dataset in datasets.items():
        own, data = dataset.config, dataset.data
        folder = Path(own.paths.output_dir)
        info = _evaluation_info(own, name, provenance)
        if may_restore and summary.restore(name, folder, info):
            continue
        trainer = instantiate.build_trainer(own)
        notes = announce_test(task, data, learned=provenance, settings=settings)
        trainer.test(task, data, verbose=False)
        table = None
        if robustness is not None:
            table = robustness.run(task.method, data, instantiate.quiet_trainer(config), folder)
        published = write_test(task, trainer, folder, info, notes, table)
        assert task.results is not None
        summary.add(name, task.results, notes, published)
    if is_first_process():
        folder = Path(config.paths.output_dir)
        model = compose.choices_of_run()["model"]
        summary.write(folder, model, has_several=bool(config.test_on))


def _evaluation_info(
    config: DictConfig, dataset: str, provenance: Mapping[str, Any] | None
) -> EvaluationInfo:
    return EvaluationInfo(
        config=compose.to_dict(config),
        choices=compose.choices_of_run(),
        provenance=provenance,
        deciding_settings=deciding_settings(config),
        changed_settings=changed_settings(config, dataset, provenance),
    )
