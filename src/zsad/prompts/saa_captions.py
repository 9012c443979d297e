"""Captions of SAA and SAA+ for the categories of datasets, from data in YAML files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.prompts.dataset_tables import DatasetTables
from zsad.prompts.saa_rows import key_of, read_file, read_row, read_table

log = logging.getLogger("zsad")

_INHERITED = ("filter_word", "object_prompt", "object_count", "k_mask", "defect_area_threshold")


@dataclass(frozen=True, slots=True)
class DefectPrompts:
    """Questions about an image.

    Attributes:
        captions: Each with its filter word, in the order of the detector's passes.
        object_prompt: For the object itself.
        object_count, k_mask, defect_area_threshold: As in ``Row``.
    """

    captions: tuple[tuple[str, str | None], ...]
    object_prompt: str
    object_count: int
    k_mask: int | None
    defect_area_threshold: float | None


class DefectWords:
    """General captions for any category, and tables of expert captions for certain categories.

    Args:
        general: The row that every category has. Its captions come first; the rest serves
            categories without a row of their own, and rows that leave something out.
        tables: Dataset → category → the keys of ``Row``. In place of its four numbers a row may
            have ``property``, the sentence that carries them in the published code
            (``read_property``).
        files: Dataset → a YAML file with the rows of its categories, for words of one's own.
        datasets: Dataset → the table that serves it, where that has another name:
            ``visa_1cls: visa``.
        dataset: The table to use whatever is tested; ``None`` for that of the tested dataset
            (``set_dataset``).

    Raises:
        ValueError: If a row has an unknown key or a value of another kind, or there is no table for
            ``dataset``.
        FileNotFoundError: If one of the files does not exist.
    """

    def __init__(
        self,
        general: Mapping[str, Any],
        tables: Mapping[str, Mapping[str, Mapping[str, Any]]] = {},
        *,
        files: Mapping[str, str] = {},
        datasets: Mapping[str, str] = {},
        dataset: str | None = None,
    ) -> None:
        self.general = read_row("general", general)
        inherited = {key: general[key] for key in _INHERITED if key in general}
        rows_of: dict[str, Mapping[str, Any]] = dict(tables)
        for name, file in files.items():
            rows_of[name] = read_file(Path(file))
        self.tables = {name: read_table(name, rows, inherited) for name, rows in rows_of.items()}
        self.datasets = dict(datasets)
        self._selected = DatasetTables(self.tables, self.datasets, dataset)

    def set_dataset(self, dataset: str) -> None:
        """Use the table of a dataset from now on, or general words if it has none.

        A table that was chosen for all stays.
        """
        self._selected.set_dataset(dataset)

    def prompts(self, category: str) -> DefectPrompts:
        """Return the questions about an image of a category.

        The first time that a category has no row, a warning is logged.
        """
        row = (self._selected.current() or {}).get(key_of(category))
        if row is None:
            if self.tables:
                self._warn(category)
            own = self.general.named(category)
            rows = [own]
        else:
            own = row.named(row.name)
            rows = [self.general.named(row.name), own]
        captions = []
        for asked in rows:
            captions.extend((caption, asked.filter_word) for caption in asked.captions)
        return DefectPrompts(
            tuple(captions),
            own.object_prompt,
            own.object_count,
            own.k_mask,
            own.defect_area_threshold,
        )

    def _warn(self, category: str) -> None:
        if not self._selected.is_first_miss(category):
            return
        dataset = self._selected.dataset
        place = f" of {dataset}" if dataset else ""
        hint = ""
        elsewhere = [name for name, rows in self.tables.items() if key_of(category) in rows]
        if elsewhere:
            hint = f" Those of {elsewhere[0]}: model.method.prompts.dataset={elsewhere[0]}."
        name = dataset or "NAME"
        log.warning(
            f"no expert words for {category}{place}: general prompts alone.{hint} To add some: "
            f"conf/prompts/saa/tables/{name}.yaml, or any file with "
            f"+model.method.prompts.files.{name}=FILE.yaml"
        )
