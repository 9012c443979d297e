"""SAM 3: segments the things that a short noun phrase names, and tells whether they are there.

Meta's network (N. Carion et al. 2025) as transformers has it, taken apart: the heavy towers, which
read each image and each prompt once, and the head behind them, which runs once for every image and
prompt, and may learn.

Legend: B images, p prompts of t tokens, D width of the head, v learned vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zsad.backbones import hub
from zsad.backbones.clip.tokenizer import END, tokenize
from zsad.backbones.frozen import FrozenNetwork
from zsad.backbones.sam3.build import build_random, load_pretrained
from zsad.backbones.sam3.head import Concepts, ImageFeatures, SAM3Head, TextFeatures, join_concepts

MEAN = STD = 0.5
_PROMPTS_AT_ONCE = 64  # through the text tower


class SAM3Segmenter(FrozenNetwork):
    """The frozen SAM 3. It encodes each image once and each prompt once, however many meet.

    Even a head that learns stays in eval mode: it learns without dropout, and so repeats itself
    when resumed.

    Args:
        pretrained: A hub id (``facebook/sam3``: ask for access there first), a local folder, or
            ``None`` for random weights.
        architecture: The sections of transformers' ``Sam3Config``, for random weights.
        input_size: Side in pixels that images are resized to, not keeping their shape, as SAM 3 was
            trained with 1008. Multiples of the patch (14); 672 and 504 are faster.
        dtype: ``float32``, ``bfloat16`` or ``float16`` of the towers. The head keeps float32
            weights, so that it can learn, and computes in this precision unless it does.
        prompt_chunk: So many prompts go through the head together; bounds the memory, not the
            result.

    Raises:
        ValueError: If ``dtype`` is none of the three, the size is no multiple of the patch, or
            random weights have no architecture.
        FileNotFoundError: If the weights cannot be had; the message tells the way to get them.
    """

    hashed_as = {"head": "light"}  # noqa: RUF012 (a constant)

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
        if pretrained is None:
            model = build_random(architecture, input_size)
        else:
            model = load_pretrained(pretrained, input_size)
        self.input_size = input_size
        self.prompt_chunk = prompt_chunk
        self.text_length: int = model.config.text_config.max_position_embeddings
        self.towers = nn.ModuleDict({"vision": model.vision_encoder, "text": model.text_encoder})
        self.head = SAM3Head(model)
        # Not the buffers: positions would lose their last digits.
        for parameter in self.towers.parameters():
            parameter.data = parameter.data.to(self.dtype)
        self._known: dict[str, tuple[Tensor, Tensor]] = {}
        self._known_for: tuple[object, ...] | None = None
        self.freeze()

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "b 3 h w"]) -> ImageFeatures:
        """Run the image tower once over images in [0, 1] of any size."""
        normalized = (self.resize(image) - MEAN) / STD
        out = self.towers["vision"](normalized.to(self._tower_dtype))
        # The coarsest level of all has no use: SAM 3 was trained without it.
        levels = tuple(level.to(self.head.dtype) for level in out.fpn_hidden_states[:-1])
        positions = out.fpn_position_encoding[-2]
        return ImageFeatures(levels, positions.to(self.head.dtype))

    def resize(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 side side"]:
        """Resize to the input size as in the training: bilinear, antialiased, in steps of 1/255."""
        side = self.input_size
        if image.shape[-2:] == (side, side):
            return image
        resized = F.interpolate(image.float(), size=(side, side), mode="bilinear", antialias=True)
        levels = (resized * 255).round().clamp(0, 255)
        return (levels / 255).to(image.dtype)

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> TextFeatures:
        """Run the text tower, once for each new prompt.

        Known prompts are forgotten when the tower changes its device or its precision.

        Raises:
            ValueError: If a prompt has more tokens than the tower takes.
        """
        weights = next(self.towers["text"].parameters())
        autocast = torch.is_autocast_enabled(weights.device.type)
        state = (weights.device, weights.dtype, autocast)
        if state != self._known_for:
            self._known = {}
            self._known_for = state
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        for start in range(0, len(new), _PROMPTS_AT_ONCE):
            end = start + _PROMPTS_AT_ONCE
            self._encode_new(new[start:end], weights.device)
        known = [self._known[prompt] for prompt in prompts]
        tokens, is_word = zip(*known, strict=True)
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
        """Search for p prompts in an encoded image. Gradients flow where head or vectors learn.

        Args:
            features: Of one image (``ImageFeatures.select``).
            text: Of the prompts.
            top_queries: Only so many queries of each prompt, the best, get a mask.
            vectors: Learned vectors that join the words of every prompt.
            vector_mask: The vectors in use; ``None`` for all.
        """
        all_tokens = text.tokens.split(self.prompt_chunk)
        all_is_word = text.is_word.split(self.prompt_chunk)
        options = (top_queries, vectors, vector_mask)
        parts: list[Concepts] = []
        for tokens, is_word in zip(all_tokens, all_is_word, strict=True):
            repeated = features.repeated(len(tokens))
            parts.append(self._run_head(repeated, tokens, is_word, *options))
        return join_concepts(parts)

    @property
    def _tower_dtype(self) -> torch.dtype:
        return next(self.towers.parameters()).dtype

    def _run_head(self, features: ImageFeatures, *arguments: Any) -> Any:
        if torch.is_grad_enabled():
            # The backward pass runs each chunk again, instead of keeping all of them.
            return checkpoint(self.head, features, *arguments, use_reentrant=False)
        with self._precision(features.positions.device.type):
            return self.head(features, *arguments)

    def _precision(self, device: str) -> Any:
        """Let the head compute in half precision where the towers do."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(device, self.dtype)

    def _encode_new(self, prompts: Sequence[str], device: torch.device) -> None:
        ids = torch.cat([self._tokenize(prompt) for prompt in prompts]).to(device)
        # Padding follows the end token.
        ends = (ids == END).int().argmax(dim=1, keepdim=True)
        is_word = torch.arange(self.text_length, device=device) <= ends
        out = self.towers["text"](input_ids=ids, attention_mask=is_word.long())
        tokens = out.last_hidden_state.to(self.head.dtype)
        for row, prompt in enumerate(prompts):
            self._known[prompt] = (tokens[row], is_word[row])

    def _tokenize(self, prompt: str) -> Tensor:
        try:
            return tokenize([prompt], context_length=self.text_length)
        except ValueError:
            raise ValueError(
                f"the prompt {prompt!r} is longer than the {self.text_length} tokens that SAM 3 "
                "reads, its start and end included: give it a short noun phrase"
            ) from None
