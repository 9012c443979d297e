"""AnomalyCLIP: object-agnostic prompt learning for zero-shot anomaly detection.

Q. Zhou, G. Pang, Y. Tian, S. He, J. Chen. ICLR 2024, arXiv 2310.18961. Where the paper and its published code differ,
this follows the code (revision of May 2025), because the published checkpoints and numbers come from it.

Legend: B images, L tapped blocks, N patches on an h × w grid, H × W pixels, E joint width. Index 1 is anomalous.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP, ImageFeatures
from zsad.functional import losses, similarity
from zsad.functional.resample import gaussian_smooth, upsample
from zsad.methods.tiling import Tiling
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.prompts.rewording import copy_sharing_weights
from zsad.types import Batch, Prediction

IMAGE_SCORES = ("global", "map", "both")


class AnomalyCLIP(nn.Module):
    """Compare every patch, and the image as a whole, with a learned *normal* and a learned *anomalous* sentence.

    Args:
        backbone: The frozen CLIP.
        prompts: Makes the learnable prompts for a text width.
        feature_blocks: Tapped blocks, counted from 1 in a tower of ``tower_depth`` blocks. Published: 24 alone. (The
            four taps 6, 12, 18, 24 of the paper were, by an aliasing mistake in the code of that time, all block 24.)
        value_attention_from: First block with the value–value path, counted likewise; ``None`` for none.
        tower_depth: Depth for which the two were written; other towers use the blocks at the same relative depth.
        temperature: Divides every cosine. CLIP's initial 0.07, not its learned 0.01.
        local_weight: Weight of the map losses against the image loss.
        sigma_px: Gaussian smoothing of the anomaly map, in pixels of the input.
        image_score: ``global`` (published: the class token alone), ``map`` (highest point of the anomaly map), or
            ``both`` (mean of the two probabilities).
        norm_image: Whether the global feature passes CLIP's final layer norm. The published code leaves it out.
        tiling: Looks at tiles beside the whole image, in training too; ``None`` (published) for the whole alone.

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
        super().__init__()
        if image_score not in IMAGE_SCORES:
            raise ValueError(f"image_score={image_score!r}: expected one of {IMAGE_SCORES}")
        self.backbone = backbone
        self.prompts = prompts(backbone.text_width)
        self.feature_blocks = [backbone.block_at(block, of=tower_depth) for block in feature_blocks]
        self.value_attention_from = (
            None
            if value_attention_from is None
            else backbone.block_at(value_attention_from, of=tower_depth)
        )
        self.temperature = temperature
        self.local_weight = local_weight
        self.sigma_px = sigma_px
        self.image_score = image_score
        self.norm_image = norm_image
        self.tiling = tiling
        self._known_text: tuple[tuple[object, ...], Tensor] | None = None

    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:  # noqa: ARG002
        """Score images in [0, 1]. The category is not looked at: the prompts are object-agnostic."""
        text = self.text_features()
        features = self.encode_image(self.whole_view(image))
        anomaly_map = gaussian_smooth(
            self.pixel_maps(image, features, text).mean(dim=0), self.sigma_px
        )
        return Prediction(anomaly_map, self._score(self.image_logits(features, text), anomaly_map))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms; their sum is what training minimises.

        Images whose mask is unknown take part in the image term only.

        Source: AnomalyCLIP, section "training": cross-entropy of the image, focal and dice of every map.
        """
        return self.loss_from_features(self.extract_features(batch.image), batch)

    def extract_features(self, image: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Return what the frozen backbone sees, a row for each image: all that the loss needs of the pixels.

        ``image`` is the global vector (B, E), ``tokens`` are those of the tapped blocks (B, L, 1 + N, E).
        """
        features = self.encode_image(self.whole_view(image))
        return {"image": features.image, "tokens": torch.stack(features.tokens, dim=1)}

    def feature_key(self) -> dict[str, Any]:
        """Return the settings that ``extract_features`` depends on, beside image and weights.

        Raises:
            ValueError: With tiles, which are looked at anew in every step.
        """
        if self.tiling is not None:
            raise ValueError(
                "feature_cache keeps what was seen of whole images, not of tiles: learn with tiling=none (the prompts "
                "serve with tiles, too), or with feature_cache=none"
            )
        return {
            "method": type(self).__name__,
            "blocks": self.feature_blocks,
            "value_attention_from": self.value_attention_from,
            "norm_image": self.norm_image,
            "mean": self.backbone.mean.flatten().tolist(),
            "std": self.backbone.std.flatten().tolist(),
        }

    def loss_from_features(self, features: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the terms of ``loss`` from extracted features; without tiles, pixels are not read."""
        text = self.prompts(self.backbone)
        seen = self._features(features["image"], features["tokens"], self._whole_size(batch))
        terms = {"image": F.cross_entropy(self.image_logits(seen, text), batch.is_anomalous.long())}
        if batch.has_mask.any():
            if self.tiling is None:
                maps = self.block_maps(seen, text, self._whole_size(batch))
            else:
                maps = self.pixel_maps(batch.image, seen, text)
            terms |= self._map_losses(maps[:, batch.has_mask], batch.mask[batch.has_mask])
        return terms

    @classmethod
    def works_untrained(cls) -> bool:
        """Return ``False``: prompts that never trained are noise."""
        return False

    def with_prompt_words(self, words: Mapping[str, str]) -> AnomalyCLIP:
        """Return the method on the same weights, with other words for its states."""
        reworded = copy_sharing_weights(self)
        reworded.prompts = self.prompts.with_words(words)
        return reworded

    def whole_view(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 side_h side_w"]:
        """Return what the image tower sees of the whole: the image, or with tiling the image at the tower's size."""
        return (
            image
            if self.tiling is None
            else self.tiling.whole_view(image, self.backbone.input_size)
        )

    def encode_image(self, image: Float[Tensor, "b 3 h w"]) -> ImageFeatures:
        """Run the frozen image tower once, with the taps and the side path of this method."""
        return self.backbone.encode_image(
            self.backbone.normalize(image),
            blocks=self.feature_blocks,
            value_attention_from=self.value_attention_from,
            norm_image=self.norm_image,
        )

    def image_logits(
        self, features: ImageFeatures, text: Float[Tensor, "2 e"]
    ) -> Float[Tensor, "b 2"]:
        """Cosine of the global feature with both texts, over the temperature."""
        return similarity.cosine_logits(features.image, text, self.temperature)

    def pixel_maps(
        self, image: Float[Tensor, "b 3 h w"], features: ImageFeatures, text: Float[Tensor, "2 e"]
    ) -> Float[Tensor, "l b h w"]:
        """Probability of *anomalous* at every pixel of the image, from the features of its whole view and its tiles."""
        if self.tiling is None:
            return self.block_maps(features, text, (image.shape[-2], image.shape[-1]))

        def margins_of(
            tiles: Float[Tensor, "n 3 t_h t_w"],
            rows: Int[Tensor, " n"],  # noqa: ARG001
        ) -> Float[Tensor, "l n h w"]:
            return self.patch_margins(self.encode_image(tiles), text)

        return self.tiling.maps(
            image, self.patch_margins(features, text), margins_of, self.backbone.patch_size
        )

    def patch_margins(
        self, features: ImageFeatures, text: Float[Tensor, "2 e"]
    ) -> Float[Tensor, "l b h w"]:
        """Anomalous minus normal logit of every patch, for each tapped block."""
        return similarity.patch_margins(features.tokens, text, features.grid, self.temperature)

    def block_maps(
        self, features: ImageFeatures, text: Float[Tensor, "2 e"], size: tuple[int, int]
    ) -> Float[Tensor, "l b h w"]:
        """Probability of *anomalous* at every pixel, one map for each tapped block."""
        maps = [
            similarity.anomaly_probability(tokens, text, features.grid, self.temperature)
            for tokens in features.tokens
        ]
        return torch.stack([upsample(patch_map, size) for patch_map in maps])

    def text_features(self) -> Float[Tensor, "2 e"]:
        """Return the two text features without gradients; computed once for as long as the prompts stay the same."""
        # An optimizer step and a loaded checkpoint raise the version; a move to another device changes the address.
        prompts = tuple(
            (parameter._version, parameter.data_ptr()) for parameter in self.prompts.parameters()
        )
        state = (
            torch.is_autocast_enabled(self.backbone.mean.device.type),
            self.prompts.words,
            *prompts,
        )
        if self._known_text is None or self._known_text[0] != state:
            with torch.no_grad():
                self._known_text = (state, self.prompts(self.backbone))
        return self._known_text[1]

    def _whole_size(self, batch: Batch) -> tuple[int, int]:
        """Height and width of the whole view of the images of a batch."""
        side = self.backbone.input_size
        return (batch.mask.shape[-2], batch.mask.shape[-1]) if self.tiling is None else (side, side)

    def _features(
        self,
        image: Float[Tensor, "b e"],
        tokens: Float[Tensor, "b l one_plus_n e"],
        size: tuple[int, int],
    ) -> ImageFeatures:
        """Put together again what the image tower gave of images of a size."""
        patch = self.backbone.patch_size
        return ImageFeatures(image, tokens.unbind(dim=1), (size[0] // patch, size[1] // patch))

    def _map_losses(
        self, maps: Float[Tensor, "l b h w"], mask: Bool[Tensor, "b h w"]
    ) -> dict[str, Tensor]:
        terms = {
            "focal": [losses.focal_loss(p, mask) for p in maps],
            "dice_anomalous": [losses.dice_loss(p, mask) for p in maps],
            "dice_normal": [losses.dice_loss(1 - p, ~mask) for p in maps],
        }
        return {
            name: self.local_weight * torch.stack(values).sum() for name, values in terms.items()
        }

    def _score(
        self, logits: Float[Tensor, "b 2"], anomaly_map: Float[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        seen_globally = similarity.margin(logits)
        if self.image_score == "global":
            return seen_globally
        peak = similarity.peak_margin(anomaly_map)
        return peak if self.image_score == "map" else similarity.mean_margin(seen_globally, peak)
