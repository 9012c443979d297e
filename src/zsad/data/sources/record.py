"""The record of a sample that every source yields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from zsad.data.sources.tree import Tree


@dataclass(frozen=True, slots=True)
class Record:
    """An image of a download; paths are POSIX, relative to the root.

    Attributes:
        phase: ``train``, ``val`` or ``test``.
        category: Object or texture class.
        image: The image file.
        masks: Its ground-truth files; several are to be united.
        defect: Kind of defect, ``good`` for normal images, empty where unknown.
        is_anomalous: The image label, ``None`` where it is not published.
        expects_mask: The download publishes masks for such images where they are anomalous.
        label_problem: Reason why the published label cannot be told; empty where it can, or where
            none is published.
        origin: Row of the table that lists it; empty where a folder does.
    """

    phase: str
    category: str
    image: str
    masks: tuple[str, ...]
    defect: str
    is_anomalous: bool | None
    expects_mask: bool = True
    label_problem: str = ""
    origin: str = ""


@runtime_checkable
class Source(Protocol):
    """A reader of records from a tree."""

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a tree, paths relative to its root."""
        ...
