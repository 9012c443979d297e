"""Restoration of masked pixels from their surroundings, and maps of the difference that it makes.

Legend: images of h × w pixels, RGB in [0, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

_STEPS = 200  # of conjugate gradients at most
# A pixel may differ from the mean of its neighbours by less than a hundredth of a grey level.
_RESIDUAL = 1e-5
_COARSEST_PX = 8
_GREY = (0.299, 0.587, 0.114)  # weights of RGB in ITU-R BT.601 and OpenCV


def harmonic_fill(
    image: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"]
) -> Float[Tensor, "3 h w"]:
    """Replace the masked pixels by the smoothest surface that meets the others: ΔI = 0 (Laplace).

    Each masked pixel becomes the mean of its neighbours (of those that exist, at the border).
    Conjugate gradients find it, starting from the solution at half the size. Where everything is
    masked, the result is the mean colour.
    """
    if mask.all():
        return image.mean(dim=(1, 2), keepdim=True).expand_as(image).clone()
    restored = image.clone()
    if not mask.any():
        return restored
    rows = _used_range(mask.any(dim=1))
    columns = _used_range(mask.any(dim=0))
    dtype = torch.float32 if image.device.type == "mps" else torch.float64
    with torch.autocast(image.device.type, enabled=False):
        window = image[:, rows, columns].to(dtype)
        solution = _solve(window, mask[rows, columns])
    restored[:, rows, columns] = solution.to(image)
    return restored


def _used_range(is_used: Tensor) -> slice:
    """Return the range of true entries, with one entry more on each side."""
    used = is_used.nonzero()[:, 0].tolist()
    start = max(used[0] - 1, 0)
    return slice(start, used[-1] + 2)


def _solve(image: Tensor, mask: Tensor) -> Tensor:
    """Solve for the masked pixels of a window that has unmasked ones too."""
    tiny = torch.finfo(image.dtype).tiny
    x = torch.where(mask, _initial_guess(image, mask), image)
    neighbours = _neighbour_sum(torch.ones_like(x[:1]))
    residual = (_neighbour_sum(x) - neighbours * x) * mask
    direction = residual
    power = _dot(residual, residual)
    for _ in range(_STEPS):
        if residual.abs().amax() <= _RESIDUAL:
            break
        changed = (neighbours * direction - _neighbour_sum(direction)) * mask
        step = power / _dot(direction, changed).clamp(min=tiny)
        x = x + step * direction
        residual = residual - step * changed
        previous_power = power
        power = _dot(residual, residual)
        direction = residual + power / previous_power.clamp(min=tiny) * direction
    return x


def _initial_guess(image: Tensor, mask: Tensor) -> Tensor:
    """Return the solution at half the size, resized to the full size."""
    known = (~mask).to(image)[None]
    colour = image.where(~mask, 0)
    if max(mask.shape) <= _COARSEST_PX:
        total = colour.sum(dim=(1, 2), keepdim=True)
        return (total / known.sum()).expand_as(image)
    share = F.avg_pool2d(known, 2, ceil_mode=True)
    colour = F.avg_pool2d(colour, 2, ceil_mode=True)
    colour = colour / share.where(share > 0, 1)
    coarse = _solve(colour, share[0] == 0)
    fine = F.interpolate(coarse[None], scale_factor=2, mode="bilinear", align_corners=False)
    height, width = mask.shape
    return fine[0, :, :height, :width]


def _neighbour_sum(x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    total[:, 1:] += x[:, :-1]
    total[:, :-1] += x[:, 1:]
    total[:, :, 1:] += x[:, :, :-1]
    total[:, :, :-1] += x[:, :, 1:]
    return total


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2), keepdim=True)


def dilate(mask: Bool[Tensor, "h w"], kernel_size: int) -> Bool[Tensor, "h w"]:
    """Grow a mask by a square of ``kernel_size`` pixels.

    Of an even square the longer half reaches down and right.

    Raises:
        ValueError: If the kernel is smaller than one pixel.
    """
    if kernel_size < 1:
        raise ValueError(f"kernel_size={kernel_size}: expected 1 pixel or more")
    before = kernel_size // 2
    after = kernel_size - 1 - before
    padded = F.pad(mask[None].float(), (before, after, before, after))
    rows = F.max_pool2d(padded, (kernel_size, 1), stride=1)
    both = F.max_pool2d(rows, (1, kernel_size), stride=1)
    return both[0] > 0


def difference_map(
    image: Float[Tensor, "3 h w"], restored: Float[Tensor, "3 h w"], threshold: float | int = 15
) -> Bool[Tensor, "h w"]:
    """Return the pixels at which an image differs from its restoration by more than a threshold.

    Args:
        image: The image with its defects.
        restored: The same without them.
        threshold: Grey value of the difference, in levels of an 8-bit image, 0 … 255.

    Source: DOT-Prompt, whose second map is this map inside the mask alone.
    """
    difference = (image - restored).abs() * 255
    weights = difference.new_tensor(_GREY)
    grey = (difference * weights[:, None, None]).sum(dim=0)
    return grey.round() > threshold
