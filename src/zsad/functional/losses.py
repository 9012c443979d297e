"""Losses between an anomaly map and its mask.

Legend: L tapped blocks, B images of H × W pixels; p is the probability that a pixel is anomalous.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_SMOOTH = 1e-5


def focal_loss(
    p: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"], gamma: float = 2.0
) -> Float[Tensor, ""]:
    """Return cross-entropy that counts confidently right pixels less, as a mean over all pixels.

    Source: Lin et al. 2017, eq. 4, in the form of the AnomalyCLIP code: no class weight, one-hot
    targets clamped to [1e-5, 1 - 1e-5], and 1e-5 added to the probability of the true class.
    """
    anomalous = mask.to(p.dtype).clamp(_SMOOTH, 1 - _SMOOTH)
    normal = (~mask).to(p.dtype).clamp(_SMOOTH, 1 - _SMOOTH)
    of_true_class = anomalous * p + normal * (1 - p) + _SMOOTH
    weight = (1 - of_true_class) ** gamma
    return (-weight * of_true_class.log()).mean()


def dice_loss(p: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Return 1 minus the overlap of a soft map with a mask, as a mean over images.

    Numerator and denominator have 1 added, so that an empty mask met by an empty map costs nothing.

    Source: Milletari et al. 2016; AnomalyCLIP uses it for the anomalous map with the mask, and for
    the normal map with the complement of the mask.
    """
    target = mask.to(p.dtype)
    overlap = (p * target).sum(dim=(1, 2))
    size = p.sum(dim=(1, 2)) + target.sum(dim=(1, 2))
    dice = (2 * overlap + 1) / (size + 1)
    return (1 - dice).mean()


def map_losses(
    maps: Float[Tensor, "l b h w"], mask: Bool[Tensor, "b h w"]
) -> dict[str, Float[Tensor, ""]]:
    """Return focal and both dice losses of the maps of l blocks, each summed over the blocks.

    Source: the AnomalyCLIP code.
    """
    focal = torch.stack([focal_loss(p, mask) for p in maps])
    dice_anomalous = torch.stack([dice_loss(p, mask) for p in maps])
    dice_normal = torch.stack([dice_loss(1 - p, ~mask) for p in maps])
    return {
        "focal": focal.sum(),
        "dice_anomalous": dice_anomalous.sum(),
        "dice_normal": dice_normal.sum(),
    }
