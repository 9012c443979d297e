"""Value–value attention: a side path through a frozen CLIP tower that keeps patches local.

Ordinary attention compares queries with keys, and in CLIP's later blocks that pulls every patch
towards a few global tokens. Comparing the values with themselves keeps a patch close to patches
that look like it. The side path reads the ordinary stream, skips the MLP, and only accumulates.

Source: AnomalyCLIP (ICLR 2024), section "refinement of the local visual space", there called DPAM.

Legend: B images, T tokens (class token first), V width, h heads.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def split_heads(x: Float[Tensor, "b t v"], heads: int) -> Float[Tensor, "b h t d"]:
    """Give each head its own axis."""
    by_head = x.unflatten(-1, (heads, -1))  # (B, T, V) -> (B, T, h, V/h)
    return by_head.transpose(1, 2)


def merge_heads(x: Float[Tensor, "b h t d"]) -> Float[Tensor, "b t v"]:
    """Join the heads again."""
    return x.transpose(1, 2).flatten(2)  # (B, h, T, V/h) -> (B, T, V)


def dual_attention(
    attention: nn.MultiheadAttention,
    x: Float[Tensor, "b t v"],
    *,
    num_query_tokens: int | None,
    with_value_path: bool,
) -> tuple[Float[Tensor, "b r v"], Float[Tensor, "b t v"] | None]:
    """Return ordinary attention and, if asked, value–value attention of the same layer.

    Both share the projection to queries, keys and values, the scale 1/√d and the output
    projection.

    Args:
        attention: The frozen layer.
        x: Its normalised input.
        num_query_tokens: Number of needed rows of the ordinary output, counted from the class
            token; ``None`` for all.
        with_value_path: Whether to compute the second output at all.
    """
    query, key, value = _project(attention, x, num_query_tokens)
    attended = F.scaled_dot_product_attention(query, key, value)
    ordinary = attention.out_proj(merge_heads(attended))
    if not with_value_path:
        return ordinary, None
    attended = F.scaled_dot_product_attention(value, value, value)
    return ordinary, attention.out_proj(merge_heads(attended))


def _project(
    attention: nn.MultiheadAttention, x: Tensor, num_query_tokens: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values, (B, h, T, V/h) each."""
    width = attention.embed_dim
    heads = attention.num_heads
    weight = attention.in_proj_weight
    bias = attention.in_proj_bias
    if num_query_tokens is None:
        projected = F.linear(x, weight, bias)
        query, key, value = projected.chunk(3, dim=-1)
    else:  # no queries of rows that nobody reads
        needed = x[:, :num_query_tokens]
        query = F.linear(needed, weight[:width], bias[:width])
        keys_and_values = F.linear(x, weight[width:], bias[width:])
        key, value = keys_and_values.chunk(2, dim=-1)
    return split_heads(query, heads), split_heads(key, heads), split_heads(value, heads)


def dual_block(
    block: Any,
    ordinary: Float[Tensor, "b t v"],
    side: Float[Tensor, "b t v"] | None,
    *,
    num_query_tokens: int | None,
    with_value_path: bool,
) -> tuple[Float[Tensor, "b r v"], Float[Tensor, "b t v"] | None]:
    """Run one residual block on the ordinary stream and, beside it, on the value–value stream.

    The side path starts as the ordinary input of its first block, and has no MLP.

    Args:
        block: An open_clip ``ResidualAttentionBlock``.
        ordinary: The ordinary stream.
        side: The value–value stream so far, ``None`` before its first block.
        num_query_tokens: Number of needed rows of the ordinary output; ``None`` for all.
        with_value_path: Whether this block has the side path.
    """
    attended, value = dual_attention(
        block.attn,
        block.ln_1(ordinary),
        num_query_tokens=num_query_tokens,
        with_value_path=with_value_path,
    )
    if value is not None:
        start = ordinary if side is None else side
        side = start + block.ls_1(value)
    ordinary = ordinary[:, :num_query_tokens] + block.ls_1(attended)
    normed = block.ln_2(ordinary)
    ordinary = ordinary + block.ls_2(block.mlp(normed))
    return ordinary, side
