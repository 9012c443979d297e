"""How results hold when images or words change: ``python test.py robustness=standard``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
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


class Robustness:
    """Tests of a method on corrupted images, and with other words, beside the same test without any change.

    Args:
        metrics: Makes the metrics for the categories of the tested dataset.
        corruptions: What is done to images, by name.
        severities: How badly, from 1 upwards; one test for each corruption and severity.
        wordings: For the state ``normal`` and the state ``anomalous`` other words, with ``{}`` for the object; one test
            for each. ``None`` leaves the words alone.

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
        self.corruptions, self.severities, self.wordings = corruptions, severities, wordings or {}
        for name, corruption in corruptions.items():
            if not set(severities) <= set(range(1, len(corruption.levels) + 1)):
                raise ValueError(
                    f"robustness.severities={list(severities)}: {name} has 1 to {len(corruption.levels)}"
                )
        if not set(self.wordings) <= {"normal", "anomalous"}:
            raise ValueError(
                f"robustness.wordings of {list(self.wordings)}: expected normal, anomalous"
            )

    def run(
        self, method: nn.Module, data: JsonDataModule, trainer: Trainer, folder: Path
    ) -> RobustnessTable:
        """Make all tests with the networks of a method, write the tables, and return that of the report.

        Args:
            method: What is tested; it is left as it was.
            data: What it is tested on, set up.
            trainer: A quiet one: its callbacks see every test.
            folder: Where the tables go.
        """
        trials = self.measure(method, data, trainer)
        if trainer.is_global_zero:
            tested = f"{data.name}, {len(data.test_samples)} images"
            write_robustness(trials, folder, f"Robustness of {type(method).__name__} on {tested}")
        return page_table(trials)

    def measure(self, method: nn.Module, data: JsonDataModule, trainer: Trainer) -> Trials:
        """Make all tests."""

        def values(tested: nn.Module, corrupt: CorruptionTransform | None = None) -> Any:
            task = ZeroShotEvaluation(tested, self.metrics)
            trainer.test(task, CorruptedDataModule(data, corrupt), verbose=False)
            assert task.results is not None
            return task.results.mean

        clean, corrupted, reworded = values(method), [], []
        planned = [(name, severity) for name in self.corruptions for severity in self.severities]
        for name, severity in self._shown("on corrupted images", planned):
            corrupt = self.corruptions[name].at_severity(severity, data.image_size)
            corrupted.append(Trial(name, severity, values(method, corrupt)))
        wordings = [(state, words) for state in self.wordings for words in self.wordings[state]]
        if wordings and not isinstance(method, Rewordable):
            log.info("%s has no words to change", type(method).__name__)
            wordings = []
        for state, words in self._shown("with other words", wordings):
            changed: Any = method.with_prompt_words({state: words})
            reworded.append(Trial(state, words, values(changed)))
        return Trials(clean, corrupted, reworded)

    def _shown(self, what: str, trials: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Go through trials with a bar for them."""
        yield from track(trials, f"testing {what}", disable=not (trials and is_first_process()))
