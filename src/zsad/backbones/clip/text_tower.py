"""CLIP's text tower on embeddings instead of token ids, so that some of them can be learned.

Legend: n texts, T tokens, D text width, E joint width, k learned tokens of a block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def encode_embedded_text(
    model: Any,
    embedded: Float[Tensor, "n t d"],
    end: Int[Tensor, " n"],
    deep: Sequence[Float[Tensor, "n k d"]],
) -> Float[Tensor, "n e"]:
    """Run the text tower on embedded sentences; each end token's output is the sentence's vector.

    The tower reads only the positions up to the last end token: under a causal mask the later
    positions cannot matter.

    Args:
        model: An ``open_clip.CLIP``.
        embedded: Token embeddings, without positions.
        end: Position of each end token.
        deep: Learned tokens for the blocks from the second on; each replaces rows 1..k of that
            block's input.
    """
    length = int(end.max()) + 1
    x = embedded[:, :length] + model.positional_embedding[:length]
    square = (length, length)
    causal = torch.full(square, -math.inf, device=x.device, dtype=x.dtype).triu(1)
    for index, block in enumerate(model.transformer.resblocks):
        if 1 <= index <= len(deep):
            prompt = deep[index - 1].to(x.dtype)
            start = x[:, :1]
            rest = x[:, 1 + prompt.shape[1] :]
            x = torch.cat([start, prompt, rest], dim=1)
        x = block(x, attn_mask=causal)
    every_text = torch.arange(len(x), device=x.device)
    ends = x[every_text, end]  # (n, T, D) -> (n, D)
    normed = model.ln_final(ends)
    projection = model.text_projection
    if isinstance(projection, nn.Linear):
        return projection(normed)
    return normed @ projection
