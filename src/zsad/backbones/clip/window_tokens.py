"""The image tower on windows: a pass of its own for the class token and the patches of every window.

The tokens that a window does not hold are taken out, not masked. Attention over the few that stay is exactly attention
over all of them under a mask, and everything else in a block works on single tokens; but a masked pass would carry all
1 + N tokens through every block for each window (226 instead of 5 or 10 on a grid of 15 × 15).

Legend: B images, N patches, W windows of k patches, V vision width, h heads.

Source: WinCLIP (CVPR 2023), window embeddings.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from zsad.backbones.clip.value_attention import dual_block


def class_tokens_of_windows(
    visual: Any,
    tokens: Float[Tensor, "b one_plus_n v"],
    indices: list[Int[Tensor, "_ _"]],
    tokens_at_once: int,
) -> list[Float[Tensor, "b _ v"]]:
    """Return the class token of each window's own pass, before the final layer norm, for each list of windows.

    Args:
        visual: An open_clip ``VisionTransformer`` of OpenAI's structure.
        tokens: Class token and patches with their positions, after ``ln_pre``.
        indices: For each scale (W, k), the patches of the windows, counted from 0.
        tokens_at_once: About so many window tokens go through the blocks together; bounds the memory.
    """
    attention = visual.transformer.resblocks[0].attn
    # The first block's norm and projection see single tokens: once for each token, not once for each window it is in.
    normed = visual.transformer.resblocks[0].ln_1(tokens)
    projected = F.linear(
        normed, attention.in_proj_weight, attention.in_proj_bias
    )  # (B, 1 + N, 3 V)
    scales = []
    for index in indices:
        rows = F.pad(index.to(tokens.device) + 1, (1, 0))  # the class token is row 0
        windows_at_once = max(1, tokens_at_once // (len(tokens) * rows.shape[1]))
        parts = [_run(visual, tokens, projected, part) for part in rows.split(windows_at_once)]
        scales.append(torch.cat(parts, dim=1))
    return scales


def _run(
    visual: Any, tokens: Tensor, projected: Tensor, rows: Int[Tensor, "w t"]
) -> Float[Tensor, "b w v"]:
    first, *others = visual.transformer.resblocks
    x, qkv = (
        part[:, rows].flatten(0, 1) for part in (tokens, projected)
    )  # (B, W, T, …) -> (B·W, T, …)
    heads = first.attn.num_heads
    query, key, value = (
        part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1)
    )
    attended = F.scaled_dot_product_attention(query, key, value)  # (B·W, h, T, V/h)
    x = x + first.ls_1(first.attn.out_proj(attended.transpose(1, 2).flatten(2)))
    x = x + first.ls_2(first.mlp(first.ln_2(x)))
    for block in others:
        # After the last block only the class token is read.
        x, _ = dual_block(
            block,
            x,
            None,
            num_query_tokens=1 if block is others[-1] else None,
            with_value_path=False,
        )
    return x[:, 0].unflatten(0, (len(tokens), len(rows)))
