"""Tables of words by dataset, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

TableT = TypeVar("TableT")


class DatasetTables(Generic[TableT]):
    """The table of the tested dataset, or of a dataset that was chosen for all.

    Args:
        tables: Dataset → its table.
        aliases: Dataset → the table that serves it, where that has another name:
            ``visa_1cls: visa``.
        chosen: The table to use whatever is tested; ``None`` for that of the tested dataset.

    Raises:
        ValueError: If there is no table for ``chosen``.
    """

    def __init__(
        self, tables: Mapping[str, TableT], aliases: Mapping[str, str], chosen: str | None
    ) -> None:
        self.dataset = chosen
        self._tables = tables
        self._aliases = aliases
        self._chosen = chosen
        self._missed: set[tuple[str | None, str]] = set()
        if chosen is not None and self.current() is None:
            known = ", ".join(sorted(tables)) or "none"
            raise ValueError(f"no words for dataset={chosen}. Known: {known}")

    def set_dataset(self, dataset: str) -> None:
        """Use the table of a dataset from now on, unless another was chosen for all."""
        self.dataset = self._chosen or dataset

    def current(self) -> TableT | None:
        """Return the table in use; ``None`` where the dataset has none."""
        if self.dataset is None:
            return None
        name = self._aliases.get(self.dataset, self.dataset)
        return self._tables.get(name)

    def is_first_miss(self, category: str) -> bool:
        """Tell whether words of a category are missed for the first time in this dataset."""
        miss = (self.dataset, category)
        if miss in self._missed:
            return False
        self._missed.add(miss)
        return True
