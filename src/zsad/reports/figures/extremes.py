"""Images on a contact sheet: the extreme scores of a category, selected in little memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from zsad.reports.figures.contact_sheet import Thumbnail

Rank = tuple[float, str]


class _Entry(NamedTuple):
    score: float
    path: str
    thumbnail: Thumbnail


@dataclass(slots=True)
class _Extremes:
    """The highest or the lowest scores, the most extreme first; equal scores by path."""

    length: int
    is_highest: bool
    entries: list[_Entry] = field(default_factory=list)

    def admits(self, score: float, path: str) -> bool:
        """Tell whether an image is among the extremes so far."""
        if len(self.entries) < self.length:
            return True
        last = self.entries[-1]
        return self._rank(score, path) < self._entry_rank(last)

    def add(self, *entries: _Entry) -> None:
        """Insert entries, and drop those that are no longer extreme."""
        merged = sorted([*self.entries, *entries], key=self._entry_rank)
        self.entries = merged[: self.length]

    def _entry_rank(self, entry: _Entry) -> Rank:
        return self._rank(entry.score, entry.path)

    def _rank(self, score: float, path: str) -> Rank:
        if self.is_highest:
            return -score, path
        return score, path


class Shortlist:
    """The highest-scored normal images of a category, and its lowest- and highest-scored defective.

    Args:
        length: Images in a row.
    """

    def __init__(self, length: int) -> None:
        self.highest_normal = _Extremes(length, is_highest=True)
        self.lowest_defective = _Extremes(length, is_highest=False)
        self.highest_defective = _Extremes(length, is_highest=True)

    def offer(
        self, score: float, path: str, is_anomalous: bool, draw: Callable[[], Thumbnail]
    ) -> None:
        """Add an image if its score is extreme; only then it is drawn."""
        candidates = [self.highest_normal]
        if is_anomalous:
            candidates = [self.lowest_defective, self.highest_defective]
        admitting = [extremes for extremes in candidates if extremes.admits(score, path)]
        if not admitting:
            return
        entry = _Entry(score, path, draw())
        for extremes in admitting:
            extremes.add(entry)

    def merge(self, other: Shortlist) -> None:
        """Add the images of another process."""
        self.highest_normal.add(*other.highest_normal.entries)
        self.lowest_defective.add(*other.lowest_defective.entries)
        self.highest_defective.add(*other.highest_defective.entries)

    def rows(self) -> list[tuple[str, list[Thumbnail]]]:
        """Return the rows of the sheet with their headings; no image is in two rows."""
        shown = {entry.path for entry in self.lowest_defective.entries}
        others = [entry for entry in self.highest_defective.entries if entry.path not in shown]
        rows = (
            ("good, highest scores first", self.highest_normal.entries),
            ("defective, lowest scores first", self.lowest_defective.entries),
            ("defective, highest scores first", others),
        )
        return [(heading, _thumbnails(entries)) for heading, entries in rows]


def _thumbnails(entries: list[_Entry]) -> list[Thumbnail]:
    return [entry.thumbnail for entry in entries]
