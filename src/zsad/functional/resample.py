"""Resizing and smoothing of maps and images, as PyTorch, SciPy, Pillow and OpenCV do it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

_STRIP_PX = 1 << 20  # smoothed at a time: a convolution takes a dozen times the memory of its input
_UNIT = 1 << 22  # Pillow's filter weights are whole numbers of this fraction
_LINEAR_UNIT = 1 << 11  # OpenCV's


def upsample(maps: Float[Tensor, "b h w"], size: tuple[int, int]) -> Float[Tensor, "b big_h big_w"]:
    """Resize maps bilinearly (``align_corners=False``, no antialiasing) to (height, width)."""
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def upsample_blocks(
    maps: Float[Tensor, "l b h w"], size: tuple[int, int]
) -> Float[Tensor, "l b big_h big_w"]:
    """Resize the maps of l blocks as ``upsample`` does."""
    blocks, images = maps.shape[:2]
    return upsample(maps.flatten(0, 1), size).unflatten(0, (blocks, images))


def gaussian_smooth(maps: Float[Tensor, "b h w"], sigma_px: float) -> Float[Tensor, "b h w"]:
    """Smooth with a Gaussian of ``sigma_px`` pixels, cut at four sigmas.

    Edges are mirrored (d c b a | a b c d | d c b a). Equals ``scipy.ndimage.gaussian_filter`` with
    its defaults, on every device; 0 leaves the maps alone.

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
    count, height, width = maps.shape
    rows = mirrored(height, -radius, height + radius, maps.device)
    columns = mirrored(width, -radius, width + radius, maps.device)
    smooth = torch.empty_like(maps)
    strip_height = max(_STRIP_PX // (count * width), 4 * radius)
    for top in range(0, height, strip_height):
        strip_rows = rows[top : top + strip_height + 2 * radius]
        strip = maps[:, None, strip_rows]  # (B, H, W) -> (B, 1, strip + 2 radius, W)
        smooth[:, top : top + strip_height] = _convolve(strip, columns, kernel)
    return smooth


def mirrored(
    length: int, start: int, stop: int, device: torch.device | None = None
) -> Int[Tensor, " n"]:
    """Return indices start … stop - 1 of a row that goes on at both ends as in facing mirrors.

    >>> mirrored(3, -2, 5).tolist()
    [1, 0, 0, 1, 2, 2, 1]
    """
    index = torch.arange(start, stop, device=device) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


def _convolve(strip: Tensor, columns: Tensor, kernel: Tensor) -> Tensor:
    # Half precision would leave a few dozen values in a map.
    with torch.autocast(strip.device.type, enabled=False):
        smooth_rows = F.conv2d(strip, kernel.view(1, 1, -1, 1))
        padded = smooth_rows[..., columns]
        return F.conv2d(padded, kernel.view(1, 1, 1, -1))[:, 0]


def resize_levels(
    image: Float[Tensor, "b c h w"], size: tuple[int, int]
) -> Float[Tensor, "b c new_h new_w"]:
    """Resize images of 256 levels bicubically, to the last bit as Pillow 11 and 12 do.

    Two passes, along the rows and then along the columns, each rounded to 8 bits; where it shrinks,
    the filter widens with the step. Pillow 13 computes the same but may take the columns first,
    never where a square becomes a smaller one. All sums are of whole numbers that a double holds
    exactly, so every device gives the same.

    Args:
        image: In [0, 1], in steps of 1/255; values between them are rounded first.
        size: Height and width of the result, which has the same 256 levels.

    Source: Pillow's ``Resampling.BICUBIC`` of 8-bit images (kernel of Keys 1981 with a = -1/2).
    """
    height, width = image.shape[-2:]
    rows = _bicubic_weights(height, size[0]).to(image.device)
    columns = _bicubic_weights(width, size[1]).to(image.device)
    with torch.autocast(image.device.type, enabled=False):
        levels = (image.double() * 255).round()
        levels = _to_levels(levels @ columns.T)  # (B, C, H, W) -> (B, C, H, new W)
        levels = _to_levels(rows @ levels)
    return levels.to(image.dtype) / 255


def _to_levels(sums: Tensor) -> Tensor:
    rounded = ((sums + _UNIT // 2) / _UNIT).floor()
    return rounded.clamp(0, 255)


def _bicubic_weights(old: int, new: int) -> Float[Tensor, "new old"]:
    """Return the share of each old pixel of a line in each new one, in units of 1 / ``_UNIT``."""
    step = old / new
    stretch = max(step, 1.0)
    centre = (torch.arange(new, dtype=torch.float64)[:, None] + 0.5) * step
    first = (centre - 2 * stretch + 0.5).trunc()
    past = (centre + 2 * stretch + 0.5).trunc()
    index = torch.arange(old, dtype=torch.float64)
    distance = (index - centre + 0.5).abs() * (1 / stretch)
    in_reach = (index >= first) & (index < past)
    weights = _bicubic(distance).where(in_reach, 0.0)
    weights = weights / weights.sum(dim=1, keepdim=True) * _UNIT
    return weights.sign() * (weights.abs() + 0.5).floor()


def _bicubic(distance: Tensor) -> Tensor:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * -0.5
    beyond_one = far.where(distance < 2, 0.0)
    return near.where(distance < 1, beyond_one)


def resize_levels_linearly(
    image: Float[Tensor, "b c h w"], size: tuple[int, int]
) -> Float[Tensor, "b c new_h new_w"]:
    """Resize images of 256 levels bilinearly, to the last bit as OpenCV 4 and 5 do.

    Without antialiasing: where it shrinks by more than two, pixels are left out. All sums are of
    whole numbers, so every device gives the same.

    Args:
        image: In [0, 1], in steps of 1/255; values between them are rounded first.
        size: Height and width of the result, which has the same 256 levels.

    Source: OpenCV's ``INTER_LINEAR`` of 8-bit images, with its weights of 11 bits.
    """
    height, width = image.shape[-2:]
    top, bottom, y_low, y_high = _linear_weights(height, size[0], image.device)
    left, right, x_low, x_high = _linear_weights(width, size[1], image.device)
    # Past the borders the columns are left alone, but not the rows.
    x_high = x_high.where(left != right, 0)
    x_low = x_low.where(left != right, _LINEAR_UNIT)
    levels = (image * 255).round().to(torch.int32)
    # (B, C, H, W) -> (B, C, H, new W)
    rows = (levels[..., left] * x_low + levels[..., right] * x_high) >> 4
    upper = rows[..., top, :] * y_low[:, None] >> 16
    lower = rows[..., bottom, :] * y_high[:, None] >> 16
    return ((upper + lower + 2) >> 2).to(image.dtype) / 255


def _linear_weights(
    old: int, new: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return for each new pixel of a line its two old neighbours and their weights."""
    middle = torch.arange(new, dtype=torch.float64) + 0.5
    position = (middle * (old / new) - 0.5).float()
    floor = position.floor()
    share = position - floor
    first = floor.long().clamp(0, old - 1)
    second = (floor + 1).long().clamp(0, old - 1)
    low = ((1 - share) * _LINEAR_UNIT).round()
    high = (share * _LINEAR_UNIT).round()
    return (
        first.to(device),
        second.to(device),
        low.to(device, torch.int32),
        high.to(device, torch.int32),
    )


def nearest(masks: Bool[Tensor, "b h w"], size: tuple[int, int]) -> Bool[Tensor, "b new_h new_w"]:
    """Resize masks to (height, width) by taking the pixels of OpenCV's ``INTER_NEAREST``.

    PyTorch's own rounds in float32 and takes a neighbour at one in twenty pairs of sizes, 72 to 20
    for example.
    """
    height, width = masks.shape[1:]
    rows = _nearest_index(height, size[0], masks.device)
    columns = _nearest_index(width, size[1], masks.device)
    return masks[:, rows[:, None], columns]


def _nearest_index(old: int, new: int, device: torch.device) -> Tensor:
    step = 1 / (new / old)  # so written, it rounds as OpenCV does
    index = torch.arange(new, dtype=torch.float64) * step
    return index.floor().long().clamp(max=old - 1).to(device)


def bicubic(maps: Float[Tensor, "b h w"], size: tuple[int, int]) -> Float[Tensor, "b new_h new_w"]:
    """Resize maps to (height, width) with the kernel of a = -3/4; it overshoots at edges.

    Without antialiasing. Source: the evaluation of SAA+ and DOT-Prompt (OpenCV's ``INTER_CUBIC``).
    """
    return F.interpolate(maps[:, None], size=size, mode="bicubic", align_corners=False)[:, 0]


def min_max(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Stretch maps *together* to [0, 1], by their common lowest and highest value.

    Zeros where these are equal, where the published code has NaN.

    Source: SAA+'s evaluation, over all test images of a category.
    """
    lowest, highest = maps.aminmax()
    tiny = torch.finfo(maps.dtype).tiny
    return (maps - lowest) / (highest - lowest).clamp(min=tiny)
