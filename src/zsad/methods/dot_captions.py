"""Captions of DOT-Prompt: the object of an image, and the question to the detector about it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from zsad.backbones.grounded.grounding import Grounding
from zsad.backbones.grounded.grounding_dino import normalize_caption
from zsad.prompts.defect_vocabulary import Words

# For each separator the beginning of a caption, and the text between its words.
SEPARATORS = {".": ("", ". "), ",": (" . ", ", ")}


@runtime_checkable
class Tagger(Protocol):
    """Names the things in an image."""

    def tags(self, image: Tensor, category: str) -> list[str]:
        """Return words, in order."""
        ...


@runtime_checkable
class Language(Protocol):
    """Names the possible defects of an object."""

    def words(self, tag: str, category: str = "") -> Words:
        """Return words to look for."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """The object of images, and the caption for its defects.

    Attributes:
        tag: Name of the object.
        caption: Question to the detector.
        source: Origin of the caption's words: ``table``, or a language model.
    """

    tag: str
    caption: str
    source: str


def make_caption(words: Sequence[str], tag: str | None, separator: str) -> str:
    """Return the question to the detector.

    Args:
        words: Names of defects.
        tag: Name of the object, which comes last; ``None`` leaves it out.
        separator: ``.`` or ``,``.

    >>> make_caption(["scratch", "dent"], "metal nut", ".")
    'scratch. dent. metal nut.'
    """
    before, between = SEPARATORS[separator]
    if tag is None:
        return normalize_caption(between.join(words))
    unique = dict.fromkeys([*words, tag])
    return normalize_caption(before + between.join(unique))


def best_tag(grounding: Grounding, tags: Sequence[str]) -> str:
    """Return the tag of the token that fits the best box best.

    The published code takes the phrase of the box, which may be half a tag, or several, or a full
    stop.
    """
    best_row = grounding.token_scores.amax(dim=1).argsort(descending=True, stable=True)[0]
    token_ids = grounding.token_ids.tolist()
    scores = grounding.token_scores[best_row][: len(token_ids)].tolist()
    pieces = []
    for token in token_ids:
        text = re.sub(r"\[\w+\]|[\W_]", "", grounding.decode([token]))
        pieces.append(text.lower())

    def fit(tag: str) -> float:
        words = tag.lower().split()
        return math.fsum(
            score for score, piece in zip(scores, pieces, strict=True) if piece in words
        )

    for column in sorted(range(len(token_ids)), key=scores.__getitem__, reverse=True):
        piece = pieces[column]
        fitting = [tag for tag in tags if piece and piece in tag.lower()]
        if fitting:
            return max(fitting, key=fit)  # one word may stand in several tags
    return tags[0]
