"""SAM 3's head: everything behind the two towers. It runs once for every image and prompt.

Legend: B images, p prompts of t tokens, E text width, D width of the head, q queries, k the best of
them, v learned vectors, h × w pixels of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Features of the image tower.

    Attributes:
        levels: (B, D, h_i, w_i), from fine to coarse; the finest has the grid of the maps.
        positions: (B, D, h, w), position embedding of each cell of the coarsest level.
    """

    levels: tuple[Tensor, ...]
    positions: Tensor

    def select(self, image: int) -> ImageFeatures:
        """Return the features of one image of the batch."""
        row = slice(image, image + 1)
        levels = tuple(level[row] for level in self.levels)
        return ImageFeatures(levels, self.positions[row])

    def repeated(self, times: int) -> ImageFeatures:
        """Return the features of one image for several prompts, without copying them."""
        levels = tuple(level.expand(times, -1, -1, -1) for level in self.levels)
        return ImageFeatures(levels, self.positions.expand(times, -1, -1, -1))


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """Features of p prompts from the text tower.

    Attributes:
        tokens: (p, t, E), before the projection to the head.
        is_word: (p, t) bool, ``False`` on padding.
    """

    tokens: Tensor
    is_word: Tensor


@dataclass(frozen=True, slots=True)
class Concepts:
    """Findings for p prompts in one image; all but boxes as logits, in float32.

    Attributes:
        semantic: (p, h, w), whether each pixel belongs to the concept.
        presence: (p,), whether the concept is in the image at all.
        queries: (p, k), whether each query is an instance of the concept, best first, given that it
            is present.
        boxes: (p, k, 4), x0, y0, x1, y1 as shares of the image.
        masks: (p, k, h, w), the pixels of each query.
    """

    semantic: Tensor
    presence: Tensor
    queries: Tensor
    boxes: Tensor
    masks: Tensor


def join_concepts(parts: Sequence[Concepts]) -> Concepts:
    """Join the findings for several groups of prompts in one image."""
    joined = {}
    for field in fields(Concepts):
        tensors = [getattr(part, field.name) for part in parts]
        joined[field.name] = torch.cat(tensors)
    return Concepts(**joined)


class SAM3Head(nn.Module):
    """SAM 3's encoder, decoder, scorer and mask decoder: 25 of its 840 million parameters.

    Args:
        model: transformers' ``Sam3Model``, whose parts it takes. The encoder of box prompts is left
            behind.
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
        """Type of the weights."""
        return self.text_projection.weight.dtype

    @property
    def width(self) -> int:
        """Width D of the words as they are compared with the image."""
        return self.text_projection.out_features

    def unfreeze(self) -> None:
        """Train every part that a map or a score depends on.

        Boxes do not learn, nor do the parts that SAM 3 never runs.
        """
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
        """Search for p prompts in an image.

        Args:
            features: Of one image, repeated for each prompt.
            tokens: Of the prompts.
            is_word: ``False`` on their padding.
            top_queries: Number k of queries of each prompt, the best, that get a mask.
            vectors: Learned vectors that join the words of every prompt.
            vector_mask: The vectors in use; ``None`` for all.
        """
        words = self.text_projection(tokens)
        if vectors is not None:
            words, is_word = _append_vectors(words, is_word, vectors, vector_mask)
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
        states = decoded.intermediate_hidden_states[-1]  # (p, q, D)
        scores = self.scoring(states[None], encoded.text_features, is_word)
        scores = scores[0, ..., 0]  # (1, p, q, 1) -> (p, q)
        count = min(top_queries, scores.shape[1])
        scores, best = scores.topk(count, dim=1)  # (p, q) -> (p, k)
        states = _take(states, best)  # (p, q, D) -> (p, k, D)
        reference_boxes = _take(decoded.reference_boxes[-1], best)
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
            queries=scores.float(),
            boxes=self._boxes(states, reference_boxes).float(),
            masks=pixels.pred_masks.float(),
        )

    def _boxes(self, states: Tensor, reference: Tensor) -> Tensor:
        from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy, inverse_sigmoid

        logits = inverse_sigmoid(reference) + self.decoder.box_head(states)
        return box_cxcywh_to_xyxy(logits.sigmoid())


def _append_vectors(
    words: Float[Tensor, "p t d"],
    is_word: Bool[Tensor, "p t"],
    vectors: Float[Tensor, "v d"],
    vector_mask: Bool[Tensor, " v"] | None,
) -> tuple[Float[Tensor, "p u d"], Bool[Tensor, "p u"]]:
    """Append the learned vectors to the words of every prompt: u = t + v."""
    count = len(words)
    if vector_mask is None:
        vector_mask = torch.ones(len(vectors), dtype=torch.bool, device=words.device)
    repeated = vectors.to(words.dtype).expand(count, -1, -1)
    is_used = vector_mask.expand(count, -1)
    words = torch.cat([words, repeated], dim=1)
    is_word = torch.cat([is_word, is_used], dim=1)
    return words, is_word


def _take(values: Float[Tensor, "p q d"], indices: Tensor) -> Float[Tensor, "p k d"]:
    """Return rows of each prompt, by its own indices (p, k)."""
    columns = indices[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, columns)
