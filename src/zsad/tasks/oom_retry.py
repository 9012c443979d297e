"""Retries of batches that do not fit into GPU memory: in halves, with the same result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zsad.types import Prediction

log = logging.getLogger("zsad")

Predict = Callable[[Tensor, Sequence[str]], Prediction]


class HalveOnOutOfMemory:
    """Predict a batch at once; if memory runs out, in halves, and the batches after it likewise.

    A method looks at each image by itself, so the predictions are the same.
    """

    def __init__(self) -> None:
        self._max_images: int | None = None

    def __call__(self, predict: Predict, image: Tensor, category: Sequence[str]) -> Prediction:
        """Predict images (B, 3, H, W) of the named categories.

        Raises:
            torch.OutOfMemoryError: If a single image does not fit.
        """
        size = min(len(image), self._max_images or len(image))
        while True:
            try:
                return _predict_in_parts(predict, image, category, size)
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
            # Outside of the handler: the error keeps all tensors that were computed before it.
            size = self._halve(size)

    def _halve(self, size: int) -> int:
        half = (size + 1) // 2
        self._max_images = half
        log.warning(
            "note: out of memory with %d images at once, continuing with %d "
            "(dataset.test_batch_size=%d avoids this)",
            *(size, half, half),
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return half


def _predict_in_parts(
    predict: Predict, image: Tensor, category: Sequence[str], size: int
) -> Prediction:
    parts = []
    for start in range(0, len(image), size):
        part = slice(start, start + size)
        parts.append(predict(image[part], category[part]))
    return _join(parts)


def _join(parts: Sequence[Prediction]) -> Prediction:
    if len(parts) == 1:
        return parts[0]
    return Prediction(
        map=torch.cat([part.map for part in parts]),
        score=torch.cat([part.score for part in parts]),
        detections=tuple(found for part in parts for found in part.detections),
    )
