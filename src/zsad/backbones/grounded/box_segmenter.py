"""Frozen segmenters that turn boxes into masks.

Legend: n boxes, m of them at once, H × W pixels of the image, S the side of the square that the
network reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from zsad.backbones import eight_bit_images, hub
from zsad.backbones.frozen import FrozenNetwork, compute_in


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """Features of an image from a segmenter's image tower, for any number of boxes.

    Attributes:
        size: Height and width of the image, before it was resized.
        features: Output of the tower for it.
    """

    size: tuple[int, int]
    features: Any


def letterbox(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the height and width of an image whose longer side is resized to ``side``.

    The shorter side keeps 1 pixel at least.
    """
    scale = side / max(size)
    height = int(size[0] * scale + 0.5)
    width = int(size[1] * scale + 0.5)
    return max(1, height), max(1, width)


def scale_boxes(
    boxes: Float[Tensor, "n 4"], size: tuple[int, int], frame: tuple[int, int]
) -> Float[Tensor, "n 4"]:
    """Move boxes from the pixels of an image (height, width) to those of its resized copy."""
    y = frame[0] / size[0]
    x = frame[1] / size[1]
    factors = torch.tensor([x, y, x, y], dtype=boxes.dtype, device=boxes.device)
    return boxes * factors


class BoxSegmenter(FrozenNetwork, ABC):
    """A frozen segmenter that gives one mask for each box, without judging its quality.

    Args:
        dtype: Precision of the image tower; masks are decoded in float32.
        chunk: So many boxes are decoded together; bounds the memory.
    """

    def __init__(self, *, dtype: str, chunk: int) -> None:
        super().__init__()
        self.dtype = hub.as_dtype(dtype)
        self.chunk = chunk

    @property
    def settings(self) -> str:
        """Settings that decide the masks besides the weights, as text."""
        return f"{type(self).__name__} {self.side} {self.dtype}"

    @property
    @abstractmethod
    def side(self) -> int:
        """Side S in pixels of the square that the image tower reads."""

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "3 h w"]) -> EncodedImage:
        """Run the image tower, which needs no boxes. RGB in [0, 1]."""
        size = (image.shape[1], image.shape[2])
        resized = eight_bit_images.resize(image, *self._frame(size))
        normalized = eight_bit_images.normalize(resized)
        right = self.side - normalized.shape[2]
        bottom = self.side - normalized.shape[1]
        square = F.pad(normalized, (0, right, 0, bottom))
        with compute_in(self.dtype, image.device):
            features = self._encode(square[None])
        return EncodedImage(size, features)

    @torch.no_grad()
    def masks(
        self, embedding: EncodedImage, boxes: Float[Tensor, "n 4"]
    ) -> Iterator[Bool[Tensor, "m h w"]]:
        """Decode boxes into masks, a chunk at a time, in the order of the boxes.

        Args:
            embedding: The image, encoded.
            boxes: x0, y0, x1, y1 in pixels of the image; they may reach beyond it.
        """
        if not len(boxes):
            return
        frame = self._frame(embedding.size)
        scaled = scale_boxes(boxes.float(), embedding.size, frame)
        for part in scaled.split(self.chunk):
            with torch.autocast(part.device.type, enabled=False):
                logits = self._decode(embedding.features, part)
            yield self._upsample(logits, embedding.size, frame)

    def _frame(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width of the resized image within the square."""
        return letterbox(size, self.side)

    def _upsample(
        self, logits: Tensor, size: tuple[int, int], frame: tuple[int, int]
    ) -> Bool[Tensor, "m h w"]:
        channel = logits[:, None].float()
        square = F.interpolate(channel, (self.side, self.side), mode="bilinear")
        height, width = frame
        return upsample_each(square[:, 0, :height, :width], size)

    @abstractmethod
    def _encode(self, square: Float[Tensor, "1 3 s s"]) -> Any: ...

    @abstractmethod
    def _decode(self, features: Any, boxes: Float[Tensor, "m 4"]) -> Float[Tensor, "m h w"]: ...


def upsample_each(
    logits: Float[Tensor, "m h w"], size: tuple[int, int]
) -> Bool[Tensor, "m new_h new_w"]:
    """Resize each map of logits to a size and return the pixels above 0.

    One map at a time: floats of the size of the image for all m would be the most memory that a
    segmenter takes.
    """
    masks = []
    for each in logits.float():
        resized = F.interpolate(each[None, None], size, mode="bilinear")
        masks.append(resized[0, 0] > 0)
    return torch.stack(masks)
