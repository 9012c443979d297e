"""AUPIMO: share found of each image's defects while hardly any normal pixel is called anomalous.

Legend: b maps of h × w pixels, n pixels of normal images, a anomalous images, t false-positive
rates.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from zsad.metrics.ranking import sort_scores
from zsad.metrics.shapes import Maps, Masks, Scores, Thresholds


def aupimo(maps: Maps, masks: Masks, fpr_low: float = 1e-5, fpr_high: float = 1e-4) -> float:
    """Mean over the anomalous images of the area under their per-image overlap curve.

    The curve shows the share found of an image's defective pixels over the logarithm of the
    false-positive rate on normal images, from ``fpr_low`` to ``fpr_high``; its area is divided by
    the width. Normal are the images without any defective pixel. NaN without normal or anomalous
    images, and where the normal images have so few pixels that the rate ``fpr_low`` is less than
    one of them.

    Source: Bertoldo et al., AUPIMO (BMVC 2024), equations 4 and 5.
    """
    areas = aupimo_per_image(maps, masks, fpr_low, fpr_high)
    if not len(areas):
        return math.nan
    ascending = areas.sort().values  # so that the order of the images changes no bit
    return float(ascending.mean())


def aupimo_per_image(
    maps: Maps, masks: Masks, fpr_low: float = 1e-5, fpr_high: float = 1e-4
) -> Float64[Tensor, " a"]:
    """Area under the curve of each anomalous image, in their order; empty where it is undefined."""
    none = torch.zeros(0, dtype=torch.float64)
    is_anomalous = masks.flatten(1).any(1)
    normal = sort_scores(maps[~is_anomalous].flatten())
    count = len(normal)
    if count * fpr_low < 1:
        return none
    fpr = _rates(count, fpr_low, fpr_high)
    called = (fpr * count).round().long()
    called = called.clamp(min=1)
    threshold = normal[count - called]
    width = math.log(fpr_high / fpr_low)
    areas = []
    for image in is_anomalous.nonzero().flatten():
        scores = maps[image][masks[image]]
        overlap = _share_reaching(scores, threshold)
        area = torch.trapezoid(overlap, fpr.log())
        areas.append(area / width)
    return torch.stack(areas) if areas else none


def _share_reaching(scores: Scores, threshold: Float[Tensor, " t"]) -> Thresholds:
    ascending = sort_scores(scores)
    total = len(ascending)
    found = total - torch.searchsorted(ascending, threshold)
    return found.double().cpu() / total


def _rates(pixels: int, low: float, high: float) -> Thresholds:
    """Return every rate that a threshold can have in the range, and the two ends of the range."""
    first = math.ceil(low * pixels)
    last = math.floor(high * pixels)
    steps = torch.arange(first, last + 1, dtype=torch.float64) / pixels
    lowest = steps.new_tensor([low])
    highest = steps.new_tensor([high])
    return torch.cat((lowest, steps, highest))
