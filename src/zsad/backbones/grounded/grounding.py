"""Answer of a detector to a caption.

Legend: q queries, t token columns, l tokens of a caption.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Grounding:
    """Boxes and token scores of a detector for a caption, before any threshold.

    Attributes:
        boxes: (q, 4) float32, centre x, centre y, width and height relative to the image.
        token_scores: (q, t) float32 in [0, 1], how well each box fits each token; 0 on columns
            without a token.
        token_ids: (l,) int64, the tokens of the first l ≤ t columns.
        decode: From token ids to text.
        min_score: Boxes whose best score is not above it may have been left out; a lower threshold
            cannot be asked for.
    """

    boxes: Float[Tensor, "q 4"]
    token_scores: Float[Tensor, "q t"]
    token_ids: Int[Tensor, " l"]
    decode: Callable[[list[int]], str]
    min_score: float = 0.0
