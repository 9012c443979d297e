"""Windows over a grid of patches: their patches, and maps from scores of windows.

Legend: h × w patches, N = h·w, k × k patches in a window, W windows row by row of their upper left
corner.

Source: WinCLIP (CVPR 2023), window-based zero-shot segmentation and its few-shot extension.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def window_indices(grid: tuple[int, int], size: int, stride: int = 1) -> Int[Tensor, "windows kk"]:
    """Return the patches of every k × k window, without padding, counted row by row from 0.

    Args:
        grid: Rows and columns of patches.
        size: k, in patches.
        stride: Patches between neighbouring windows.

    Raises:
        ValueError: If no window of this size fits into the grid.
    """
    rows, columns = grid
    if not 1 <= size <= min(grid) or stride < 1:
        raise ValueError(
            f"windows of {size} × {size} patches every {stride} patches do not fit into a grid of "
            f"{rows} × {columns}: choose smaller scales, or a larger image_size"
        )
    patches = torch.arange(rows * columns).view(rows, columns)
    windows = patches.unfold(0, size, stride).unfold(1, size, stride)  # (r, c, k, k)
    return windows.flatten(2).flatten(0, 1)  # (W, k·k)


def harmonic_map(
    scores: Float[Tensor, "b windows"], grid: tuple[int, int], size: int, stride: int = 1
) -> Float[Tensor, "b h w"]:
    """Give each patch the harmonic mean of the scores of the windows that hold it.

    One low window keeps its patches low. A score of 0 makes them 0; so are patches of no window.

    Args:
        scores: Scores of the windows in the order of ``window_indices``, 0 or more.
        grid: Rows and columns of patches.
        size: k, in patches.
        stride: Patches between neighbouring windows.
    """

    def spread(values: Tensor) -> Tensor:
        """Add the value of each window to all its patches."""
        columns = values[:, None].expand(-1, size * size, -1)  # (B, W) -> (B, k·k, W)
        return F.fold(columns, grid, size, stride=stride)[:, 0]  # (B, h, w)

    windows_per_patch = spread(torch.ones_like(scores[:1]))
    means = windows_per_patch / spread(scores.reciprocal())  # n / inf = 0
    return torch.where(windows_per_patch > 0, means, 0)


def harmonic_mean(maps: Float[Tensor, "levels b h w"]) -> Float[Tensor, "b h w"]:
    """Return the harmonic mean of maps of values of 0 or more; 0 where one of them is 0."""
    return len(maps) / maps.reciprocal().sum(dim=0)


def association(
    features: Float[Tensor, "n e"], memory: Float[Tensor, "m e"], rows_at_once: int = 4096
) -> Float[Tensor, " n"]:
    """Return half the smallest cosine distance of each feature to a memory, in [0, 1].

    Never below 0, where rounding would take a perfect match: a harmonic mean over mixed signs has
    no bound.

    Args:
        features: Patches or windows of an image, of any length.
        memory: The same of normal references, from all places of all of them.
        rows_at_once: Rows of the memory compared at a time; bounds the memory, changes nothing.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = F.normalize(features.float(), dim=-1)
        memory = F.normalize(memory.float(), dim=-1)
        nearest = []
        for rows in memory.split(rows_at_once):
            similarity = features @ rows.T
            nearest.append(similarity.amax(dim=1))
        best = torch.stack(nearest).amax(dim=0)
        return ((1 - best) / 2).clamp(min=0)
