"""Survey of the values of all masks of a dataset: which rule takes them, and what is odd.

Values are on the scale of 8 bits (0-255), as ``binarise`` compares them. Legend: h × w pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsad.data.decoding import UnreadableImageError
from zsad.data.masks import comparable_values, mask_values

READERS = 8  # threads: Pillow decodes outside of Python's lock
MANY_VALUES = 16  # more values than class numbers: soft edges or JPEG
LARGE_SHARE = 0.5  # a mask that marks more of its image may be inverted
_EDGE_PX = 3  # soft edges are no wider
_RINGING = 25  # JPEG leaves smaller values beside an edge
_WHITE = 255
_SHOWN_VALUES = 8


@dataclass(frozen=True)
class MaskFacts:
    """Values of one mask under a rule.

    Attributes:
        path: The file.
        values: Its values, ascending; the first ``MANY_VALUES + 1``, with the largest.
        distinct: Number of its values.
        marked: Share of the image above the threshold.
        lost: The smallest value of regions that lie at or below the threshold, away from any
            edge of a marked one; ``None`` where there are none.
    """

    path: str
    values: tuple[float, ...]
    distinct: int
    marked: float
    lost: float | None

    @property
    def is_soft(self) -> bool:
        """More values than class numbers."""
        return self.distinct > MANY_VALUES

    @property
    def largest(self) -> float:
        """The largest value."""
        return self.values[-1]


def read_mask_facts(path: Path, name: str, threshold: int) -> MaskFacts:
    """Decode a mask and return its facts.

    Raises:
        UnreadableImageError: Truncated, damaged, or no image.
    """
    values = comparable_values(mask_values(path))
    present = _distinct(values)
    is_soft = len(present) > MANY_VALUES
    above = values > threshold
    least = _RINGING if is_soft else 0
    below = (values > least) & ~above
    lost: float | None = None
    if below.any():
        away = values[below & ~_dilate(above, _EDGE_PX)]
        if away.size:
            lost = float(away.min())
    shown = [float(value) for value in present[: MANY_VALUES + 1]]
    if is_soft:
        shown.append(float(present[-1]))
    return MaskFacts(name, tuple(shown), len(present), float(above.mean()), lost)


def survey_masks(
    root: Path, names: Sequence[str], threshold: int
) -> tuple[list[MaskFacts], list[str]]:
    """Return the facts of all masks, and a message for each that cannot be decoded."""

    def read(name: str) -> MaskFacts | str:
        try:
            return read_mask_facts(root / name, name, threshold)
        except UnreadableImageError as error:
            return str(error)

    facts: list[MaskFacts] = []
    unreadable: list[str] = []
    with ThreadPoolExecutor(READERS) as pool:
        for found in pool.map(read, names):
            if isinstance(found, str):
                unreadable.append(found)
            else:
                facts.append(found)
    return facts, unreadable


def find_threshold(facts: Sequence[MaskFacts], threshold: int) -> int:
    """Return a rule that takes every value of masks with few values; else the given one.

    It lies between 0 and the smallest value that would be lost. Soft masks keep the given rule:
    their edges do not tell a level from a slope.
    """
    lost = [mask.lost for mask in facts if mask.lost is not None]
    if not lost or any(mask.is_soft for mask in facts):
        return threshold
    return int(min(lost) / 2)


def level_remarks(facts: Sequence[MaskFacts], threshold: int) -> Iterator[str]:
    """Yield remarks on values that a rule loses, masks that mark too much, and empty masks."""
    largest = max((mask.largest for mask in facts), default=0)
    if 0 < largest <= threshold:
        yield (
            f"masks would be read as empty: in {len(facts)} of them the largest value is "
            f"{largest:.4g}, but defects lie above {threshold}; prepare again with "
            f"--mask-threshold 0"
        )
    else:
        yield from side_remarks(facts, threshold)
    yield from share_remarks(facts)
    empty = [mask for mask in facts if mask.largest <= 0]
    if empty:
        yield (
            f"{len(empty)} of {len(facts)} masks of defective images hold no value above 0, such "
            f"as {empty[0].path}: their images have no defective pixel"
        )


def side_remarks(facts: Sequence[MaskFacts], threshold: int) -> Iterator[str]:
    """Yield the remark that masks have regions at or below the threshold, and others above it."""
    lost = [mask for mask in facts if mask.lost is not None]
    if not lost:
        return
    smallest = min(mask.lost or 0 for mask in lost)
    yield (
        f"masks have values on both sides of the rule: in {len(lost)} of {len(facts)}, such "
        f"as {lost[0].path}, regions of {smallest:.4g} and more lie at or below {threshold} "
        f"and count as good (values seen: {describe_values(facts)}); "
        f"--mask-threshold {int(smallest / 2)} takes all"
    )


def share_remarks(facts: Sequence[MaskFacts]) -> Iterator[str]:
    """Yield the remark that most masks mark more of their images than defects do."""
    large = [mask for mask in facts if mask.marked > LARGE_SHARE]
    if large and 2 * len(large) > len(facts):
        median = float(np.median([mask.marked for mask in facts]))
        yield (
            f"{len(large)} of {len(facts)} masks, such as {large[0].path}, mark more than half of "
            f"their image as defective (the median {100 * median:.0f} %; values seen: "
            f"{describe_values(facts)}): if dark means defective in them, save them inverted"
        )


def rule_note(facts: Sequence[MaskFacts], threshold: int) -> str:
    """Return the note about a rule that was found."""
    note = (
        f"masks hold the values {describe_values(facts)}: every value above {threshold} counts as "
        f"a defect (mask_threshold: {threshold}; another with --mask-threshold)"
    )
    values = _all_values(facts)
    if {1.0, float(_WHITE)} <= values:
        note += (
            f"; {_WHITE} beside small class numbers often marks a border to be ignored: it "
            f"counts as a defect, too, unless the masks are saved without it"
        )
    return note


def describe_values(facts: Iterable[MaskFacts]) -> str:
    """Return the values of masks as text: all if few, else the ends."""
    ordered = sorted(_all_values(facts))
    texts = [f"{value:.4g}" for value in ordered]
    if len(texts) > _SHOWN_VALUES:
        return ", ".join([*texts[: _SHOWN_VALUES - 1], "…", texts[-1]])
    return ", ".join(texts)


def _all_values(facts: Iterable[MaskFacts]) -> set[float]:
    values: set[float] = set()
    for mask in facts:
        values.update(mask.values)
    return values


def _distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct values, ascending; bytes are counted, which is faster than sorting."""
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return np.unique(values)


def _dilate(marked: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return (h, w), whether a pixel lies in a square of this radius about a marked one."""
    grown = marked
    for axis in (0, 1):
        line = grown.copy()
        for shift in range(1, radius + 1):
            after = np.moveaxis(line, axis, 0)
            source = np.moveaxis(grown, axis, 0)
            after[shift:] |= source[:-shift]
            after[:-shift] |= source[shift:]
        grown = line
    return grown
