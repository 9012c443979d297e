"""Read ground-truth masks, unite the files of an image, and resize them to the network input.

Legend: h × w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zsad.data.decoding import SIXTEEN_BIT_MODES, SIXTEEN_TO_EIGHT, decode_image

_EIGHT_BIT_MAX = 255
_ONE_CHANNEL_MODES = frozenset({"L", "F"}) | SIXTEEN_BIT_MODES


def load_mask(paths: Sequence[Path], threshold: int) -> Image.Image:
    """Return the union of the mask files of one image as L, 255 on defective pixels.

    Args:
        paths: One or several files of equal size.
        threshold: A pixel is defective above this value (0-255).

    Raises:
        ValueError: Files of different sizes; the message gives both names and sizes.
    """
    masks = [binarise(decode_image(path), threshold) for path in paths]
    for path, mask in zip(paths, masks, strict=True):
        if mask.shape != masks[0].shape:
            first = size_text(masks[0].shape[::-1])
            other = size_text(mask.shape[::-1])
            raise ValueError(
                f"masks of one image differ in size: {paths[0]} and {path} are {first} and {other}"
            )
    return _to_grey_image(np.any(masks, axis=0))


def binarise(mask: Image.Image, threshold: int) -> NDArray[np.bool_]:
    """Return (h, w), ``True`` above the threshold in any channel.

    A 16-bit mask is compared at its own scale if it uses it; many hold 0 and 255, or class numbers.
    A transparent pixel is no defect. Where all that is opaque has one colour, black too, the
    opacity is compared instead of the colour: it alone tells the defect from the rest.
    """
    values = _strongest_channel(mask)
    if _uses_sixteen_bits(values):
        threshold = threshold * SIXTEEN_TO_EIGHT
    return values > threshold


def mask_values(path: Path) -> NDArray[Any]:
    """Return (h, w), the stored values of a mask file, of the strongest channel.

    Transparent pixels are 0; see ``binarise``.
    """
    return _strongest_channel(decode_image(path))


def comparable_values(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values of a mask on the scale of 8 bits, as ``binarise`` compares them."""
    if _uses_sixteen_bits(values):
        return values / SIXTEEN_TO_EIGHT
    return values


def soft_mask(mask: Image.Image, size: int | None, threshold: int = 0) -> Float[Tensor, "h w"]:
    """Cut at the threshold to 0 and 255, resize (Pillow bilinear), scale to [0, 1].

    Source: AnomalyCLIP, mask preprocessing; published with the threshold 0 for every dataset.
    """
    binary = _to_grey_image(binarise(mask, threshold))
    if size is not None:
        binary = binary.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(binary)).float().div(255)


def resize_mask(mask: Image.Image, size: int | None, threshold: int = 0) -> Bool[Tensor, "h w"]:
    """Return a mask at network size: ``soft_mask`` above one half."""
    return soft_mask(mask, size, threshold) > 0.5


def size_difference(
    image: Path, image_size: tuple[int, int], mask: Path, mask_size: tuple[int, int]
) -> str:
    """Return the message about a mask that does not fit its image; sizes are (width, height)."""
    mask_text = f"{mask} is {size_text(mask_size)}"
    image_text = f"its image {image} is {size_text(image_size)}"
    return f"{mask_text}, but {image_text}"


def size_text(size: Sequence[int]) -> str:
    """Return a size (width, height) as text.

    >>> size_text((640, 480))
    '640 x 480'
    """
    width, height = size
    return f"{width} x {height}"


def _uses_sixteen_bits(values: NDArray[Any]) -> bool:
    is_integer = values.dtype != np.uint8 and np.issubdtype(values.dtype, np.integer)
    return bool(is_integer and values.max() > _EIGHT_BIT_MAX)


def _strongest_channel(mask: Image.Image) -> NDArray[Any]:
    if mask.has_transparency_data:
        return _opaque_values(np.asarray(mask.convert("RGBA")))
    if mask.mode == "1":
        mask = mask.convert("L")
    elif mask.mode not in _ONE_CHANNEL_MODES:
        mask = mask.convert("RGB")
    values = np.asarray(mask)
    return values if values.ndim == 2 else values.max(axis=2)


def _opaque_values(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (h, w) of an RGBA mask: its colours over black, or its opacity; see ``binarise``."""
    colours = pixels[..., :3]
    opacity = pixels[..., 3]
    strongest = colours.max(axis=2)
    is_visible = opacity > 0
    if opacity.min() == opacity.max() == _EIGHT_BIT_MAX or not is_visible.any():
        return np.where(is_visible, strongest, 0).astype(np.uint8)
    visible = colours[is_visible]
    is_one_colour = not is_visible.all() and bool((visible == visible[0]).all())
    if is_one_colour:
        return opacity
    scaled = strongest.astype(np.uint16) * opacity / _EIGHT_BIT_MAX
    return np.ceil(scaled).astype(np.uint8)


def _to_grey_image(is_defective: NDArray[np.bool_]) -> Image.Image:
    values = np.where(is_defective, 255, 0)
    return Image.fromarray(values.astype(np.uint8))
