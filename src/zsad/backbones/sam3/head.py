"""The light parts of SAM 3: what runs once for every image and prompt, behind the two towers, and may learn.

Legend: B images, p prompts of t tokens, E text width, D width of the light parts, k queries, v learned vectors, h × w
pixels of a map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the image tower sees.

    Attributes:
        levels: (B, D, h_i, w_i), from fine to coarse; the finest has the grid of the maps.
        positions: (B, D, h, w), where each cell of the coarsest level lies.
    """

    levels: tuple[Tensor, ...]
    positions: Tensor

    def of(self, image: int) -> ImageFeatures:
        """Return the features of one image of the batch."""
        one = slice(image, image + 1)
        return ImageFeatures(tuple(level[one] for level in self.levels), self.positions[one])

    def repeated(self, times: int) -> ImageFeatures:
        """Return the features of one image for several prompts, without copying them."""
        levels = tuple(level.expand(times, -1, -1, -1) for level in self.levels)
        return ImageFeatures(levels, self.positions.expand(times, -1, -1, -1))


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What the text tower makes of p prompts.

    Attributes:
        tokens: (p, t, E), before the projection to the light parts.
        is_word: (p, t) bool, ``False`` on padding.
    """

    tokens: Tensor
    is_word: Tensor


@dataclass(frozen=True, slots=True)
class Concepts:
    """What was found of p prompts in one image; all but boxes as logits, in float32.

    Attributes:
        semantic: (p, h, w), whether each pixel belongs to the concept.
        presence: (p,), whether the concept is in the image at all.
        queries: (p, k), whether each query is an instance of the concept, best first, given that it is present.
        boxes: (p, k, 4), x0, y0, x1, y1 as shares of the image.
        masks: (p, k, h, w), the pixels of each query.
    """

    semantic: Tensor
    presence: Tensor
    queries: Tensor
    boxes: Tensor
    masks: Tensor


class SAM3Head(nn.Module):
    """The parts of SAM 3 that run for every image and prompt: 25 of 840 million parameters.

    Args:
        model: transformers' ``Sam3Model``, whose parts it takes. The encoder of box prompts is left behind.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.text_projection: Any = model.text_projection
        self.encoder: Any = model.detr_encoder
        self.decoder: Any = model.detr_decoder
        self.scoring: Any = model.dot_product_scoring
        self.mask_decoder: Any = model.mask_decoder

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.text_projection.weight.dtype

    @property
    def width(self) -> int:
        """D, of the words as they are compared with what is seen."""
        return self.text_projection.out_features

    def unfreeze(self) -> None:
        """Let everything learn that a map or a score comes from; boxes do not, nor does what SAM 3 never runs."""
        self.requires_grad_(True)
        self.decoder.box_head.requires_grad_(False)
        pixels = self.mask_decoder.pixel_decoder
        for layers in (pixels.conv_layers, pixels.norms):
            layers[2:].requires_grad_(False)  # three levels have two steps between them

    def forward(
        self,
        features: ImageFeatures,
        tokens: Float[Tensor, "p t e"],
        is_word: Bool[Tensor, "p t"],
        top_queries: int,
        vectors: Float[Tensor, "v d"] | None,
        vector_mask: Bool[Tensor, " v"] | None,
    ) -> Concepts:
        """Look for p prompts; the features are repeated for each."""
        words, is_word = self._words(tokens, is_word, vectors, vector_mask)
        encoded = self.encoder(
            vision_features=[features.levels[-1]],
            text_features=words,
            vision_pos_embeds=[features.positions],
            text_mask=is_word,
        )
        decoded = self.decoder(
            vision_features=encoded.last_hidden_state,
            text_features=encoded.text_features,
            vision_pos_encoding=encoded.pos_embeds_flattened,
            text_mask=is_word,
            spatial_shapes=encoded.spatial_shapes,
        )
        states = decoded.intermediate_hidden_states[-1]  # (p, all queries, D)
        queries = self.scoring(states[None], encoded.text_features, is_word)[0, ..., 0]
        queries, best = queries.topk(min(top_queries, queries.shape[1]), dim=1)
        states, reference = _take(states, best), _take(decoded.reference_boxes[-1], best)
        pixels = self.mask_decoder(
            decoder_queries=states,
            backbone_features=list(features.levels),
            encoder_hidden_states=encoded.last_hidden_state,
            prompt_features=words,
            prompt_mask=is_word,
        )
        return Concepts(
            semantic=pixels.semantic_seg[:, 0].float(),
            presence=decoded.presence_logits[-1][:, 0].float(),
            queries=queries.float(),
            boxes=self._boxes(states, reference).float(),
            masks=pixels.pred_masks.float(),
        )

    def _words(
        self, tokens: Tensor, is_word: Tensor, vectors: Tensor | None, vector_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Project the words, and let the learned vectors join them."""
        words = self.text_projection(tokens)
        if vectors is None:
            return words, is_word
        count = len(words)
        vector_mask = (
            torch.ones(len(vectors), dtype=torch.bool, device=words.device)
            if vector_mask is None
            else vector_mask
        )
        words = torch.cat([words, vectors.to(words.dtype).expand(count, -1, -1)], dim=1)
        return words, torch.cat([is_word, vector_mask.expand(count, -1)], dim=1)

    def _boxes(self, states: Tensor, reference: Tensor) -> Tensor:
        from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy, inverse_sigmoid

        return box_cxcywh_to_xyxy(
            (inverse_sigmoid(reference) + self.decoder.box_head(states)).sigmoid()
        )


def _take(values: Tensor, indices: Tensor) -> Tensor:
    """Return rows of (p, q, D), for each p its own."""
    return values.gather(1, indices[..., None].expand(-1, -1, values.shape[-1]))
