"""The box filter of SAA and DOT-Prompt: from a detector's answer to the boxes that count.

Legend: q queries of the detector, t token columns, l tokens of the caption, n boxes that are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zsad.backbones.grounded.grounding import Grounding
from zsad.functional import regions

_SPECIAL = ("[CLS]", "[SEP]", "[PAD]")


@dataclass(frozen=True, slots=True)
class BoxCandidates:
    """Boxes of an image that passed a filter.

    Attributes:
        boxes: (n, 4) centre x, centre y, width, height; relative to the image.
        scores: (n,) the best token score of each.
        phrases: The tokens that each fits, as the tokenizer writes them; ``[CLS]`` and ``[SEP]``
            may be among them.
    """

    boxes: Tensor
    scores: Tensor
    phrases: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.phrases)

    @property
    def areas(self) -> Float[Tensor, " n"]:
        """Width times height of each, as a share of the image."""
        return regions.area(self.boxes)

    def corners(self, size: tuple[int, int]) -> Float[Tensor, "n 4"]:
        """Return x0, y0, x1, y1 in pixels of an image of (height, width), not clamped to it."""
        height, width = size
        return regions.to_corners(self.boxes, height, width)

    def select(self, rows: Int[Tensor, " k"]) -> BoxCandidates:
        """Return some of the boxes, in the order of their numbers in ``rows``."""
        phrases = tuple(self.phrases[row] for row in rows.tolist())
        return BoxCandidates(self.boxes[rows], self.scores[rows], phrases)


def check_range(least: float | int = 0, most: float | int = math.inf, **settings: Any) -> None:
    """Refuse settings that are no numbers, or outside of a range; its ends belong to it.

    >>> check_range(0, 1, box_threshold="high")
    Traceback (most recent call last):
        ...
    ValueError: box_threshold='high': expected a number from 0 to 1

    Raises:
        ValueError: For the first setting that is refused.
    """
    expected = f"of {least} or more" if most == math.inf else f"from {least} to {most}"
    for name, value in settings.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            raise ValueError(f"{name}={value!r}: expected a number {expected}")


def require_verb(backbone: object, verb: str, choices: str) -> None:
    """Refuse a backbone of another kind, before its first use.

    Raises:
        ValueError: If it lacks the verb; the message names backbones that have it.
    """
    if not hasattr(backbone, verb):
        raise ValueError(
            f"backbone: got {type(backbone).__name__}, expected one with {verb}(): {choices}"
        )


def filter_boxes(
    grounding: Grounding,
    *,
    box_threshold: float,
    text_threshold: float,
    max_area: float = math.inf,
    min_area: float = 0.0,
    filter_word: str | None = None,
) -> BoxCandidates:
    """Return the boxes that are certain enough, of the right size, and not of the background.

    All comparisons are strict, in the precision of the scores.

    Args:
        grounding: The detector's answer to a caption.
        box_threshold: A box is kept whose best token score is above it.
        text_threshold: Tokens whose score is above it make up the phrase of a box.
        max_area: A box is kept whose area, as a share of the image, is below it ...
        min_area: ... and above this.
        filter_word: A box is dropped whose phrase contains it, as a part of a word too.

    Raises:
        ValueError: If the detector was asked to leave out boxes that this threshold would keep.

    Source: SAA+, arXiv 2305.10724, property prompts; the published code for the details.
    """
    if box_threshold < grounding.min_score:
        raise ValueError(
            f"box_threshold={box_threshold}, but the detector was asked to leave out boxes below "
            f"{grounding.min_score}: raise box_threshold, or lower backbone.cache_min_score"
        )
    scores = grounding.token_scores.amax(dim=1)
    areas = regions.area(grounding.boxes)
    is_kept = (scores > box_threshold) & (areas < max_area) & (areas > min_area)
    rows = is_kept.nonzero()[:, 0]
    phrases = _phrases(grounding, grounding.token_scores[rows] > text_threshold)
    candidates = BoxCandidates(grounding.boxes[rows], scores[rows], tuple(phrases))
    if filter_word is None:
        return candidates
    wanted = [number for number, phrase in enumerate(phrases) if filter_word not in phrase]
    return candidates.select(torch.tensor(wanted, dtype=torch.long, device=rows.device))


def _phrases(grounding: Grounding, fits: Bool[Tensor, "n t"]) -> list[str]:
    """Decode the tokens of each box; boxes that fit the same tokens share one decoding."""
    token_ids: list[int] = grounding.token_ids.tolist()
    known: dict[tuple[bool, ...], str] = {}
    phrases = []
    for row in fits[:, : len(token_ids)].tolist():
        key = tuple(row)
        if key not in known:
            fitting = [token for token, is_fit in zip(token_ids, row, strict=True) if is_fit]
            known[key] = grounding.decode(fitting)
        phrases.append(known[key])
    return phrases


def join(parts: Sequence[BoxCandidates]) -> BoxCandidates:
    """Return the boxes of several captions together, caption by caption; duplicates stay.

    Raises:
        ValueError: If there is no part at all.
    """
    if not parts:
        raise ValueError("no captions, so there is nothing to join: expected one or more")
    boxes = torch.cat([part.boxes for part in parts])
    scores = torch.cat([part.scores for part in parts])
    phrases: list[str] = []
    for part in parts:
        phrases.extend(part.phrases)
    return BoxCandidates(boxes, scores, tuple(phrases))


def without_duplicates(found: BoxCandidates, iou_threshold: float | None) -> BoxCandidates:
    """Drop each box that overlaps a box of a higher score by more than ``iou_threshold``.

    The others keep their order; ``None`` drops nothing.
    """
    if iou_threshold is None or not len(found):
        return found
    remaining = regions.suppress_overlaps(found.corners((1, 1)), found.scores, iou_threshold)
    return found.select(remaining.sort().values)


def clean_phrase(phrase: str) -> str:
    """Return a phrase without the marks of the text encoder and the ends of sentences.

    >>> clean_phrase("[CLS] defect on. [SEP]"), clean_phrase("printed _ circuit _ board")
    ('defect on', 'printed_circuit_board')
    """
    for mark in _SPECIAL:
        phrase = phrase.replace(mark, " ")
    joined = phrase.replace(" _ ", "_").replace(".", " ").replace("##", "")
    return " ".join(joined.split())
