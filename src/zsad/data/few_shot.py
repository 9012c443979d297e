"""Normal images that a few-shot method is shown before a test."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zsad.data.index import PathChecker, check_entries, index_phases, problem_error
from zsad.types import Sample


@dataclass(frozen=True, slots=True)
class References:
    """The references of a test.

    Attributes:
        samples: For each category the normal images that are shown, in the order in which they were drawn.
        remark: What a reader of the results has to know of them, empty without any.
    """

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    remark: str = ""

    def exclude_from(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return the samples that are no references: what was shown is not tested."""
        shown = {sample.image_path for drawn in self.samples.values() for sample in drawn}
        return [sample for sample in samples if sample.image_path not in shown]


def draw_references(
    tested: Sequence[Sample], kept: Sequence[Sample], shots: int, seed: int
) -> References:
    """Draw references without replacement for every category that is tested.

    The draw depends on the seed and the name of the category alone; a smaller number takes the first of a larger one.

    Args:
        tested: All samples of the test.
        kept: Normal samples that serve as references. A category without any takes normal ones of the test instead.
        shots: How many references a category gets.
        seed: Of the draw.

    Raises:
        ValueError: If a category has fewer normal images than ``shots``.
    """
    pools, shared = (
        _by_category(kept),
        _by_category(sample for sample in tested if not sample.is_anomalous),
    )
    categories = list(dict.fromkeys(sample.category for sample in tested))
    drawn = {
        name: _draw(name, pools.get(name) or shared.get(name, []), shots, seed)
        for name in categories
    }
    references = References(drawn)
    left = {sample.image_path for sample in references.exclude_from(tested)}
    untested = [
        name for name in categories if any(s.image_path not in left for s in shared.get(name, []))
    ]
    return References(drawn, _remark(shots, seed, untested))


def normal_samples(index: Path, root: Path, phase: str, categories: Iterable[str]) -> list[Sample]:
    """Return the normal samples of a phase, every file checked to be there; none where the index has no such phase.

    Raises:
        ValueError, FileNotFoundError: As ``read_index``.
    """
    parts = [part for name, part in index_phases(index).items() if name.lower() == phase.lower()]
    entries = {
        name: [entry for part in parts for entry in part.get(name, [])] for name in categories
    }
    # Entries that are no dictionaries stay: the check below says what is wrong with them.
    normal = {
        name: [
            entry for entry in group if not (isinstance(entry, dict) and entry.get("anomaly") == 1)
        ]
        for name, group in entries.items()
    }
    samples, problems = check_entries(normal, PathChecker(root))
    if problems:
        raise problem_error(index, root, problems)
    return samples


def _draw(category: str, pool: Sequence[Sample], shots: int, seed: int) -> list[Sample]:
    if len(pool) < shots:
        raise ValueError(
            f"k_shot={shots} needs as many normal images of each category, but {category} has {len(pool)}: choose a "
            "smaller k_shot, or leave the category out (dataset.categories=[…])"
        )
    order = np.random.default_rng([seed, zlib.crc32(category.encode())]).permutation(len(pool))
    return [pool[i] for i in order[:shots]]


def _by_category(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.category, []).append(sample)
    return groups


def _remark(shots: int, seed: int, untested: Sequence[str]) -> str:
    images = "1 normal image" if shots == 1 else f"{shots} normal images"
    drawn = f"{shots}-shot, not zero-shot: {images} of each category, drawn with seed {seed}, served as references"
    if not untested:
        return drawn
    return f"{drawn}; those of {', '.join(untested)} come from the tested images, which are tested without them"
