"""CLIP as it is: no learning, hand-written prompts, ordinary attention.

The baselines *CLIP* and *CLIP-AC* in the tables of AnomalyCLIP (ICLR 2024, arXiv 2310.18961, appendix), and the CLIP-AC
of WinCLIP (CVPR 2023, arXiv 2303.14814), which is another one; they differ in prompts, backbone and input size. No
script of either was published: this is what the papers and the authors say of them.

Legend: B images, h × w patches, H × W pixels, E joint width. Index 1 is anomalous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP, ImageFeatures
from zsad.functional import similarity
from zsad.functional.resample import gaussian_smooth, upsample
from zsad.methods.tiling import Tiling
from zsad.prompts.ensemble import CategoryTexts, PromptEnsemble
from zsad.prompts.rewording import copy_sharing_weights
from zsad.types import Prediction


class CLIPBaseline(nn.Module):
    """Compare the class token, and every patch likewise, with a *normal* and an *anomalous* text of the category.

    CLIP was never trained on single patches, and these maps are often inverted: AnomalyCLIP's tables have pixel AUROCs
    of 38 % for them. They stay as they are.

    Args:
        backbone: The frozen CLIP.
        prompts: The hand-written sentences.
        temperature: Divides every cosine. Two-class ranks do not depend on it.
        sigma_px: Gaussian smoothing of the anomaly map, in pixels of the input. Whether the published numbers were
            smoothed is not known.
        feature_blocks: Blocks whose patches are compared, counted from 1 in a tower of ``tower_depth`` blocks; the
            mean of their maps is taken.
        value_attention_from: First block with AnomalyCLIP's value–value path, counted likewise, from whose tokens the
            maps then come. ``None`` for ordinary attention, as published.
        tower_depth: Depth for which the two were written; other towers use the blocks at the same relative depth.
        tiling: Looks at tiles beside the whole image; ``None`` (published) for the whole alone.
    """

    def __init__(
        self,
        backbone: CLIP,
        prompts: PromptEnsemble,
        *,
        temperature: float = 0.07,
        sigma_px: float = 0.0,
        feature_blocks: Sequence[int] = (24,),
        value_attention_from: int | None = None,
        tower_depth: int = 24,
        tiling: Tiling | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.texts = CategoryTexts(prompts)
        self.temperature = temperature
        self.sigma_px = sigma_px
        self.feature_blocks = [backbone.block_at(block, of=tower_depth) for block in feature_blocks]
        self.value_attention_from = (
            None
            if value_attention_from is None
            else backbone.block_at(value_attention_from, of=tower_depth)
        )
        self.tiling = tiling

    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score images in [0, 1], each with the sentences of its own category."""
        text = self.texts.features(self.backbone, category)  # (B, 2, E)
        whole = (
            image
            if self.tiling is None
            else self.tiling.whole_view(image, self.backbone.input_size)
        )
        features = self.encode_image(whole)
        anomaly_map = self.pixel_map(image, features, text)
        score = similarity.margin(similarity.cosine_logits(features.image, text, self.temperature))
        return Prediction(gaussian_smooth(anomaly_map, self.sigma_px), score)

    def with_prompt_words(self, words: Mapping[str, str]) -> CLIPBaseline:
        """Return the method on the same weights, with other words for its states."""
        reworded = copy_sharing_weights(self)
        reworded.texts = self.texts.with_words(words)
        return reworded

    def encode_image(self, image: Float[Tensor, "b 3 h w"]) -> ImageFeatures:
        """Run the frozen image tower once."""
        return self.backbone.encode_image(
            self.backbone.normalize(image),
            blocks=self.feature_blocks,
            value_attention_from=self.value_attention_from,
        )

    def pixel_map(
        self, image: Float[Tensor, "b 3 h w"], features: ImageFeatures, text: Float[Tensor, "b 2 e"]
    ) -> Float[Tensor, "b h w"]:
        """Probability that each pixel is anomalous, from the features of the image's whole view and its tiles."""
        if self.tiling is None:
            return upsample(self.patch_map(features, text), (image.shape[-2], image.shape[-1]))

        def margins_of(
            tiles: Float[Tensor, "n 3 t_h t_w"], rows: Int[Tensor, " n"]
        ) -> Float[Tensor, "l n h w"]:
            return self.patch_margins(self.encode_image(tiles), text[rows])

        whole = self.patch_margins(features, text)
        return self.tiling.maps(image, whole, margins_of, self.backbone.patch_size).mean(dim=0)

    def patch_margins(
        self, features: ImageFeatures, text: Float[Tensor, "b 2 e"]
    ) -> Float[Tensor, "l b gh gw"]:
        """Anomalous minus normal logit of each patch, for each tapped block."""
        return similarity.patch_margins(features.tokens, text, features.grid, self.temperature)

    def patch_map(
        self, features: ImageFeatures, text: Float[Tensor, "b 2 e"]
    ) -> Float[Tensor, "b gh gw"]:
        """Probability that each patch is anomalous, mean over the tapped blocks."""
        maps = [
            similarity.anomaly_probability(tokens, text, features.grid, self.temperature)
            for tokens in features.tokens
        ]
        return torch.stack(maps).mean(dim=0)
