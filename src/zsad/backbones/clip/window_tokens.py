"""Class tokens of windows: a pass of the image tower over the class token and a window's patches.

The tokens that a window does not hold are taken out, not masked. Attention over the few that stay
is exactly attention over all of them under a mask, and everything else in a block works on single
tokens; but a masked pass would carry all 1 + N tokens through every block for each window (226
instead of 5 or 10 on a grid of 15 × 15).

Legend: B images, N patches, W windows of k patches, V vision width, h heads.

Source: WinCLIP (CVPR 2023), window embeddings.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from zsad.backbones.clip.value_attention import dual_block, merge_heads, split_heads


def class_tokens_of_windows(
    visual: Any,
    tokens: Float[Tensor, "b one_plus_n v"],
    indices: list[Int[Tensor, "_ _"]],
    tokens_at_once: int,
) -> list[Float[Tensor, "b _ v"]]:
    """Return the class token of each window's own pass, before the final layer norm, by scale.

    Args:
        visual: An open_clip ``VisionTransformer`` of OpenAI's structure.
        tokens: Class token and patches with their positions, after ``ln_pre``.
        indices: For each scale (W, k), the patches of the windows, counted from 0.
        tokens_at_once: About so many window tokens go through the blocks together; bounds the
            memory.
    """
    first = visual.transformer.resblocks[0]
    # Norm and projection of the first block work on single tokens: they run once for each token,
    # not once for each window that holds it.
    weight = first.attn.in_proj_weight
    projected = F.linear(first.ln_1(tokens), weight, first.attn.in_proj_bias)  # (B, 1 + N, 3 V)
    scales = []
    for index in indices:
        patches = index.to(tokens.device) + 1
        rows = F.pad(patches, (1, 0))  # the class token is row 0
        tokens_of_window = len(tokens) * rows.shape[1]
        windows_at_once = max(1, tokens_at_once // tokens_of_window)
        parts = []
        for part in rows.split(windows_at_once):
            parts.append(_run(visual, tokens, projected, part))
        scales.append(torch.cat(parts, dim=1))
    return scales


def _run(
    visual: Any, tokens: Tensor, projected: Tensor, rows: Int[Tensor, "w t"]
) -> Float[Tensor, "b w v"]:
    first, *others = visual.transformer.resblocks
    x = tokens[:, rows].flatten(0, 1)  # (B, W, T, V) -> (B·W, T, V)
    of_windows = projected[:, rows].flatten(0, 1)
    heads = first.attn.num_heads
    query, key, value = (split_heads(part, heads) for part in of_windows.chunk(3, dim=-1))
    attended = F.scaled_dot_product_attention(query, key, value)  # (B·W, h, T, V/h)
    attended = first.attn.out_proj(merge_heads(attended))
    x = x + first.ls_1(attended)
    normed = first.ln_2(x)
    x = x + first.ls_2(first.mlp(normed))
    for block in others:
        # After the last block only the class token is read.
        needed = 1 if block is others[-1] else None
        x, _ = dual_block(block, x, None, num_query_tokens=needed, with_value_path=False)
    class_tokens = x[:, 0]
    return class_tokens.unflatten(0, (len(tokens), len(rows)))
