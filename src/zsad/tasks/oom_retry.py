"""Batches that the memory of a GPU does not hold: in halves, with the same result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zsad.types import Prediction

log = logging.getLogger("zsad")

Predict = Callable[[Tensor, Sequence[str]], Prediction]


class HalveOnOutOfMemory:
    """Predict a batch at once; where memory runs out, in halves, and the batches after it likewise.

    A method looks at each image by itself, so that its predictions are the same.
    """

    def __init__(self) -> None:
        self._most: int | None = None

    def __call__(self, predict: Predict, image: Tensor, category: Sequence[str]) -> Prediction:
        """Predict images (B, 3, H, W) of the named categories.

        Raises:
            torch.OutOfMemoryError: If there is no room for a single image.
        """
        most = min(len(image), self._most or len(image))
        while True:
            try:
                starts = range(0, len(image), most)
                return _joined(
                    [predict(image[i : i + most], category[i : i + most]) for i in starts]
                )
            except torch.OutOfMemoryError:
                if most == 1:
                    raise
            # Outside of the handler: the error holds on to all that was computed before it.
            most = self._halved(most)

    def _halved(self, count: int) -> int:
        self._most = (count + 1) // 2
        log.warning(
            "note: out of memory with %d images at once, going on with %d (dataset.test_batch_size=%d does at once)",
            *(count, self._most, self._most),
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._most


def _joined(parts: Sequence[Prediction]) -> Prediction:
    if len(parts) == 1:
        return parts[0]
    return Prediction(
        map=torch.cat([part.map for part in parts]),
        score=torch.cat([part.score for part in parts]),
        detections=tuple(found for part in parts for found in part.detections),
    )
