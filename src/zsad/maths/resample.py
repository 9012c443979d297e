"""Bringing maps to the size of the image, and smoothing them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def upsample(maps: Float[Tensor, "b h w"], size: tuple[int, int]) -> Float[Tensor, "b big_h big_w"]:
    """Resize maps bilinearly (``align_corners=False``, no antialiasing) to (height, width)."""
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def gaussian_smooth(maps: Float[Tensor, "b h w"], sigma_px: float) -> Float[Tensor, "b h w"]:
    """Smooth with a Gaussian of ``sigma_px`` pixels, cut at four sigmas, edges mirrored (d c b a | a b c d | d c b a).

    Equals ``scipy.ndimage.gaussian_filter`` with its defaults, on whatever device the maps are; 0 leaves them alone.

    Raises:
        ValueError: If sigma is negative.
    """
    if sigma_px < 0:
        raise ValueError(f"sigma_px must be 0 or more, got {sigma_px}")
    radius = int(4 * sigma_px + 0.5)
    if radius == 0:
        return maps
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).to(maps)
    rows, columns = (_mirrored(length, radius, maps.device) for length in maps.shape[1:])
    with torch.autocast(maps.device.type, enabled=False):  # half precision would leave a few dozen values in a map
        x = F.conv2d(maps[:, None, rows], kernel.view(1, 1, -1, 1))  # (B, H, W) -> (B, 1, H, W)
        return F.conv2d(x[..., columns], kernel.view(1, 1, 1, -1))[:, 0]


def _mirrored(length: int, radius: int, device: torch.device) -> Tensor:
    """Return indices 0 … length - 1, extended by ``radius`` on both sides as in two facing mirrors."""
    index = torch.arange(-radius, length + radius, device=device) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)
