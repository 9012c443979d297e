"""Leakage: tested images that were trained on, found by their fingerprints.

Legend: n training images, m tested images, k words of 64 bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from zsad.data.fingerprints import Fingerprints

NEAR_BITS = 16  # of 256: copies differ by less, different images of one product by more
_CHUNK_PAIRS = 1_000_000  # about 10 MB at a time
_MAX_EXAMPLES = 3
_SHOWN_PATH_PARTS = 3  # enough to find a file below the dataset's root
_SHOWN_CATEGORIES = 5


@dataclass(frozen=True, slots=True)
class Overlap:
    """Overlap of the tested images with the training images.

    Attributes:
        tested: Number of tested images.
        duplicates: Number of them that equal, byte by byte, a training image.
        near_duplicates: Number of further ones that look like a training image: saved again,
            resized, or without colour.
        categories: Names that occur on both sides, as the tested side writes them.
        examples: A few paths of the images that ``duplicates`` and ``near_duplicates`` count.
    """

    tested: int
    duplicates: int
    near_duplicates: int
    categories: tuple[str, ...]
    examples: tuple[str, ...] = ()

    @property
    def is_zero_shot(self) -> bool:
        """Whether no tested image was trained on; a shared category name does not contradict it."""
        return self.duplicates + self.near_duplicates == 0

    def sentences(self) -> list[str]:
        """Return warnings for a reader of the results; none where nothing is shared."""
        warnings: list[str] = []
        examples = self._examples_text()
        if self.duplicates:
            warnings.append(
                f"not zero-shot: {self.duplicates} of {self.tested} tested images were learned "
                f"from{examples}"
            )
            examples = ""
        if self.near_duplicates:
            warnings.append(
                f"not zero-shot: {self.near_duplicates} of {self.tested} tested images look like "
                f"copies of images that were learned from{examples}"
            )
        if self.categories:
            names = _list_names(self.categories)
            distinct = "; their images are others" if self.is_zero_shot else ""
            warnings.append(f"categories of the same name were learned: {names}{distinct}")
        return warnings

    def _examples_text(self) -> str:
        if not self.examples:
            return ""
        shown: list[str] = []
        for path in self.examples:
            last_parts = Path(path).parts[-_SHOWN_PATH_PARTS:]
            shown.append(Path(*last_parts).as_posix())
        return f" (such as {', '.join(shown)})"


def find_overlap(learned: Fingerprints, tested: Fingerprints) -> Overlap:
    """Compare tested images with training images."""
    is_duplicate = np.isin(tested.content, learned.content)
    is_near = _has_near_hash(tested.perceptual_hash, learned.perceptual_hash) & ~is_duplicate
    examples: list[str] = []
    if tested.paths:
        shared = [*np.flatnonzero(is_duplicate), *np.flatnonzero(is_near)]
        examples = [tested.paths[i] for i in shared[:_MAX_EXAMPLES]]
    learned_names = {_normalise_name(name) for name in learned.categories}
    categories = [name for name in tested.categories if _normalise_name(name) in learned_names]
    return Overlap(
        tested=len(tested),
        duplicates=int(is_duplicate.sum()),
        near_duplicates=int(is_near.sum()),
        categories=tuple(categories),
        examples=tuple(examples),
    )


def _has_near_hash(
    tested: Int64[np.ndarray, "m k"], learned: Int64[np.ndarray, "n k"]
) -> Bool[np.ndarray, " m"]:
    """Return whether each row has a near row on the other side; rows of zeros have none.

    Rows are near if at most ``NEAR_BITS`` bits differ.
    """
    has_near = np.zeros(len(tested), dtype=bool)
    # Unsigned: numpy counts the bits of absolute values.
    others = learned[learned.any(axis=1)].view(np.uint64)
    rows = np.flatnonzero(tested.any(axis=1))
    step = max(1, _CHUNK_PAIRS // max(1, len(others)))
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        words = tested[chunk].view(np.uint64)
        # The first word alone rules out nearly every pair.
        first_words = words[:, None, 0]
        first_word_bits = np.bitwise_count(first_words ^ others[None, :, 0])
        i, j = np.nonzero(first_word_bits <= NEAR_BITS)
        word_bits = np.bitwise_count(words[i] ^ others[j])
        is_near = word_bits.sum(axis=1) <= NEAR_BITS
        has_near[chunk[i[is_near]]] = True
    return has_near


def _normalise_name(name: str) -> str:
    """Write ``Metal_Nut`` and ``metal-nut`` as ``metal nut``."""
    return " ".join(re.split(r"[\s_-]+", name.strip().casefold()))


def _list_names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN_CATEGORIES])
    more = len(names) - _SHOWN_CATEGORIES
    return f"{shown} and {more} more" if more > 0 else shown
