"""Selection of images that represent a whole test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zsad.types import Sample

Samples = list[Sample]
Label = tuple[str, bool]  # category, whether the sample is anomalous


def representative_samples(samples: Sequence[Sample], per_label: int) -> Samples:
    """Return up to ``per_label`` normal and as many defective samples of every category.

    Kinds of defect take turns, so that none is left out before another is shown twice; within a
    kind the samples are evenly spaced over the index.
    """
    groups: dict[Label, dict[str, Samples]] = {}
    for sample in samples:
        label = (sample.category, sample.is_anomalous)
        kinds = groups.setdefault(label, {})
        kinds.setdefault(sample.defect, []).append(sample)
    chosen: Samples = []
    for kinds in groups.values():
        samples_by_kind = list(kinds.values())
        chosen += _spread_over_kinds(samples_by_kind, per_label)
    return chosen


def _spread_over_kinds(samples_by_kind: list[Samples], count: int) -> Samples:
    turns = []
    for kind, samples in enumerate(samples_by_kind):
        most = min(len(samples), count)
        turns += [(turn, kind) for turn in range(most)]
    turns.sort()
    shares = Counter()
    for _, kind in turns[:count]:
        shares[kind] += 1
    chosen: Samples = []
    for kind, samples in enumerate(samples_by_kind):
        chosen += _evenly_spaced(samples, shares[kind])
    return chosen


def _evenly_spaced(samples: Samples, count: int) -> Samples:
    chosen = []
    for i in range(count):
        middle_of_part = (2 * i + 1) * len(samples) // (2 * count)
        chosen.append(samples[middle_of_part])
    return chosen
