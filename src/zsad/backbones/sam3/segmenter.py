"""SAM 3: finds what a short noun phrase names in an image: a dense map, instances, and whether it is there at all.

Meta's network (N. Carion et al. 2025) as transformers has it, taken apart: the heavy towers, which see each image and
read each prompt once, and the light parts behind them, which run once for every image and prompt, and may learn.

Legend: B images, p prompts of t tokens, D width of the light parts, v learned vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zsad.backbones import hub
from zsad.backbones.clip.tokenizer import END, tokenize
from zsad.backbones.sam3.head import Concepts, ImageFeatures, SAM3Head, TextFeatures

MEAN = STD = 0.5
_WHAT = "SAM 3"


class SAM3Segmenter(nn.Module):
    """The frozen SAM 3. Each image is encoded once and each prompt once, however many meet.

    Args:
        pretrained: A hub id (``facebook/sam3``: ask for access there first), a local folder, or ``None`` for random
            weights.
        architecture: The sections of transformers' ``Sam3Config``, for random weights.
        input_size: Side in pixels that images are resized to, not keeping their shape, as SAM 3 was trained with 1008.
            Multiples of the patch (14); 672 and 504 are faster.
        dtype: ``float32``, ``bfloat16`` or ``float16`` of the towers. The light parts keep float32 weights, so that
            they can learn, and compute in this precision unless they do.
        prompt_chunk: So many prompts go through the light parts together; bounds the memory, not the result.

    Raises:
        ValueError: If ``dtype`` is none of the three, the size is no multiple of the patch, or random weights have no
            architecture.
        FileNotFoundError: If the weights cannot be had; the message says what to do.
    """

    def __init__(
        self,
        pretrained: str | None = "facebook/sam3",
        *,
        architecture: dict[str, Any] | None = None,
        input_size: int = 1008,
        dtype: str = "float32",
        prompt_chunk: int = 8,
    ) -> None:
        super().__init__()
        self.dtype = hub.as_dtype(dtype)
        model = (
            _random(architecture, input_size)
            if pretrained is None
            else _pretrained(pretrained, input_size)
        )
        self.input_size = input_size
        self.prompt_chunk = prompt_chunk
        self.text_length: int = model.config.text_config.max_position_embeddings
        self.towers = nn.ModuleDict({"vision": model.vision_encoder, "text": model.text_encoder})
        self.light = SAM3Head(model)
        for (
            parameter
        ) in self.towers.parameters():  # not the buffers: positions would lose their last digits
            parameter.data = parameter.data.to(self.dtype)
        self._known: dict[str, tuple[Tensor, Tensor]] = {}
        self._known_for: tuple[object, ...] | None = None
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> SAM3Segmenter:  # noqa: ARG002 (the signature is torch's)
        """Stay in eval mode: even what learns does so without dropout, and so repeats itself when resumed."""
        return super().train(False)

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "b 3 h w"]) -> ImageFeatures:
        """Run the image tower once over images in [0, 1] of any size."""
        seen = self.towers["vision"](((self.resize(image) - MEAN) / STD).to(self._tower_dtype))
        # The coarsest level of all has no use: SAM 3 was trained without it.
        levels = tuple(level.to(self.light.dtype) for level in seen.fpn_hidden_states[:-1])
        return ImageFeatures(levels, seen.fpn_position_encoding[-2].to(self.light.dtype))

    def resize(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 side side"]:
        """Resize to the input size, bilinearly with antialiasing and in steps of 1/255, as SAM 3 was trained."""
        side = self.input_size
        if image.shape[-2:] == (side, side):
            return image
        resized = F.interpolate(image.float(), size=(side, side), mode="bilinear", antialias=True)
        return ((resized * 255).round().clamp(0, 255) / 255).to(image.dtype)

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> TextFeatures:
        """Run the text tower, once for each new prompt.

        What is known is forgotten when the tower changes its device or its precision.

        Raises:
            ValueError: If a prompt has more tokens than the tower takes.
        """
        weights = next(self.towers["text"].parameters())
        state = (weights.device, weights.dtype, torch.is_autocast_enabled(weights.device.type))
        if state != self._known_for:
            self._known, self._known_for = {}, state
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        for start in range(0, len(new), 64):
            self._learn_words(new[start : start + 64], weights.device)
        tokens, is_word = zip(*(self._known[prompt] for prompt in prompts), strict=True)
        return TextFeatures(torch.stack(tokens), torch.stack(is_word))

    def segment(
        self,
        features: ImageFeatures,
        text: TextFeatures,
        *,
        top_queries: int = 20,
        vectors: Float[Tensor, "v d"] | None = None,
        vector_mask: Bool[Tensor, " v"] | None = None,
    ) -> Concepts:
        """Look for p prompts in one encoded image. Gradients flow where the light parts or the vectors learn.

        Args:
            features: Of one image (``ImageFeatures.of``).
            text: Of the prompts.
            top_queries: Only so many queries of each prompt, the best, get a mask.
            vectors: Learned ones that join the words of every prompt.
            vector_mask: Which of them count; ``None`` for all.
        """
        found = []
        for tokens, is_word in zip(
            text.tokens.split(self.prompt_chunk), text.is_word.split(self.prompt_chunk), strict=True
        ):
            arguments = (
                features.repeated(len(tokens)),
                tokens,
                is_word,
                top_queries,
                vectors,
                vector_mask,
            )
            if (
                torch.is_grad_enabled()
            ):  # the backward pass runs each chunk again, instead of keeping all of them
                found.append(checkpoint(self.light, *arguments, use_reentrant=False))
            else:
                with self._precision(tokens.device.type):
                    found.append(self.light(*arguments))
        return Concepts(
            *(torch.cat([getattr(one, part.name) for one in found]) for part in fields(Concepts))
        )

    @property
    def _tower_dtype(self) -> torch.dtype:
        return next(self.towers.parameters()).dtype

    def _precision(self, device: str) -> Any:
        """Let the light parts compute in half precision where the towers do."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(device, self.dtype)

    def _learn_words(self, prompts: Sequence[str], device: torch.device) -> None:
        ids = torch.cat([self._tokenized(prompt) for prompt in prompts]).to(device)
        # The end has the highest id of all; what follows it is padding.
        is_word = torch.arange(self.text_length, device=device) <= (ids == END).int().argmax(
            dim=1, keepdim=True
        )
        tokens = self.towers["text"](input_ids=ids, attention_mask=is_word.long()).last_hidden_state
        self._known |= dict(
            zip(prompts, zip(tokens.to(self.light.dtype), is_word, strict=True), strict=True)
        )

    def _tokenized(self, prompt: str) -> Tensor:
        try:
            return tokenize([prompt], context_length=self.text_length)
        except ValueError:
            raise ValueError(
                f"the prompt {prompt!r} is longer than the {self.text_length} tokens that SAM 3 reads, its start and "
                "end included: a short noun phrase is what it understands"
            ) from None


def _random(architecture: dict[str, Any] | None, input_size: int) -> Any:
    from transformers import Sam3Config, Sam3Model

    if architecture is None:
        raise ValueError(
            "pretrained=null makes random weights, and needs architecture to say of what shape"
        )
    config = Sam3Config(**architecture)
    _set_input_size(config, input_size)
    return hub.random_model(lambda: Sam3Model(config))


def _pretrained(name: str, input_size: int) -> Any:
    from transformers import Sam3Config, Sam3Model

    config = hub.load_part(Sam3Config, name, what=_WHAT)
    if detector := getattr(
        config, "detector_config", None
    ):  # the published file holds a tracker for videos, too
        config = Sam3Config(**detector) if isinstance(detector, dict) else detector
    _set_input_size(config, input_size)
    return hub.load_pretrained(Sam3Model, name, what=_WHAT, config=config)


def _set_input_size(config: Any, input_size: int) -> None:
    """Tell a configuration the side of its images: the positions, and the grid of every level."""
    vision = config.vision_config
    side, rest = divmod(input_size, vision.backbone_config.patch_size)
    if rest or side < 1:
        raise ValueError(
            f"input_size={input_size} is no multiple of the patch of {vision.backbone_config.patch_size} px"
        )
    vision.backbone_config.image_size = input_size
    vision.backbone_feature_sizes = [
        [int(side * factor)] * 2 for factor in vision.scale_factors[:-1]
    ]
