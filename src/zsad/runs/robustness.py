"""Robustness to changed images and other words: ``python test.py robustness=standard``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Trainer
from rich.progress import track
from torch import nn

from zsad.contract import Rewordable
from zsad.data.corruptions import CorruptedDataModule, Corruption, CorruptionTransform
from zsad.data.module import JsonDataModule
from zsad.distributed import is_first_process
from zsad.metrics.per_category import CategoryMetrics
from zsad.reports.robustness_table import Trial, Trials, page_table, write_robustness
from zsad.reports.run_page import RobustnessTable
from zsad.tasks.evaluation import ZeroShotEvaluation

log = logging.getLogger("zsad")

_STATES = ("normal", "anomalous")


class Robustness:
    """Tests of a method on corrupted images, and with other words, beside the unchanged test.

    Args:
        metrics: Makes the metrics for the categories of the tested dataset.
        corruptions: Corruptions of images, by name.
        severities: Severities from 1 upwards; one test for each corruption and severity.
        wordings: For the state ``normal`` and the state ``anomalous`` other words, with ``{}`` for
            the object; one test for each. ``None`` leaves the words alone.

    Raises:
        ValueError: If a corruption does not have one of the severities, or a state is unknown.
    """

    def __init__(
        self,
        metrics: Callable[[Sequence[str]], CategoryMetrics],
        corruptions: Mapping[str, Corruption],
        severities: Sequence[int] = (1, 2, 3, 4, 5),
        wordings: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.metrics = metrics
        self.corruptions = corruptions
        self.severities = severities
        self.wordings = wordings or {}
        for name, corruption in corruptions.items():
            most = len(corruption.levels)
            if any(severity not in range(1, most + 1) for severity in severities):
                raise ValueError(
                    f"robustness.severities={list(severities)}: {name} has 1 to {most}"
                )
        if not set(self.wordings) <= set(_STATES):
            raise ValueError(
                f"robustness.wordings of {list(self.wordings)}: expected {', '.join(_STATES)}"
            )

    def run(
        self, method: nn.Module, data: JsonDataModule, trainer: Trainer, folder: Path
    ) -> RobustnessTable:
        """Run all tests with the networks of a method, write the tables, and return the report's.

        Args:
            method: The tested method; it is left as it was.
            data: The test data, set up.
            trainer: A quiet trainer: its callbacks see every test.
            folder: Folder of the tables.
        """
        trials = self.measure(method, data, trainer)
        if trainer.is_global_zero:
            tested = f"{data.name}, {len(data.test_samples)} images"
            write_robustness(trials, folder, f"Robustness of {type(method).__name__} on {tested}")
        return page_table(trials)

    def measure(self, method: nn.Module, data: JsonDataModule, trainer: Trainer) -> Trials:
        """Run all tests."""

        def test(tested: nn.Module, corrupt: CorruptionTransform | None = None) -> Any:
            task = ZeroShotEvaluation(tested, self.metrics)
            trainer.test(task, CorruptedDataModule(data, corrupt), verbose=False)
            assert task.results is not None
            return task.results.mean

        clean = test(method)
        corrupted = []
        for name, severity in _with_bar("testing on corrupted images", self._corruption_trials()):
            corrupt = self.corruptions[name].at_severity(severity, data.image_size)
            corrupted.append(Trial(name, severity, test(method, corrupt)))
        reworded = []
        for state, words in _with_bar("testing with other words", self._wording_trials(method)):
            changed: Any = method.with_prompt_words({state: words})  # type: ignore[operator]
            reworded.append(Trial(state, words, test(changed)))
        return Trials(clean, corrupted, reworded)

    def _corruption_trials(self) -> list[tuple[str, int]]:
        return [(name, severity) for name in self.corruptions for severity in self.severities]

    def _wording_trials(self, method: nn.Module) -> list[tuple[str, str]]:
        trials = [(state, words) for state in self.wordings for words in self.wordings[state]]
        if trials and not isinstance(method, Rewordable):
            log.info("%s has no words to change", type(method).__name__)
            return []
        return trials


def _with_bar(title: str, trials: Sequence[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    """Yield trials, with a progress bar on the first process."""
    return track(trials, title, disable=not (trials and is_first_process()))
