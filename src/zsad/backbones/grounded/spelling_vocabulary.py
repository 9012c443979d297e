"""A BERT vocabulary that spells words letter by letter, for detectors with random weights."""

from __future__ import annotations

import string
from collections.abc import Sequence

# Numbers of BERT's own vocabulary that the detector's code knows.
BERT_IDS = {
    "[PAD]": 0,
    "[UNK]": 100,
    "[CLS]": 101,
    "[SEP]": 102,
    "[MASK]": 103,
    ".": 1012,
    "?": 1029,
}


def spelling_vocabulary(words: Sequence[str]) -> dict[str, int]:
    """Return a BERT vocabulary of some words, with the special tokens at BERT's own numbers.

    All other words are spelled. Numbers that nothing uses get a placeholder, so that there is no
    gap.
    """
    letters = string.ascii_lowercase + string.digits
    continuations = [f"##{letter}" for letter in letters]
    vocabulary = dict(BERT_IDS)
    taken = set(BERT_IDS.values())
    number = 0
    for token in [*string.punctuation, *letters, *continuations, *words]:
        if token in vocabulary:
            continue
        while number in taken:
            number += 1
        vocabulary[token] = number
        taken.add(number)
    for unused in range(max(taken)):
        if unused not in taken:
            vocabulary[f"[unused{unused}]"] = unused
    return vocabulary
