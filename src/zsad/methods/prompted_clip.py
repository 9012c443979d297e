"""The part that AnomalyCLIP and DHR-CLIP share: a frozen CLIP, compared with two learned sentences.

Legend: B images, L tapped blocks, N patches on an h × w grid, H × W pixels, E joint width. Index 1
is anomalous.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP, ImageFeatures
from zsad.functional import similarity
from zsad.functional.resample import upsample
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.prompts.rewording import copy_sharing_weights


class PromptedCLIP(nn.Module):
    """A frozen CLIP with learnable prompts; the steps of its methods, without their order.

    Args:
        backbone: The frozen CLIP.
        prompts: Makes the learnable prompts for a text width.
        feature_blocks: Tapped blocks, counted from 1 in a tower of ``tower_depth`` blocks.
        value_attention_from: First block with the value–value path, counted likewise; ``None`` for
            none.
        tower_depth: Depth for which the two were written; other towers use the blocks at the same
            relative depth.
        temperature: Divides every cosine.
        norm_image: Whether the global feature passes CLIP's final layer norm.
    """

    def __init__(
        self,
        backbone: CLIP,
        prompts: Callable[[int], ObjectAgnosticPrompts],
        *,
        feature_blocks: Sequence[int],
        value_attention_from: int | None,
        tower_depth: int,
        temperature: float,
        norm_image: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.prompts = prompts(backbone.text_width)
        self.feature_blocks = [backbone.block_at(block, of=tower_depth) for block in feature_blocks]
        self.value_attention_from = value_attention_from
        if value_attention_from is not None:
            self.value_attention_from = backbone.block_at(value_attention_from, of=tower_depth)
        self.temperature = temperature
        self.norm_image = norm_image
        self._known_text: tuple[tuple[object, ...], Tensor] | None = None

    @classmethod
    def works_untrained(cls) -> bool:
        """Return ``False``: untrained prompts are noise."""
        return False

    def with_prompt_words(self, words: Mapping[str, str]) -> PromptedCLIP:
        """Return the method on the same weights, with other words for its states."""
        reworded = copy_sharing_weights(self)
        reworded.prompts = self.prompts.with_words(words)
        return reworded

    def feature_key(self) -> dict[str, Any]:
        """Return the settings that the features depend on, beside image and weights."""
        return {
            "method": type(self).__name__,
            "blocks": self.feature_blocks,
            "value_attention_from": self.value_attention_from,
            "norm_image": self.norm_image,
            "mean": self.backbone.mean.flatten().tolist(),
            "std": self.backbone.std.flatten().tolist(),
        }

    def text_features(self) -> Float[Tensor, "2 e"]:
        """Return the two text features without gradients, cached as long as the prompts stay."""
        state = self._state_of_text()
        if self._known_text is None or self._known_text[0] != state:
            with torch.no_grad():
                self._known_text = (state, self.prompts(self.backbone))
        return self._known_text[1]

    def _state_of_text(self) -> tuple[object, ...]:
        """Return values that change with the text features.

        An optimizer step and a loaded checkpoint raise the version of a parameter; a move to
        another device changes its address.
        """
        versions = []
        for parameter in self.prompts.parameters():
            versions.append((parameter._version, parameter.data_ptr()))
        device_type = self.backbone.mean.device.type
        return (torch.is_autocast_enabled(device_type), self.prompts.words, *versions)

    def encode_image(self, image: Float[Tensor, "b 3 h w"]) -> ImageFeatures:
        """Run the frozen image tower once, with the taps and the side path of this method."""
        return self.backbone.encode_image(
            self.backbone.normalize(image),
            blocks=self.feature_blocks,
            value_attention_from=self.value_attention_from,
            norm_image=self.norm_image,
        )

    def restore_features(
        self,
        image: Float[Tensor, "b e"],
        tokens: Float[Tensor, "b l one_plus_n e"],
        size: tuple[int, int],
    ) -> ImageFeatures:
        """Return the output of the image tower from its tensors and the size of its input.

        Args:
            image: Global features.
            tokens: Tokens of the tapped blocks, stacked.
            size: Height and width in pixels.
        """
        patch = self.backbone.patch_size
        grid = (size[0] // patch, size[1] // patch)
        return ImageFeatures(image, tokens.unbind(dim=1), grid)

    def image_logits(
        self, features: ImageFeatures, text: Float[Tensor, "2 e"]
    ) -> Float[Tensor, "b 2"]:
        """Return the cosines of the global feature with both texts, over the temperature."""
        return similarity.cosine_logits(features.image, text, self.temperature)

    def patch_margins(
        self, features: ImageFeatures, text: Float[Tensor, "2 e"]
    ) -> Float[Tensor, "l b h w"]:
        """Return anomalous minus normal logit of every patch, for each tapped block."""
        return similarity.patch_margins(features.tokens, text, features.grid, self.temperature)

    def block_maps(
        self, features: ImageFeatures, text: Float[Tensor, "2 e"], size: tuple[int, int]
    ) -> Float[Tensor, "l b h w"]:
        """Return the probability of *anomalous* at every pixel, one map for each tapped block."""
        margins = self.patch_margins(features, text)
        maps = [upsample(block, size) for block in similarity.block_probabilities(margins)]
        return torch.stack(maps)
