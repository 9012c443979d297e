"""The images that a contact sheet shows: the extremes of a category, and nothing else is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from zsad.reports.figures.overlays import Thumbnail


@dataclass(slots=True)
class _Extremes:
    """The highest or the lowest scores, the most extreme first; equal scores by path."""

    length: int
    highest: bool
    entries: list[tuple[float, str, Thumbnail]] = field(default_factory=list)

    def admits(self, score: float, path: str) -> bool:
        """Tell whether an image would be shown, if no other followed."""
        return len(self.entries) < self.length or self._rank(score, path) < self._rank(
            *self.entries[-1][:2]
        )

    def add(self, *entries: tuple[float, str, Thumbnail]) -> None:
        """Take entries in, and let go of what is no longer extreme."""
        self.entries = sorted([*self.entries, *entries], key=lambda entry: self._rank(*entry[:2]))[
            : self.length
        ]

    def _rank(self, score: float, path: str) -> tuple[float, str]:
        return (-score if self.highest else score), path


class Shortlist:
    """The highest-scored normal images of a category, and its lowest- and highest-scored defective ones.

    Args:
        length: Images in a row.
    """

    def __init__(self, length: int) -> None:
        self.false_alarms = _Extremes(length, highest=True)
        self.misses = _Extremes(length, highest=False)
        self.hits = _Extremes(length, highest=True)

    def offer(
        self, score: float, path: str, is_anomalous: bool, draw: Callable[[], Thumbnail]
    ) -> None:
        """Take an image in if its score is extreme; only then it is drawn."""
        candidates = (self.misses, self.hits) if is_anomalous else (self.false_alarms,)
        admitting = [extremes for extremes in candidates if extremes.admits(score, path)]
        if admitting:
            entry = (score, path, draw())
            for extremes in admitting:
                extremes.add(entry)

    def join(self, other: Shortlist) -> None:
        """Take in the images of another process."""
        self.false_alarms.add(*other.false_alarms.entries)
        self.misses.add(*other.misses.entries)
        self.hits.add(*other.hits.entries)

    def rows(self) -> list[tuple[str, list[Thumbnail]]]:
        """Return the rows of the sheet with their headings; no image is in two."""
        shown = {path for _, path, _ in self.misses.entries}
        return [
            (
                "good, highest scores first",
                [thumbnail for *_, thumbnail in self.false_alarms.entries],
            ),
            (
                "defective, lowest scores first",
                [thumbnail for *_, thumbnail in self.misses.entries],
            ),
            (
                "defective, highest scores first",
                [t for _, path, t in self.hits.entries if path not in shown],
            ),
        ]
