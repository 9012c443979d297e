"""Integer keys in the order of float32 numbers.

Keys are logarithmic towards 0, from both sides, and towards 1 from below, where probabilities
crowd.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from zsad.metrics.shapes import Keys

# The bits of 0.5, 1 and -0 as float32.
_HALF = 0x3F000000
_ONE = 0x3F800000
_SIGN = -0x80000000
_KEY_OF_ONE = 2 * _HALF


def keys_from_scores(scores: Float32[Tensor, " n"]) -> Keys:
    """Map float32 numbers to integers in the same order.

    A key is the number's bits, for negative numbers their negative. Between one half and one it
    counts the bits of 1 - x from above, which float32 holds without rounding.

    >>> keys_from_scores(torch.tensor([-1.0, -0.0, 0.0, 0.5, 0.75, 1.0])).tolist()
    [-1065353216, 0, 0, 1056964608, 1065353216, 2113929216]
    """
    bits = _bits(scores)
    folded = _KEY_OF_ONE - _bits(1 - scores)
    keys = torch.where(scores > 0.5, folded, bits)
    is_above_one = scores > 1
    if is_above_one.any():
        keys = torch.where(is_above_one, bits - _ONE + _KEY_OF_ONE, keys)
    is_negative = bits < 0
    if is_negative.any():
        keys = torch.where(is_negative, _SIGN - bits, keys)
    return keys


def scores_from_keys(keys: Int64[Tensor, " k"]) -> Float32[Tensor, " k"]:
    """Map keys back to their scores.

    >>> scores_from_keys(keys_from_scores(torch.tensor([-0.5, 0.25, 0.75, 1.5]))).tolist()
    [-0.5, 0.25, 0.75, 1.5]
    """
    is_above_one = keys > _KEY_OF_ONE
    is_folded = (keys > _HALF) & ~is_above_one
    bits = torch.where(is_above_one, keys - _KEY_OF_ONE + _ONE, keys.abs())
    bits = torch.where(is_folded, _KEY_OF_ONE - keys, bits)
    magnitudes = bits.int().view(torch.float32)
    signed = torch.where(keys < 0, -magnitudes, magnitudes)
    return torch.where(is_folded, 1 - magnitudes, signed)


def _bits(scores: Float32[Tensor, " n"]) -> Keys:
    return scores.contiguous().view(torch.int32).long()
