"""Images as pretrained networks expect them: 8 bits, PIL's resampling, ImageNet's normalisation."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_uint8(image: Float[Tensor, "3 h w"]) -> UInt8[Tensor, "3 h w"]:
    """Turn RGB in [0, 1] into grey levels, to which images were rounded when they were stored."""
    levels = (image * 255).round()
    return levels.clamp(0, 255).to(torch.uint8)


def to_pil(image: Float[Tensor, "3 h w"]) -> Image.Image:
    """Turn RGB in [0, 1] into a PIL image."""
    levels = to_uint8(image).permute(1, 2, 0)
    return Image.fromarray(levels.cpu().numpy())


def resize(
    image: Float[Tensor, "3 h w"], height: int, width: int
) -> Float[Tensor, "3 new_h new_w"]:
    """Resize RGB in [0, 1] as PIL does with 8 bits: linear, over a new pixel's whole footprint."""
    resized = to_pil(image).resize((width, height), Image.Resampling.BILINEAR)
    levels = torch.from_numpy(np.array(resized))
    channels_first = levels.permute(2, 0, 1).to(image.device)
    return channels_first.float() / 255


def normalize(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Subtract ImageNet's channel means and divide by its deviations."""
    mean = torch.tensor(IMAGENET_MEAN, device=image.device)
    std = torch.tensor(IMAGENET_STD, device=image.device)
    return (image - mean[:, None, None]) / std[:, None, None]
