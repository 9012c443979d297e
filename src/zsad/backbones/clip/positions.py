"""Position table of CLIP's image tower, interpolated to images of other sizes.

Legend: N and M patches of the native and of another grid, V vision width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resize_positions(
    table: Float[Tensor, "one_plus_n v"], native: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "one_plus_m v"]:
    """Interpolate a position table to another grid; the class token's row is kept.

    Bilinear without antialiasing, as the published AnomalyCLIP and DHR-CLIP codes do. Unlike
    theirs, the table itself is left alone, so the order of the sizes does not matter.
    """
    if native == grid:
        return table
    of_class_token = table[:1]
    of_patches = table[1:].unflatten(0, native).permute(2, 0, 1)  # (N, V) -> (V, h, w)
    resized = F.interpolate(
        of_patches[None].float(), size=grid, mode="bilinear", align_corners=False
    )
    rows = resized[0].flatten(1).T  # (V, h, w) -> (M, V)
    return torch.cat([of_class_token, rows.to(table.dtype)])
