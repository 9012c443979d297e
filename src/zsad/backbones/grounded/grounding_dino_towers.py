"""Towers of Grounding DINO, wrapped so that each image and each caption passes them once.

``transformers`` runs both towers for every pair of image and caption; the wrappers take their
places inside the model and answer from memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad.backbones.grounded.spelling_vocabulary import BERT_IDS

_MAX_CACHED_CAPTIONS = 4096


class ImageTower(nn.Module):
    """The detector's image tower: answers with the features of one image, for any batch size."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self._features: Any = None

    @property
    def position_embedding(self) -> nn.Module:
        """Position embedding with which the detector places the coarsest level."""
        return self.tower.position_embedding

    @contextmanager
    def using(self, features: Any) -> Iterator[None]:
        """Answer with these features of an image inside the context."""
        self._features = features
        try:
            yield
        finally:
            self._features = None

    def forward(
        self,
        pixels: Tensor,
        mask: Tensor,  # noqa: ARG002 (the signature is the detector's)
    ) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
        """Return the features in use, the same for each row of ``pixels``."""
        levels, positions = self._features
        n = len(pixels)
        repeated = [(_repeat(level, n), _repeat(is_real, n)) for level, is_real in levels]
        return repeated, [_repeat(position, n) for position in positions]


class TextTower(nn.Module):
    """The detector's text tower: reads each caption once, alone, so that no neighbour matters."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self._known: dict[tuple[Any, ...], Tensor] = {}

    def forward(
        self, ids: Tensor, mask: Tensor, token_types: Tensor, positions: Tensor, **_: Any
    ) -> Any:
        """Return the features of a batch of captions; zeros on the padding, which nothing reads."""
        from transformers.modeling_outputs import BaseModelOutput

        rows = []
        # No caption holds the padding token.
        lengths = (ids != BERT_IDS["[PAD]"]).sum(dim=1).tolist()
        for index, length in enumerate(lengths):
            row = slice(index, index + 1)
            features = self._read(
                ids[row, :length],
                mask[row, :, :length, :length],
                token_types[row, :length],
                positions[row, :length],
            )
            rows.append(F.pad(features, (0, 0, 0, ids.shape[1] - length)))
        return BaseModelOutput(last_hidden_state=torch.stack(rows))

    def _read(self, ids: Tensor, mask: Tensor, token_types: Tensor, positions: Tensor) -> Tensor:
        """Return the features (l, d) of one caption of l tokens."""
        device = ids.device
        precision = None
        if torch.is_autocast_enabled(device.type):
            precision = torch.get_autocast_dtype(device.type)
        key = (*ids[0].tolist(), device, precision)
        if key not in self._known:
            if len(self._known) >= _MAX_CACHED_CAPTIONS:
                oldest = next(iter(self._known))
                del self._known[oldest]
            output = self.tower(ids, mask, token_types, positions)
            self._known[key] = output.last_hidden_state[0]
        return self._known[key]


def _repeat(tensor: Tensor, n: int) -> Tensor:
    return tensor.expand(n, *tensor.shape[1:])
