"""Selection of images that represent a whole test set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from zsad.types import Sample


def representative_samples(samples: Sequence[Sample], per_label: int) -> list[Sample]:
    """Return up to ``per_label`` normal and as many defective samples of every category.

    Kinds of defect take turns, so that none is left out before another is shown twice; within a
    kind the samples are evenly spaced over the index.
    """
    kinds_of_group: dict[tuple[str, bool], dict[str, list[Sample]]] = {}
    for sample in samples:
        kinds = kinds_of_group.setdefault((sample.category, sample.is_anomalous), defaultdict(list))
        kinds[sample.defect].append(sample)
    chosen: list[Sample] = []
    for kinds in kinds_of_group.values():
        chosen += _spread_over_kinds(list(kinds.values()), per_label)
    return chosen


def _spread_over_kinds(kinds: list[list[Sample]], count: int) -> list[Sample]:
    turns: list[tuple[int, int]] = []  # round, kind
    for kind, samples in enumerate(kinds):
        turns += [(turn, kind) for turn in range(min(len(samples), count))]
    turns.sort()
    share = Counter(kind for _, kind in turns[:count])
    chosen: list[Sample] = []
    for kind, samples in enumerate(kinds):
        chosen += _evenly_spaced(samples, share[kind])
    return chosen


def _evenly_spaced(samples: list[Sample], count: int) -> list[Sample]:
    return [samples[(2 * i + 1) * len(samples) // (2 * count)] for i in range(count)]
