"""AUPIMO: how much of each image's defects is found while almost nothing is called on normal images.

Legend: b maps of h × w pixels, n pixels of normal images, a anomalous images, t false-positive rates.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from zsad.metrics.ranking import sort_scores


def aupimo(
    maps: Float[Tensor, "b h w"],
    masks: Bool[Tensor, "b h w"],
    fpr_low: float = 1e-5,
    fpr_high: float = 1e-4,
) -> float:
    """Mean over the anomalous images of the area under their per-image overlap curve.

    The curve shows the share found of an image's defective pixels over the logarithm of the false-positive rate on
    normal images, from ``fpr_low`` to ``fpr_high``; its area is divided by the width. Normal are the images without any
    defective pixel. NaN without normal or anomalous images, and where the normal ones have so few pixels that the
    rate ``fpr_low`` is less than one of them.

    Source: Bertoldo et al., AUPIMO (BMVC 2024), equations 4 and 5.
    """
    areas = aupimo_per_image(maps, masks, fpr_low, fpr_high)
    return (
        float(areas.sort().values.mean()) if len(areas) else math.nan
    )  # sorted: the images' order changes no bit


def aupimo_per_image(
    maps: Float[Tensor, "b h w"],
    masks: Bool[Tensor, "b h w"],
    fpr_low: float = 1e-5,
    fpr_high: float = 1e-4,
) -> Float64[Tensor, " a"]:
    """Area under the curve of each anomalous image, in their order; empty where it is undefined."""
    is_anomalous = masks.flatten(1).any(1)
    normal = sort_scores(maps[~is_anomalous].flatten())
    if len(normal) * fpr_low < 1:
        return torch.zeros(0, dtype=torch.float64)
    fpr = _rates(len(normal), fpr_low, fpr_high)
    threshold = normal[len(normal) - (fpr * len(normal)).round().long().clamp(min=1)]
    areas = []
    for one_map, mask in zip(maps[is_anomalous], masks[is_anomalous], strict=True):
        scores = sort_scores(one_map[mask])
        found = len(scores) - torch.searchsorted(scores, threshold)
        area = torch.trapezoid(found.double().cpu() / len(scores), fpr.log())
        areas.append(area / math.log(fpr_high / fpr_low))
    return torch.stack(areas) if areas else torch.zeros(0, dtype=torch.float64)


def _rates(pixels: int, low: float, high: float) -> Float64[Tensor, " t"]:
    """Every rate that a threshold can have in the range, and the two ends of the range."""
    first, last = math.ceil(low * pixels), math.floor(high * pixels)
    steps = torch.arange(first, last + 1, dtype=torch.float64) / pixels
    return torch.cat((steps.new_tensor([low]), steps, steps.new_tensor([high])))
