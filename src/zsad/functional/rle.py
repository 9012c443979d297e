"""Masks as the lengths of their runs, which take a thousandth of the memory.

Legend: h × w pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from zsad.types import RunLengths


def encode(mask: Bool[Tensor, "h w"]) -> RunLengths:
    """Return the runs of a mask on the CPU: COCO's uncompressed RLE.

    Runs go column by column and begin with ``False``.

    >>> encode(torch.tensor([[True, False], [True, True]])).counts.tolist()
    [0, 2, 1, 1]
    """
    height, width = mask.shape
    flat = mask.cpu().T.flatten().numpy()  # NumPy finds and repeats several times faster than torch
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    empty_run = [0] if flat[:1].any() else []
    borders = np.concatenate([empty_run, [0], changes, [len(flat)]])
    counts = np.diff(borders.astype(np.int64))
    return RunLengths((height, width), torch.from_numpy(counts))


def decode(runs: RunLengths) -> Bool[Tensor, "h w"]:
    """Return the mask that ``encode`` was given.

    Raises:
        ValueError: If the runs are not as long as the mask has pixels.
    """
    height, width = runs.size
    total = int(runs.counts.sum())
    if total != height * width:
        raise ValueError(f"runs of {total} pixels in all, but the mask has {height} x {width}")
    is_inside = np.arange(len(runs.counts)) % 2 == 1
    flat = torch.from_numpy(np.repeat(is_inside, runs.counts.numpy()))
    return flat.view(width, height).T.contiguous()


def area(runs: RunLengths) -> int:
    """Return the number of pixels of the mask."""
    return int(runs.counts[1::2].sum())
