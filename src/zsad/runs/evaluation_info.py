"""Facts of a test that its results are compared and stored with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zsad.reports import published_numbers
from zsad.types import Results


@dataclass(frozen=True)
class EvaluationInfo:
    """A test of one dataset, in plain values.

    Attributes:
        config: The configuration of the test.
        choices: The names of the chosen model and backbone, by group.
        provenance: Provenance of the learned prompts, empty if a file has none; ``None`` for a
            training-free model.
        deciding_settings: The settings that decide about the results.
        changed_settings: Settings that set the model apart from its published configuration.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    provenance: Mapping[str, Any] | None
    deciding_settings: Mapping[str, Any] = field(default_factory=dict)
    changed_settings: Sequence[str] = ()

    @property
    def dataset(self) -> str:
        """Name of the tested dataset."""
        return self.config["dataset"]["name"]

    @property
    def trained_on(self) -> Mapping[str, Any] | None:
        """The training data, as the provenance describes it."""
        return (self.provenance or {}).get("trained_on")

    def compare_with_published(self, results: Results) -> list[published_numbers.Comparison]:
        """Return published and measured numbers of the method, side by side."""
        return published_numbers.compare_with_published(
            {self.dataset: results},
            published_numbers.read_published(),
            method=self.choices["model"],
            backbone=self.choices["backbone"],
            trained_on=self._training_source(),
            shots=self.config["k_shot"],
            mismatches=[f"{setting} here" for setting in self.changed_settings],
        )

    def _training_source(self) -> str:
        """Name the training data as the published numbers do."""
        if self.provenance is None:
            return ""
        known = self.trained_on
        if not known:
            return published_numbers.NOT_STATED
        if known["phase"] == "test":
            return known["dataset"]
        return f"{known['dataset']} ({known['phase']})"
