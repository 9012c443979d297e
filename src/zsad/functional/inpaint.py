"""What lies under a defect, guessed from its surroundings, and where that differs from what is there.

Legend: images of h × w pixels, RGB in [0, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

_STEPS = 200  # of conjugate gradients at most
_RESIDUAL = 1e-5  # how far a pixel may be from the mean of its neighbours: less than a hundredth of a grey level
_COARSEST_PX = 8
_GREY = (0.299, 0.587, 0.114)  # of RGB, as ITU-R BT.601 and OpenCV weigh them


def harmonic_fill(
    image: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"]
) -> Float[Tensor, "3 h w"]:
    """Replace the masked pixels by the smoothest surface that meets the others: Laplace's equation, ΔI = 0.

    Each masked pixel becomes the mean of its neighbours (of those that there are, at the image border). Conjugate
    gradients find it, starting from the solution at half the size. Where everything is masked: the mean colour.
    """
    if mask.all():
        return image.mean(dim=(1, 2), keepdim=True).expand_as(image).clone()
    restored = image.clone()
    if mask.any():
        window = (slice(None), _around(mask.any(dim=1)), _around(mask.any(dim=0)))
        dtype = torch.float32 if image.device.type == "mps" else torch.float64
        with torch.autocast(image.device.type, enabled=False):
            restored[window] = _solved(image[window].to(dtype), mask[window[1:]]).to(image)
    return restored


def _around(is_used: Tensor) -> slice:
    used = is_used.nonzero()[:, 0].tolist()
    return slice(max(used[0] - 1, 0), used[-1] + 2)


def _solved(image: Tensor, mask: Tensor) -> Tensor:
    """Solve for the masked pixels of a window that has others too."""
    x = torch.where(mask, _start(image, mask), image)
    neighbours = _neighbour_sum(torch.ones_like(x[:1]))
    residual = (_neighbour_sum(x) - neighbours * x) * mask
    direction, power = residual, _dot(residual, residual)
    for _ in range(_STEPS):
        if residual.abs().amax() <= _RESIDUAL:
            break
        changed = (neighbours * direction - _neighbour_sum(direction)) * mask
        step = power / _dot(direction, changed).clamp(min=torch.finfo(x.dtype).tiny)
        x = x + step * direction
        residual = residual - step * changed
        power, before = _dot(residual, residual), power
        direction = residual + power / before.clamp(min=torch.finfo(x.dtype).tiny) * direction
    return x


def _start(image: Tensor, mask: Tensor) -> Tensor:
    """Return the solution of the same question at half the size, brought to full size."""
    known, colour = (~mask).to(image)[None], image.where(~mask, 0)
    if max(mask.shape) <= _COARSEST_PX:
        return (colour.sum(dim=(1, 2), keepdim=True) / known.sum()).expand_as(image)
    share = F.avg_pool2d(known, 2, ceil_mode=True)
    colour = F.avg_pool2d(colour, 2, ceil_mode=True) / share.where(share > 0, 1)
    coarse = _solved(colour, share[0] == 0)
    height, width = mask.shape
    return F.interpolate(coarse[None], scale_factor=2, mode="bilinear", align_corners=False)[
        0, :, :height, :width
    ]


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
    """Grow a mask by a square of ``kernel_size`` pixels; of an even one the longer half reaches down and right.

    Raises:
        ValueError: If the kernel is smaller than one pixel.
    """
    if kernel_size < 1:
        raise ValueError(f"kernel_size={kernel_size}: expected 1 pixel or more")
    before = kernel_size // 2
    after = kernel_size - 1 - before
    padded = F.pad(mask[None].float(), (before, after, before, after))
    rows = F.max_pool2d(padded, (kernel_size, 1), stride=1)
    return F.max_pool2d(rows, (1, kernel_size), stride=1)[0] > 0


def difference_map(
    image: Float[Tensor, "3 h w"], restored: Float[Tensor, "3 h w"], threshold: float | int = 15
) -> Bool[Tensor, "h w"]:
    """Return where an image differs from its restoration by more than a threshold, as grey value of the difference.

    Args:
        image: What is there.
        restored: What would be there without the defect.
        threshold: In levels of an 8-bit image, 0 … 255.

    Source: DOT-Prompt, whose second map is this one inside the mask alone.
    """
    difference = (image - restored).abs() * 255
    grey = (difference * difference.new_tensor(_GREY)[:, None, None]).sum(dim=0)
    return grey.round() > threshold
