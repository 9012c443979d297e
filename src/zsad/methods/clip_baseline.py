"""CLIP as it is: no learning, hand-written prompts, ordinary attention.

The baselines *CLIP* and *CLIP-AC* in the tables of AnomalyCLIP (ICLR 2024, arXiv 2310.18961,
appendix), and the CLIP-AC of WinCLIP (CVPR 2023, arXiv 2303.14814), which is another one; they
differ in prompts, backbone and input size. No script of either was published: this follows the
papers and their authors' answers.

Legend: B images, h × w patches, H × W pixels, E joint width. Index 1 is anomalous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float, Int
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP, ImageFeatures
from zsad.functional import similarity
from zsad.functional.resample import gaussian_smooth
from zsad.methods.tiling import Tiling, views_of
from zsad.prompts.ensemble import CategoryTexts, PromptEnsemble
from zsad.prompts.rewording import copy_sharing_weights
from zsad.types import Prediction


class CLIPBaseline(nn.Module):
    """Compare class token and patches with a *normal* and an *anomalous* text of the category.

    CLIP was never trained on single patches, and these maps are often inverted: AnomalyCLIP's
    tables have pixel AUROCs of 38 % for them. They stay as they are.

    Args:
        backbone: The frozen CLIP.
        prompts: The hand-written sentences.
        temperature: Divides every cosine. Two-class ranks do not depend on it.
        sigma_px: Gaussian smoothing of the anomaly map, in pixels of the input. Whether the
            published numbers were smoothed is not known.
        feature_blocks: Blocks whose patches are compared, counted from 1 in a tower of
            ``tower_depth`` blocks; the mean of their maps is taken.
        value_attention_from: First block with AnomalyCLIP's value–value path, counted likewise,
            from whose tokens the maps then come. ``None`` for ordinary attention, as published.
        tower_depth: Depth for which the two were written; other towers use the blocks at the same
            relative depth.
        tiling: Shows tiles beside the whole image; ``None`` (published) for the whole alone.
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
        self.value_attention_from = value_attention_from
        if value_attention_from is not None:
            self.value_attention_from = backbone.block_at(value_attention_from, of=tower_depth)
        self.views = views_of(tiling)

    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score images in [0, 1], each with the sentences of its own category."""
        text = self.texts.features(self.backbone, category)  # (B, 2, E)
        whole = self.views.whole_view(image, self.backbone.input_size)
        features = self.encode_image(whole)
        anomaly_map = gaussian_smooth(self.pixel_map(image, features, text), self.sigma_px)
        logits = similarity.cosine_logits(features.image, text, self.temperature)
        return Prediction(anomaly_map, similarity.margin(logits))

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
        """Return the probability that each pixel is anomalous, mean over the tapped blocks.

        Args:
            image: In [0, 1].
            features: Features of its whole view.
            text: The text features of each image's category.
        """

        def margins_of(
            tiles: Float[Tensor, "n 3 t_h t_w"], rows: Int[Tensor, " n"]
        ) -> Float[Tensor, "l n h w"]:
            return self.patch_margins(self.encode_image(tiles), text[rows])

        whole = self.patch_margins(features, text)
        return self.views.mean_map(image, whole, margins_of, self.backbone.patch_size)

    def patch_margins(
        self, features: ImageFeatures, text: Float[Tensor, "b 2 e"]
    ) -> Float[Tensor, "l b gh gw"]:
        """Return anomalous minus normal logit of each patch, for each tapped block."""
        return similarity.patch_margins(features.tokens, text, features.grid, self.temperature)
