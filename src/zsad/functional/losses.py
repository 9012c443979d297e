"""Losses between an anomaly map and its mask.

Legend: B images of H × W pixels; p is the probability that a pixel is anomalous, its complement that it is normal.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

_SMOOTH = 1e-5


def focal_loss(
    p: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"], gamma: float = 2.0
) -> Float[Tensor, ""]:
    """Cross-entropy that counts confidently right pixels less, mean over all pixels.

    Source: Lin et al. 2017, eq. 4, in the form of the AnomalyCLIP code: no class weight, one-hot targets clamped to
    [1e-5, 1 - 1e-5], and 1e-5 added to the probability of the true class.
    """
    hot = mask.to(p.dtype).clamp(_SMOOTH, 1 - _SMOOTH)
    cold = (~mask).to(p.dtype).clamp(_SMOOTH, 1 - _SMOOTH)
    true = hot * p + cold * (1 - p) + _SMOOTH
    return (-((1 - true) ** gamma) * true.log()).mean()


def dice_loss(p: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """One minus the overlap of a soft map with a mask, per image, mean over images.

    One is added above and below, so that an empty mask met by an empty map costs nothing.

    Source: Milletari et al. 2016; AnomalyCLIP uses it once for the anomalous map with the mask and once for the normal
    map with the mask's complement.
    """
    target = mask.to(p.dtype)
    overlap = (p * target).sum(dim=(1, 2))
    size = p.sum(dim=(1, 2)) + target.sum(dim=(1, 2))
    return (1 - (2 * overlap + 1) / (size + 1)).mean()
