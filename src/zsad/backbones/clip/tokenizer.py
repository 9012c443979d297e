"""Tokenisation of texts for CLIP: OpenAI's byte-pair encoding."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import regex
import torch
from jaxtyping import Int
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

CONTEXT_LENGTH = 77
START, END, PADDING = 49406, 49407, 0

# OpenAI's spelling of the two special tokens; open_clip reads "<start_of_text>" instead, so a text
# holding the original spelling would become other ids than the published codes feed their models.
_SPECIAL = {"<|startoftext|>": START, "<|endoftext|>": END}
_PIECES = (
    r"<\|startoftext\|>|<\|endoftext\|>"
    r"|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


@functools.cache
def _encoder() -> SimpleTokenizer:
    encoder = SimpleTokenizer()
    encoder.encoder.update(_SPECIAL)
    encoder.cache = {token: token for token in _SPECIAL}
    encoder.pat = regex.compile(_PIECES, regex.IGNORECASE)
    return encoder


def tokenize(
    texts: Sequence[str], *, context_length: int = CONTEXT_LENGTH, truncate: bool = False
) -> Int[Tensor, "n t"]:
    """Encode sentences as rows of token ids: start, text, end, then padding.

    Curly quotes, mojibake, HTML entities and full-width letters are straightened first, and letters
    are lowered.

    Args:
        texts: The n sentences.
        context_length: Row length t; 77 for every OpenAI CLIP.
        truncate: Cut sentences that are too long (the last id becomes the end token) instead of
            raising.

    Raises:
        ValueError: If a sentence does not fit and ``truncate`` is off.

    >>> tokenize(["damaged object"], context_length=6).tolist()
    [[49406, 13568, 14115, 49407, 0, 0]]
    """
    rows = torch.full((len(texts), context_length), PADDING, dtype=torch.long)
    for row, text in zip(rows, texts, strict=True):
        ids = [START, *_encoder().encode(text), END]
        if len(ids) > context_length:
            if not truncate:
                raise ValueError(
                    f"a text of {len(ids)} tokens does not fit the {context_length} of this text "
                    f"tower: {text[:80]!r}. Shorten it, or pass truncate=True to cut it."
                )
            ids = [*ids[: context_length - 1], END]
        row[: len(ids)] = torch.tensor(ids)
    return rows
