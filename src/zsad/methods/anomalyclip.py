"""AnomalyCLIP: object-agnostic prompt learning for zero-shot anomaly detection.

Q. Zhou, G. Pang, Y. Tian, S. He, J. Chen. ICLR 2024, arXiv 2310.18961. Where the paper and its
published code differ, this follows the code (revision of May 2025), because the published
checkpoints and numbers come from it.

Legend: B images, L tapped blocks, N patches on an h × w grid, H × W pixels, E joint width. Index 1
is anomalous.
"""

# ruff: noqa: ARG001, ARG002 (the signatures are those of the contract and of tiling)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from zsad.backbones.clip.model import CLIP, ImageFeatures
from zsad.functional import losses, similarity
from zsad.functional.resample import gaussian_smooth
from zsad.methods.prompted_clip import PromptedCLIP
from zsad.methods.tiling import Tiling, views_of
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.types import Batch, Prediction

IMAGE_SCORES = ("global", "map", "both")


class AnomalyCLIP(PromptedCLIP):
    """Compare every patch, and the whole image, with a learned *normal* and *anomalous* sentence.

    Args:
        backbone: The frozen CLIP.
        prompts: Makes the learnable prompts for a text width.
        feature_blocks: Tapped blocks, counted from 1 in a tower of ``tower_depth`` blocks.
            Published: 24 alone. (The four taps 6, 12, 18, 24 of the paper were, by an aliasing
            mistake in the code of that time, all block 24.)
        value_attention_from: First block with the value–value path, counted likewise; ``None`` for
            none.
        tower_depth: Depth for which the two were written; other towers use the blocks at the same
            relative depth.
        temperature: Divides every cosine. CLIP's initial 0.07, not its learned 0.01.
        local_weight: Weight of the map losses against the image loss.
        sigma_px: Gaussian smoothing of the anomaly map, in pixels of the input.
        image_score: ``global`` (published: the class token alone), ``map`` (highest point of the
            anomaly map), or ``both`` (mean of the two probabilities).
        norm_image: Whether the global feature passes CLIP's final layer norm. The published code
            leaves it out.
        tiling: Shows tiles beside the whole image, in training too; ``None`` (published) for the
            whole alone.

    Raises:
        ValueError: If ``image_score`` is none of the three.
    """

    def __init__(
        self,
        backbone: CLIP,
        *,
        prompts: Callable[[int], ObjectAgnosticPrompts] = ObjectAgnosticPrompts,
        feature_blocks: Sequence[int] = (24,),
        value_attention_from: int | None = 6,
        tower_depth: int = 24,
        temperature: float = 0.07,
        local_weight: float = 4.0,
        sigma_px: float = 4.0,
        image_score: str = "global",
        norm_image: bool = False,
        tiling: Tiling | None = None,
    ) -> None:
        if image_score not in IMAGE_SCORES:
            raise ValueError(f"image_score={image_score!r}: expected one of {IMAGE_SCORES}")
        super().__init__(
            backbone,
            prompts,
            feature_blocks=feature_blocks,
            value_attention_from=value_attention_from,
            tower_depth=tower_depth,
            temperature=temperature,
            norm_image=norm_image,
        )
        self.local_weight = local_weight
        self.sigma_px = sigma_px
        self.image_score = image_score
        self.views = views_of(tiling)

    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score images in [0, 1]. The prompts are object-agnostic: the category is not used."""
        text = self.text_features()
        features = self.encode_whole(image)
        maps = self.pixel_maps(image, features, text)
        anomaly_map = gaussian_smooth(maps.mean(dim=0), self.sigma_px)
        score = self._score(self.image_logits(features, text), anomaly_map)
        return Prediction(anomaly_map, score)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms; training minimises their sum.

        Images whose mask is unknown take part in the image term only.

        Source: AnomalyCLIP, section "training": cross-entropy of the image, focal and dice of every
        map.
        """
        return self.loss_from_features(self.extract_features(batch.image), batch)

    def extract_features(self, image: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Return the features of the frozen backbone, a row for each image.

        ``image`` is the global vector (B, E), ``tokens`` are those of the tapped blocks
        (B, L, 1 + N, E).
        """
        features = self.encode_whole(image)
        return {"image": features.image, "tokens": torch.stack(features.tokens, dim=1)}

    def feature_key(self) -> dict[str, Any]:
        """Return the settings that ``extract_features`` depends on, beside image and weights.

        Raises:
            ValueError: With tiles, which are encoded anew in every step.
        """
        self.views.require_whole_images(
            "feature_cache keeps features of whole images, not of tiles: learn with tiling=none "
            "(the prompts serve with tiles, too), or with feature_cache=none"
        )
        return super().feature_key()

    def loss_from_features(self, features: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the terms of ``loss`` from extracted features; only tiles need pixels again."""
        text = self.prompts(self.backbone)
        size = (batch.mask.shape[-2], batch.mask.shape[-1])
        whole_size = self.views.whole_size(size, self.backbone.input_size)
        whole = self.restore_features(features["image"], features["tokens"], whole_size)
        logits = self.image_logits(whole, text)
        terms = {"image": F.cross_entropy(logits, batch.is_anomalous.long())}
        known = batch.has_mask
        if known.any():
            maps = self.pixel_maps(batch.image, whole, text)
            for name, term in losses.map_losses(maps[:, known], batch.mask[known]).items():
                terms[name] = self.local_weight * term
        return terms

    def encode_whole(self, image: Float[Tensor, "b 3 h w"]) -> ImageFeatures:
        """Encode the whole view: the image, or with tiling the image at the tower's size."""
        return self.encode_image(self.views.whole_view(image, self.backbone.input_size))

    def pixel_maps(
        self, image: Float[Tensor, "_ 3 h w"], features: ImageFeatures, text: Float[Tensor, "2 e"]
    ) -> Float[Tensor, "l b h w"]:
        """Return the probability of *anomalous* at every pixel, for each tapped block.

        Args:
            image: In [0, 1]; without tiles its size alone counts, and it may have no rows.
            features: Features of its whole view.
            text: The two text features.
        """

        def margins_of(
            tiles: Float[Tensor, "n 3 t_h t_w"], rows: Int[Tensor, " n"]
        ) -> Float[Tensor, "l n h w"]:
            return self.patch_margins(self.encode_image(tiles), text)

        whole = self.patch_margins(features, text)
        return self.views.maps(image, whole, margins_of, self.backbone.patch_size)

    def _score(
        self, logits: Float[Tensor, "b 2"], anomaly_map: Float[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        global_score = similarity.margin(logits)
        if self.image_score == "global":
            return global_score
        peak = similarity.peak_margin(anomaly_map)
        if self.image_score == "map":
            return peak
        return similarity.mean_margin(global_score, peak)
