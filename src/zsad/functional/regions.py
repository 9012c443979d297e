"""Boxes and masks that a detector and a segmenter found, and what becomes a map of them.

Legend: n boxes, m masks of h × w pixels. Boxes are corners x0, y0, x1, y1 in pixels unless said otherwise; nothing
clamps them to the image.
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
    first = boxes[:, :2] - boxes[:, 2:] / 2
    return torch.cat([first, first + boxes[:, 2:]], dim=1)


def area(boxes_cxcywh: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    """Return width times height: of boxes relative to the image, the share of it that each covers."""
    return boxes_cxcywh[:, 2] * boxes_cxcywh[:, 3]


def iou(first: Float[Tensor, "n 4"], second: Float[Tensor, "k 4"]) -> Float[Tensor, "n k"]:
    """Return the intersection of each pair of boxes over their union; 0 where the union is empty.

    >>> iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [2.0, 0.0, 3.0, 1.0]])).tolist()
    [[0.3333333432674408, 0.0]]
    """
    a, b = first[:, None], second[None]
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(
        min=0
    )
    shared = sides.prod(dim=-1)
    union = _corner_area(a) + _corner_area(b) - shared
    return shared / union.where(union > 0, 1)


def _corner_area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def suppress(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], iou_threshold: float
) -> Int64[Tensor, " k"]:
    """Greedy non-maximum suppression: which boxes remain, best first; equal scores keep the order they came in.

    A box goes if its IoU with a better one that remains is *greater* than the threshold.
    """
    order = scores.argsort(descending=True, stable=True).cpu()
    boxes, remains = boxes.cpu()[order], torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if remains[i]:
            remains[i + 1 :] &= iou(boxes[i : i + 1], boxes[i + 1 :])[0] <= iou_threshold
    return order[remains].to(scores.device)


def dilated(
    boxes: Float[Tensor, "n 4"], factor: float | Float[Tensor, " n"]
) -> Float[Tensor, "n 4"]:
    """Scale boxes about their centres, all alike or each by its own factor.

    >>> dilated(torch.tensor([[0.0, 0.0, 4.0, 2.0]]), 1.5).tolist()
    [[-1.0, -0.5, 5.0, 2.5]]
    """
    scale = torch.as_tensor(factor, dtype=boxes.dtype, device=boxes.device).view(-1, 1)
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * scale
    return torch.cat([centre - half, centre + half], dim=1)


def means_inside(values: Float[Tensor, "h w"], masks: Bool[Tensor, "m h w"]) -> Float[Tensor, " m"]:
    """Return the mean of a map over the pixels of each mask; 0 for an empty mask.

    Summed in float64 (where there is one), mask by mask: the same however many masks come at once.
    """
    exact = values.to(_widest(values.device))
    means = [
        _mean_inside(exact[window], mask[window])
        for mask, window in zip(masks, _windows(masks), strict=True)
    ]
    return torch.stack(means).to(values) if means else values.new_zeros(0)


def _mean_inside(values: Tensor, mask: Tensor) -> Tensor:
    return values.where(mask, 0).sum() / mask.count_nonzero().clamp(min=1)


def _windows(masks: Tensor) -> list[tuple[slice, slice]]:
    """Return the rows and columns that each mask keeps to: most are small, and the rest of the image is left alone."""
    levels = masks.view(torch.uint8)  # twenty times as fast as any() of bool
    rows, columns = (levels.amax(dim=axis).cpu() for axis in (2, 1))
    return [(_extent(row), _extent(column)) for row, column in zip(rows, columns, strict=True)]


def _extent(is_used: Tensor) -> slice:
    used = is_used.nonzero()[:, 0]
    return slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)


class MaskFusion:
    """Weighted masks of one image, added up as they come, so that hundreds never lie in memory at once.

    What it returns is float64 (float32 on Apple's GPUs) and does not depend on how the masks were divided.

    Args:
        size: Height and width of the masks.
        device: Where they are.
    """

    def __init__(self, size: tuple[int, int], device: torch.device | str = "cpu") -> None:
        dtype = _widest(torch.device(device))
        self._sum, self._highest = (torch.zeros(size, dtype=dtype, device=device) for _ in range(2))
        self._count = torch.zeros(size, dtype=torch.int32, device=device)

    def add(self, masks: Bool[Tensor, "m h w"], weights: Float[Tensor, " m"]) -> None:
        """Add masks, each with its weight, 0 or more."""
        for mask, weight, window in zip(masks, weights.to(self._sum), _windows(masks), strict=True):
            weighted = mask[window] * weight
            self._sum[window] += weighted
            self._highest[window] = torch.maximum(self._highest[window], weighted)
            self._count[window] += mask[window]

    def code(self) -> Float[Tensor, "h w"]:
        """Return Σ m r / (1 + Σ m): of one mask alone half its weight. Source: SAA+ as its code computes it."""
        return self._sum / (1 + self._count)

    def paper(self) -> Float[Tensor, "h w"]:
        """Return Σ m r / Σ m, the mean weight at a pixel; 0 where no mask is. Source: SAA+, the paper."""
        return self._sum / self._count.clamp(min=1)

    def total(self) -> Float[Tensor, "h w"]:
        """Return Σ m r, which duplicates raise. Source: DOT-Prompt."""
        return self._sum.clone()

    def peak(self) -> Float[Tensor, "h w"]:
        """Return the largest weight of the masks at a pixel; 0 where there is none."""
        return self._highest.clone()


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
