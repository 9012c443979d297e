"""Learnable, object-agnostic prompts: two sentences that begin with learned vectors.

Legend: c context tokens, k deep tokens, D text width, E joint width. Row 0 is normal, row 1 is
anomalous.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.tokenizer import tokenize
from zsad.prompts.rewording import copy_sharing_weights

PLACEHOLDER = "X"  # one token; its embedding is replaced by a learned vector
OBJECT = "object"  # the noun of the learned contexts
BLANK = "{}"
INIT_STD = 0.02


class ObjectAgnosticPrompts(nn.Module):
    """``[v1] … [vc] object.`` and ``[w1] … [wc] damaged object.``, with learned deep tokens.

    Nothing in them names the object, so prompts learned on one set of objects serve on others. With
    the published numbers and a text width of 768 these are 43,008 parameters.

    Args:
        text_width: D.
        context_tokens: c, learned vectors in front of each sentence.
        deep_tokens: k, learned tokens that each deeper text block receives in rows 1..k. Both
            sentences share them.
        deep_blocks: Text blocks with learned tokens, the first (the context itself) included; 1 for
            the context alone, and then ``deep_tokens`` means nothing.
        normal: The sentence after the context, without full stop.
        anomalous: Its counterpart.
        round_deep_to_half: Round the deep tokens, and each sentence's gradient of them, to float16
            on their way, as the published code does. Needed to reproduce it to the last digits.

    Raises:
        ValueError: If the deep tokens do not fit into the context rows that they replace, or no
            block is left.

    Source: AnomalyCLIP (ICLR 2024), object-agnostic prompt templates and textual prompt tuning.
    """

    tokens: Tensor

    def __init__(
        self,
        text_width: int,
        *,
        context_tokens: int = 12,
        deep_tokens: int = 4,
        deep_blocks: int = 9,
        normal: str = "object",
        anomalous: str = "damaged object",
        round_deep_to_half: bool = True,
    ) -> None:
        super().__init__()
        if deep_blocks < 1:
            raise ValueError(f"deep_blocks={deep_blocks}: expected 1 (the context alone) or more")
        if deep_blocks == 1:
            # One shape for "no deep prompts", that of published files, which do not tell k.
            deep_tokens = 0
        if deep_tokens > context_tokens:
            raise ValueError(
                f"deep_tokens={deep_tokens} would overwrite more than the "
                f"context_tokens={context_tokens}"
            )
        self.normal = _random(context_tokens, text_width)
        self.anomalous = _random(context_tokens, text_width)
        self.deep = _random(deep_blocks - 1, deep_tokens, text_width)
        self.round_deep_to_half = round_deep_to_half
        self.register_buffer("tokens", torch.zeros(0), persistent=False)
        self._set_words(normal, anomalous)

    def with_words(self, words: Mapping[str, str]) -> ObjectAgnosticPrompts:
        """Return prompts with the same learned tokens and other words after the context.

        Args:
            words: For ``normal``, ``anomalous`` or both a phrase without full stop; ``{}`` in it
                stands for the word *object*.
        """
        reworded = copy_sharing_weights(self)
        kept_normal, kept_anomalous = self.words
        normal = words.get("normal", kept_normal).replace(BLANK, OBJECT)
        anomalous = words.get("anomalous", kept_anomalous).replace(BLANK, OBJECT)
        reworded._set_words(normal, anomalous)
        return reworded

    def _set_words(self, normal: str, anomalous: str) -> None:
        self.words = (normal, anomalous)
        context = " ".join([PLACEHOLDER] * len(self.normal))
        tokens = tokenize([f"{context} {words}." for words in self.words])
        self.tokens = tokens.to(self.tokens.device)

    def embed(self, backbone: CLIP) -> Float[Tensor, "2 t d"]:
        """Return the token embeddings of both sentences, the learned context in its place."""
        embedded = backbone.embed_tokens(self.tokens)
        context = torch.stack([self.normal, self.anomalous]).to(embedded.dtype)
        start = embedded[:, :1]
        words = embedded[:, 1 + context.shape[1] :]
        return torch.cat([start, context, words], dim=1)

    def forward(self, backbone: CLIP) -> Float[Tensor, "2 e"]:
        """Return the text features of both sentences, not of unit length."""
        deep = self.deep[:, None].expand(-1, 2, -1, -1)  # (blocks, k, D) -> (blocks, 2, k, D)
        if self.round_deep_to_half:
            # Expanded before rounding: the gradients of the two sentences are rounded one by one,
            # then added.
            deep = deep.half().float()
        end_of_text = self.tokens.argmax(dim=-1)
        return backbone.encode_prompts(self.embed(backbone), end_of_text, tuple(deep))


def _random(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * INIT_STD)
