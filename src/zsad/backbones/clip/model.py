"""Any open_clip ViT with OpenAI's structure, frozen.

Legend: B images, N patches, W windows, V vision width, E joint width, n texts, T tokens, D text
width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zsad.backbones.clip import build, weights
from zsad.backbones.clip.positions import resize_positions
from zsad.backbones.clip.text_tower import encode_embedded_text
from zsad.backbones.clip.value_attention import dual_block
from zsad.backbones.clip.window_tokens import class_tokens_of_windows
from zsad.backbones.frozen import FrozenNetwork


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Features of the image tower.

    Attributes:
        image: (B, E) class token of the ordinary path, projected.
        tokens: For each tapped block, (B, 1 + N, E): class token first, then patches row by row;
            after the final layer norm and the projection. Not of unit length. (B, 1 + N, V) where
            the projection was left out.
        grid: Patches per column and per row.
    """

    image: Tensor
    tokens: tuple[Tensor, ...]
    grid: tuple[int, int]


class CLIP(FrozenNetwork):
    """A frozen CLIP: maps images and sentences to vectors of one space.

    Args:
        model_name: open_clip architecture (``ViT-L-14-336``), ``hf-hub:org/name``, or ``None``:
            read it from the file.
        pretrained: open_clip tag (``openai``), a local file (OpenAI's ``.pt``, open_clip's ``.bin``
            or ``.pt``, safetensors), or ``None`` for random weights, the same every time.
        architecture: open_clip's own description, where ``model_name`` names none.
        quick_gelu: OpenAI's weights were trained with the sigmoid approximation of GELU, most
            others were not. ``None``: as open_clip's catalogue has it for the tag. A local file
            does not tell: ``None`` takes it for OpenAI's where OpenAI published that
            architecture, so set ``false`` for a LAION file of ViT-B or ViT-L.
        input_size: Side in pixels that images are resized to for dense prediction; position
            embeddings are interpolated to it. ``None`` for the native side.
        mean: Channel means that ``normalize`` subtracts; ``None`` for those of the tag, or else
            OpenAI's.
        std: Channel deviations that it divides by; ``None`` likewise.

    Raises:
        ValueError: If the architecture is not a ViT CLIP of OpenAI's structure, or the weights do
            not fit it.
        FileNotFoundError: If the weights cannot be had; the message names the file to fetch and
            its place.
    """

    model: Any  # open_clip.CLIP; torch types every submodule as "Tensor | Module"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model_name: str | None = None,
        pretrained: str | None = "openai",
        *,
        architecture: dict[str, Any] | None = None,
        quick_gelu: bool | None = None,
        input_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        path = weights.locate(model_name, pretrained)
        state = None if path is None else weights.read_state_dict(path)
        if architecture is None:
            architecture = build.choose_architecture(model_name, state)
        known = weights.training_settings(model_name, pretrained)
        overrides = {"quick_gelu": quick_gelu, "mean": mean, "std": std}
        training = build.choose_training_settings(architecture, known, overrides)
        described = {**architecture, "quick_gelu": training["quick_gelu"]}
        # Where weights follow, the tower is built without memory of its own.
        self.model = build.build_towers(described, device="cpu" if state is None else "meta")
        if state is not None:
            build.load_weights(self.model, state, source=str(path))
        for name in ("mean", "std"):
            channels = torch.tensor(training[name]).view(3, 1, 1)
            self.register_buffer(name, channels, persistent=False)
        self.input_size = input_size or self.native_size
        self.freeze()

    @property
    def depth(self) -> int:
        """Number of blocks of the image tower."""
        return len(self.model.visual.transformer.resblocks)

    @property
    def text_depth(self) -> int:
        """Number of blocks of the text tower."""
        return len(self.model.transformer.resblocks)

    @property
    def text_width(self) -> int:
        """Width D of the text tower's tokens."""
        return self.model.token_embedding.embedding_dim

    @property
    def context_length(self) -> int:
        """Number of text positions."""
        return self.model.context_length

    @property
    def patch_size(self) -> int:
        """Side of a square patch in pixels."""
        return self.model.visual.patch_size[0]

    @property
    def native_size(self) -> int:
        """Side in pixels of the images the position table was trained for."""
        return self.model.visual.image_size[0]

    def block_at(self, block: int, *, of: int) -> int:
        """Return the image block, from 1, at the relative depth of ``block`` among ``of`` blocks.

        It carries blocks published for ViT-L/14 (24 blocks) to every tower: 6 of 24 is 3 of 12.

        Raises:
            ValueError: If the block is not one of ``of``.
        """
        if not 1 <= block <= of:
            raise ValueError(
                f"block {block} is not one of the {of} that it is counted in (see tower_depth)"
            )
        return max(1, round(block * self.depth / of))

    def normalize(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Normalise RGB in [0, 1] as the image tower was trained."""
        return (image - self.mean) / self.std

    @torch.no_grad()
    def encode_image(
        self,
        image: Float[Tensor, "b 3 h w"],
        *,
        blocks: Sequence[int] = (),
        value_attention_from: int | None = None,
        norm_image: bool = True,
        norm_tokens: bool = True,
        project_tokens: bool = True,
    ) -> ImageFeatures:
        """Encode normalised images into a global vector and the patch tokens of chosen blocks.

        Args:
            image: Output of ``normalize``; sides are multiples of the patch, of any size.
            blocks: Tapped blocks, counted from 1.
            value_attention_from: First block with the value–value side path; its taps are of that
                path. ``None`` for plain CLIP.
            norm_image: Whether the global vector passes the final layer norm, as CLIP was trained.
                The published AnomalyCLIP code leaves it out.
            norm_tokens: Whether the tapped tokens pass it.
            project_tokens: Whether the tapped tokens are projected to the joint space.

        Raises:
            ValueError: If a side is not a multiple of the patch, or a block does not exist.
        """
        self._check_blocks(blocks)
        ordinary, grid = self._embed_image(image)  # (B, 3, H, W) -> (B, 1 + N, V)
        first_dual = self.depth + 1 if value_attention_from is None else value_attention_from
        last_tap = max(blocks, default=0)
        value_path = None
        taps: dict[int, Tensor] = {}
        for index, block in enumerate(self.model.visual.transformer.resblocks, start=1):
            has_value_path = first_dual <= index <= last_tap
            taps_ordinary = index in blocks and not has_value_path
            # After the last block only the class token of the ordinary path is read.
            only_class_token = index == self.depth and not taps_ordinary
            ordinary, value_path = dual_block(
                block,
                ordinary,
                value_path,
                num_query_tokens=1 if only_class_token else None,
                with_value_path=has_value_path,
            )
            if index in blocks:
                tapped = value_path if has_value_path and value_path is not None else ordinary
                taps[index] = self._project(tapped, norm=norm_tokens, project=project_tokens)
        image_token = self._project(ordinary[:, 0], norm=norm_image)
        return ImageFeatures(image_token, tuple(taps[index] for index in blocks), grid)

    @torch.no_grad()
    def encode_windows(
        self,
        image: Float[Tensor, "b 3 h w"],
        indices: Sequence[Int[Tensor, "_ _"]],
        *,
        tokens_at_once: int = 4096,
    ) -> tuple[Float[Tensor, "b _ e"], ...]:
        """Encode windows of normalised images, each in a pass of its own: return its class token.

        Args:
            image: As in ``encode_image``.
            indices: For each scale (W, k), the patches of its windows, row by row from 0.
            tokens_at_once: About so many window tokens go through the tower together; bounds the
                memory (the hidden layer of an MLP takes 16 bytes a token and unit of width in
                float32: 59 MB at width 896).

        Returns:
            For each scale (B, W, E). Not of unit length.
        """
        tokens, _ = self._embed_image(image)
        scales = class_tokens_of_windows(self.model.visual, tokens, list(indices), tokens_at_once)
        return tuple(self._project(scale) for scale in scales)

    def embed_tokens(self, tokens: Int[Tensor, "n t"]) -> Float[Tensor, "n t d"]:
        """Look up the frozen embeddings of token ids."""
        return self.model.token_embedding(tokens)

    @torch.no_grad()
    def encode_text(self, tokens: Int[Tensor, "n t"]) -> Float[Tensor, "n e"]:
        """Encode plain sentences. Not of unit length."""
        return self.encode_prompts(self.embed_tokens(tokens), tokens.argmax(dim=-1))

    def encode_prompts(
        self,
        embedded: Float[Tensor, "n t d"],
        end: Int[Tensor, " n"],
        deep: Sequence[Float[Tensor, "n k d"]] = (),
    ) -> Float[Tensor, "n e"]:
        """Encode sentences given as embeddings, so that some of them can be learned.

        Args:
            embedded: Token embeddings, without positions.
            end: Position of each end token, whose output is the sentence's vector.
            deep: Learned tokens for the blocks from the second on; each replaces rows 1..k of that
                block's input.

        Raises:
            ValueError: If there are more deep prompts than blocks to take them.
        """
        if len(deep) >= self.text_depth:
            raise ValueError(
                f"{len(deep)} deep prompts need more than the {self.text_depth} blocks of this "
                "text tower"
            )
        return encode_embedded_text(self.model, embedded, end, deep)

    def _check_blocks(self, blocks: Sequence[int]) -> None:
        if not all(1 <= index <= self.depth for index in blocks):
            raise ValueError(
                f"tapped blocks {list(blocks)} do not all exist: this tower has blocks 1 to "
                f"{self.depth}"
            )

    def _embed_image(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        self._check_sides(*image.shape[-2:])
        visual = self.model.visual
        patches = visual.conv1(image.to(visual.conv1.weight.dtype))  # (B, V, H/p, W/p)
        grid = (patches.shape[-2], patches.shape[-1])
        x = patches.flatten(2).transpose(1, 2)  # (B, V, h, w) -> (B, N, V)
        class_token = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = torch.cat([class_token, x], dim=1)
        positions = resize_positions(visual.positional_embedding, visual.grid_size, grid)
        return visual.ln_pre(x + positions.to(x.dtype)), grid

    def _check_sides(self, height: int, width: int) -> None:
        patch = self.patch_size
        if height % patch or width % patch:
            nearest = max(round(height / patch), 1) * patch
            raise ValueError(
                f"images of {height} × {width} px do not divide into patches of {patch} px: set "
                f"image_size to a multiple of {patch}, such as {nearest}"
            )

    def _project(self, tokens: Tensor, *, norm: bool = True, project: bool = True) -> Tensor:
        visual = self.model.visual
        if norm:
            tokens = visual.ln_post(tokens)
        return tokens @ visual.proj if project else tokens
