"""Boxes and masks of a detector and a segmenter, and the map that they make.

Legend: n boxes, m masks of h × w pixels. Boxes are corners x0, y0, x1, y1 in pixels unless said
otherwise; nothing clamps them to the image.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def to_corners(boxes_cxcywh: Float[Tensor, "n 4"], height: int, width: int) -> Float[Tensor, "n 4"]:
    """Turn boxes given by centre, width and height, as shares of the image, into corners in pixels.

    >>> to_corners(torch.tensor([[0.5, 0.5, 0.2, 1.0]]), height=10, width=20).tolist()
    [[8.0, 0.0, 12.0, 10.0]]
    """
    boxes = boxes_cxcywh * boxes_cxcywh.new_tensor([width, height, width, height])
    sides = boxes[:, 2:]
    first = boxes[:, :2] - sides / 2
    return torch.cat([first, first + sides], dim=1)


def area(boxes_cxcywh: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    """Return width times height: of relative boxes, the share of the image that each covers."""
    return boxes_cxcywh[:, 2] * boxes_cxcywh[:, 3]


def suppress_overlaps(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], iou_threshold: float
) -> Int64[Tensor, " k"]:
    """Return the boxes that remain after greedy non-maximum suppression, best first.

    A box goes if its IoU with a better box that remains is *greater* than the threshold. Equal
    scores keep the order they came in. Computed on the CPU in float32, the same on every device.
    """
    from torchvision.ops import nms

    # An IoU at the threshold stays: in float64, as nms compares, 0.3 is below float32's 3/10.
    threshold = torch.tensor(iou_threshold, dtype=torch.float32).item()
    remaining = nms(boxes.float().cpu(), scores.float().cpu(), threshold)
    return remaining.to(scores.device)


def means_inside(values: Float[Tensor, "h w"], masks: Bool[Tensor, "m h w"]) -> Float[Tensor, " m"]:
    """Return the mean of a map over the pixels of each mask; 0 for an empty mask.

    Summed in float64 (where there is one), mask by mask: the same however many masks come at once.
    """
    exact = values.to(_widest(values.device))
    means = values.new_zeros(len(masks))
    for number, window in enumerate(_windows(masks)):
        mask = masks[number][window]
        total = exact[window].where(mask, 0).sum()
        means[number] = total / mask.count_nonzero().clamp(min=1)
    return means


def _windows(masks: Tensor) -> list[tuple[slice, slice]]:
    """Return the rows and columns that each mask keeps to: most are small."""
    levels = masks.view(torch.uint8)  # twenty times as fast as any() of bool
    rows = levels.amax(dim=2).cpu()
    columns = levels.amax(dim=1).cpu()
    return [(_extent(row), _extent(column)) for row, column in zip(rows, columns, strict=True)]


def _extent(is_used: Tensor) -> slice:
    used = is_used.nonzero()[:, 0]
    if not len(used):
        return slice(0, 0)
    return slice(int(used[0]), int(used[-1]) + 1)


class MaskFusion:
    """Sums of weighted masks of an image, added as they come: hundreds never lie in memory at once.

    All maps are float64 (float32 on Apple's GPUs) and do not depend on how the masks were divided.

    Args:
        size: Height and width of the masks.
        device: Device of the masks.
    """

    def __init__(self, size: tuple[int, int], device: torch.device | str = "cpu") -> None:
        dtype = _widest(torch.device(device))
        self._sum = torch.zeros(size, dtype=dtype, device=device)
        self._highest = torch.zeros(size, dtype=dtype, device=device)
        self._count = torch.zeros(size, dtype=torch.int32, device=device)

    def add(self, masks: Bool[Tensor, "m h w"], weights: Float[Tensor, " m"]) -> None:
        """Add masks, each with its weight, 0 or more."""
        weights = weights.to(self._sum)
        for number, window in enumerate(_windows(masks)):
            mask = masks[number][window]
            weighted = mask * weights[number]
            self._sum[window] += weighted
            highest = self._highest[window]
            self._highest[window] = torch.maximum(highest, weighted)
            self._count[window] += mask

    def code(self) -> Float[Tensor, "h w"]:
        """Return Σ m r / (1 + Σ m): of a single mask half its weight. Source: the code of SAA+."""
        return self._sum / (1 + self._count)

    def paper(self) -> Float[Tensor, "h w"]:
        """Return Σ m r / Σ m, the mean weight at a pixel; 0 without masks. Source: SAA+, paper."""
        return self._sum / self._count.clamp(min=1)

    def total(self) -> Float[Tensor, "h w"]:
        """Return Σ m r, which duplicates raise. Source: DOT-Prompt."""
        return self._sum.clone()

    def peak(self) -> Float[Tensor, "h w"]:
        """Return the largest weight of the masks at a pixel; 0 without masks."""
        return self._highest.clone()


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
