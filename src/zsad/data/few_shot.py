"""Reference images of few-shot methods: normal images that a method gets before a test."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import filterfalse
from pathlib import Path

import numpy as np

from zsad.data.index import index_phases
from zsad.data.index_entries import check_entries, problem_error
from zsad.data.path_check import PathChecker
from zsad.types import Sample


@dataclass(frozen=True, slots=True)
class References:
    """The references of a test.

    Attributes:
        samples: Category → its reference images, in the order of the draw.
        remark: A sentence about them for a reader of the results, empty without references.
    """

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    remark: str = ""

    def exclude_from(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return the samples that are no references: references are not tested."""
        used: set[Path] = set()
        for references in self.samples.values():
            for sample in references:
                used.add(sample.image_path)
        return [sample for sample in samples if sample.image_path not in used]


def draw_references(
    tested: Sequence[Sample], reserved: Sequence[Sample], shots: int, seed: int
) -> References:
    """Draw references without replacement for every category of a test.

    The draw depends on the seed and the name of the category alone; a smaller number takes the
    first of a larger one.

    Args:
        tested: All samples of the test.
        reserved: Normal samples outside of the test. A category without any takes normal samples
            of the test instead.
        shots: Number of references of each category.
        seed: Of the draw.

    Raises:
        ValueError: If a category has fewer normal images than ``shots``.
    """
    reserved_by_category = _by_category(reserved)
    tested_normal = _by_category(sample for sample in tested if not sample.is_anomalous)
    drawn: dict[str, list[Sample]] = {}
    for category in dict.fromkeys(sample.category for sample in tested):
        pool = reserved_by_category.get(category) or tested_normal.get(category, [])
        drawn[category] = _draw(category, pool, shots, seed)
    references = References(drawn)
    before = Counter(sample.category for sample in tested)
    left = Counter(sample.category for sample in references.exclude_from(tested))
    reduced = before - left  # categories whose test loses images, in the order of the test
    return References(drawn, _remark(shots, seed, list(reduced)))


def normal_samples(index: Path, root: Path, phase: str, categories: Iterable[str]) -> list[Sample]:
    """Return the normal samples of a phase, every file checked; none if there is no such phase.

    Raises:
        ValueError, FileNotFoundError: As ``read_index``.
    """
    entries: dict[str, list[object]] = {name: [] for name in categories}
    for name, part in index_phases(index).items():
        if name.lower() != phase.lower():
            continue
        for category, normal in entries.items():
            normal += filterfalse(_is_anomalous, part.get(category, []))
    samples, problems = check_entries(entries, PathChecker(root))
    if problems:
        raise problem_error(index, root, problems)
    return samples


def _is_anomalous(entry: object) -> bool:
    # Malformed entries count as normal: check_entries reports them.
    return isinstance(entry, dict) and entry.get("anomaly") == 1


def _draw(category: str, pool: Sequence[Sample], shots: int, seed: int) -> list[Sample]:
    if len(pool) < shots:
        raise ValueError(
            f"k_shot={shots} needs as many normal images of each category, but {category} has "
            f"{len(pool)}: choose a smaller k_shot, or leave the category out "
            "(dataset.categories=[…])"
        )
    category_seed = zlib.crc32(category.encode())
    rng = np.random.default_rng([seed, category_seed])
    order = rng.permutation(len(pool))
    return [pool[i] for i in order[:shots]]


def _by_category(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.category, []).append(sample)
    return groups


def _remark(shots: int, seed: int, reduced: Sequence[str]) -> str:
    images = "1 normal image" if shots == 1 else f"{shots} normal images"
    remark = (
        f"{shots}-shot, not zero-shot: {images} of each category, drawn with seed {seed}, "
        "served as references"
    )
    if not reduced:
        return remark
    return (
        f"{remark}; those of {', '.join(reduced)} come from the tested images, "
        "which are tested without them"
    )
