"""Which images stand for a whole test."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from zsad.types import Sample


def representative(samples: Sequence[Sample], per_label: int) -> list[Sample]:
    """Return up to ``per_label`` normal and as many defective samples of every category.

    Kinds of defect take turns, so that none is left out before another is shown twice; within a kind the samples are
    evenly spaced over the index.
    """
    groups: defaultdict[tuple[str, bool], defaultdict[str, list[Sample]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for sample in samples:
        groups[sample.category, sample.is_anomalous][sample.defect].append(sample)
    return [
        sample
        for kinds in groups.values()
        for sample in _over_kinds(list(kinds.values()), per_label)
    ]


def _over_kinds(kinds: list[list[Sample]], count: int) -> list[Sample]:
    turns = sorted(
        (turn, kind)
        for kind, samples in enumerate(kinds)
        for turn in range(min(len(samples), count))
    )
    share = Counter(kind for _, kind in turns[:count])
    return [
        sample
        for kind, samples in enumerate(kinds)
        for sample in _evenly_spaced(samples, share[kind])
    ]


def _evenly_spaced(samples: list[Sample], count: int) -> list[Sample]:
    return [samples[(2 * i + 1) * len(samples) // (2 * count)] for i in range(count)]
