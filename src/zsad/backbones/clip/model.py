"""Any open_clip ViT with OpenAI's structure, frozen, behind a few verbs.

Legend: B images, N patches, W windows, V vision width, E joint width, n texts, T tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from zsad.backbones.clip import weights
from zsad.backbones.clip.value_attention import dual_block
from zsad.backbones.clip.window_tokens import class_tokens_of_windows

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the image tower saw.

    Attributes:
        image: (B, E) class token of the ordinary path, projected.
        tokens: For each tapped block, (B, 1 + N, E): class token first, then patches row by row; after the final
            layer norm and the projection. Not of unit length. (B, 1 + N, V) where the projection was left out.
        grid: Patches per column and per row.
    """

    image: Tensor
    tokens: tuple[Tensor, ...]
    grid: tuple[int, int]


class CLIP(nn.Module):
    """A frozen CLIP: images and sentences become vectors of one space.

    Args:
        model_name: open_clip architecture (``ViT-L-14-336``), ``hf-hub:org/name``, or ``None``: read it from the file.
        pretrained: open_clip tag (``openai``), a local file (OpenAI's ``.pt``, open_clip's ``.bin`` or ``.pt``,
            safetensors), or ``None`` for random weights, the same ones every time.
        architecture: open_clip's own description, where ``model_name`` names none.
        quick_gelu: OpenAI's weights were trained with the sigmoid approximation of GELU, most others were not.
            ``None``: as open_clip's catalogue says of the tag. A local file does not tell: ``None`` takes it for one
            of OpenAI's where OpenAI published that architecture, so say ``false`` for a LAION file of ViT-B or ViT-L.
        input_size: Side in pixels that images are resized to for dense prediction; position embeddings are
            interpolated to it. ``None`` for the native side.
        mean: Channel means that ``normalize`` subtracts; ``None`` for those of the tag, or else OpenAI's.
        std: Channel deviations that it divides by; ``None`` likewise.

    Raises:
        ValueError: If the architecture is not a ViT CLIP of OpenAI's structure, or the weights do not fit it.
        FileNotFoundError: If the weights cannot be had; the message says what to fetch and where to put it.
    """

    model: (
        Any  # open_clip.CLIP; torch types every submodule as "Tensor | Module", which says nothing
    )
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
            architecture = _architecture(model_name, state)
        given = {"quick_gelu": quick_gelu, "mean": mean, "std": std}
        training = _training(architecture, weights.training_settings(model_name, pretrained), given)
        # Where weights follow, the tower is built without memory of its own.
        described = {**architecture, "quick_gelu": training["quick_gelu"]}
        self.model = _build(described, device="cpu" if state is None else "meta")
        if state is not None:
            _load(self.model, state, source=str(path))
        self.register_buffer("mean", torch.tensor(training["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(training["std"]).view(3, 1, 1), persistent=False)
        self.input_size = input_size or self.native_size
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "CLIP":  # noqa: ARG002 (the signature is torch's)
        """Stay in eval mode, whatever the trainer asks for: this network is frozen."""
        return super().train(False)

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
        """Return the image block at the relative depth that ``block`` has in a tower of ``of`` blocks, from 1.

        So that blocks published for ViT-L/14 (24 blocks) mean something in every tower: 6 of 24 is 3 of 12.

        Raises:
            ValueError: If the block is not one of ``of``.
        """
        if not 1 <= block <= of:
            raise ValueError(
                f"block {block} is not one of the {of} that it is counted in (see tower_depth)"
            )
        return max(1, round(block * self.depth / of))

    def normalize(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Turn RGB in [0, 1] into what the image tower expects."""
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
        """Encode normalised images, once, into a global vector and the patch tokens of chosen blocks.

        Args:
            image: Output of ``normalize``; sides are multiples of the patch, of any size.
            blocks: Tapped blocks, counted from 1.
            value_attention_from: First block with the value–value side path; its taps are of that path.
                ``None`` for plain CLIP.
            norm_image: Whether the global vector passes the final layer norm, as CLIP was trained. The published
                AnomalyCLIP code leaves it out.
            norm_tokens: Whether the tapped tokens pass it.
            project_tokens: Whether the tapped tokens are projected to the joint space.

        Raises:
            ValueError: If a side is not a multiple of the patch, or a block does not exist.
        """
        self._check_blocks(blocks)
        ordinary, grid = self._embed_image(image)  # (B, 3, H, W) -> (B, 1 + N, V)
        side, taps, last_tap = None, {}, max(blocks, default=0)
        for index, block in enumerate(self.model.visual.transformer.resblocks, start=1):
            dual = value_attention_from is not None and value_attention_from <= index <= last_tap
            plain_tap = index in blocks and not dual
            # After its last block only the class token of the ordinary path is read.
            num_query_tokens = 1 if index == self.depth and not plain_tap else None
            ordinary, side = dual_block(
                block, ordinary, side, num_query_tokens=num_query_tokens, with_value_path=dual
            )
            if index in blocks:
                tapped = ordinary if side is None or not dual else side
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
        """Encode windows of normalised images: the class token of a pass of its own over the patches of each.

        Args:
            image: As in ``encode_image``.
            indices: For each scale (W, k), the patches of its windows, row by row from 0.
            tokens_at_once: About so many window tokens go through the tower together; bounds the memory (the hidden
                layer of an MLP takes 16 bytes a token and unit of width in float32: 59 MB at width 896).

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

        The tower sees only the positions up to the last end token: under a causal mask what follows cannot matter.

        Args:
            embedded: Token embeddings, without positions.
            end: Position of each end token, whose output is the sentence's vector.
            deep: Learned tokens for the blocks from the second on; each replaces rows 1..k of that block's input.

        Raises:
            ValueError: If there are more deep prompts than blocks to take them.
        """
        if len(deep) >= self.text_depth:
            raise ValueError(
                f"{len(deep)} deep prompts need more than the {self.text_depth} blocks of this text tower"
            )
        length = int(end.max()) + 1
        x = embedded[:, :length] + self.model.positional_embedding[:length]
        mask = torch.full((length, length), float("-inf"), device=x.device, dtype=x.dtype).triu(
            1
        )  # causal
        for index, block in enumerate(self.model.transformer.resblocks):
            if 1 <= index <= len(deep):
                prompt = deep[index - 1].to(x.dtype)
                x = torch.cat([x[:, :1], prompt, x[:, 1 + prompt.shape[1] :]], dim=1)
            x = block(x, attn_mask=mask)
        x = self.model.ln_final(
            x[torch.arange(len(x), device=x.device), end]
        )  # (n, T, D) -> (n, D)
        projection = self.model.text_projection
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection

    def _check_blocks(self, blocks: Sequence[int]) -> None:
        if not all(1 <= index <= self.depth for index in blocks):
            raise ValueError(
                f"tapped blocks {list(blocks)} do not all exist: this tower has blocks 1 to {self.depth}"
            )

    def _embed_image(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        visual, patch = self.model.visual, self.patch_size
        height, width = image.shape[-2:]
        if height % patch or width % patch:
            raise ValueError(
                f"images of {height} × {width} px do not divide into patches of {patch} px: set image_size to a "
                f"multiple of {patch}, such as {max(round(height / patch), 1) * patch}"
            )
        patches = visual.conv1(image.to(visual.conv1.weight.dtype))  # (B, V, H/p, W/p)
        grid = (patches.shape[-2], patches.shape[-1])
        x = patches.flatten(2).transpose(1, 2)  # (B, V, h, w) -> (B, N, V)
        x = torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        positions = resize_positions(visual.positional_embedding, visual.grid_size, grid)
        return visual.ln_pre(x + positions.to(x.dtype)), grid

    def _project(self, tokens: Tensor, *, norm: bool = True, project: bool = True) -> Tensor:
        visual = self.model.visual
        tokens = visual.ln_post(tokens) if norm else tokens
        return tokens @ visual.proj if project else tokens


def resize_positions(
    table: Float[Tensor, "one_plus_n v"], native: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "one_plus_m v"]:
    """Interpolate a position table to another grid; the class token's row is kept.

    Bilinear without antialiasing, as the published AnomalyCLIP and DHR-CLIP codes do. Unlike theirs, the table
    itself is left alone, so the order in which sizes are seen does not matter.
    """
    if native == grid:
        return table
    rows = table[1:].unflatten(0, native).permute(2, 0, 1)[None].float()  # (N, V) -> (1, V, h, w)
    rows = F.interpolate(rows, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([table[:1], rows[0].flatten(1).T.to(table.dtype)])


def _architecture(model_name: str | None, state: weights.StateDict | None) -> dict[str, Any]:
    if model_name is not None:
        return weights.architecture_of(model_name)
    if state is None:
        raise ValueError(
            "neither backbone.model_name nor backbone.pretrained is given: nothing says what to build"
        )
    return weights.infer_architecture(state)


def _training(
    architecture: dict[str, Any], known: dict[str, Any], given: dict[str, Any]
) -> dict[str, Any]:
    """Settle how the weights were trained: the caller's word, else what is known of them, else OpenAI's values."""
    openai = {
        "quick_gelu": architecture.get("quick_gelu", True),
        "mean": OPENAI_MEAN,
        "std": OPENAI_STD,
    }
    return openai | known | {name: value for name, value in given.items() if value is not None}


def _build(architecture: dict[str, Any], device: str) -> Any:
    import open_clip
    from open_clip.transformer import VisionTransformer

    if set(architecture) - {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}:
        raise ValueError(
            f"not a plain two-tower CLIP: {sorted(architecture)}. Choose a ViT with OpenAI's structure."
        )
    with (
        torch.random.fork_rng(devices=[]),
        torch.device(device),
    ):  # random weights must not depend on what was drawn before
        torch.manual_seed(0)
        model = open_clip.CLIP(**architecture).float()
    visual = model.visual
    if not isinstance(visual, VisionTransformer) or not _is_openai_shaped(model, visual):
        raise ValueError(
            f"{type(visual).__name__} is not a ViT with OpenAI's structure (class token pooling, fused attention "
            "projection, text pooled at the end token). Choose ViT-B-32, ViT-B-16, ViT-L-14, ViT-L-14-336, ViT-H-14 …"
        )
    return model


def _is_openai_shaped(model: Any, visual: Any) -> bool:
    blocks = [*visual.transformer.resblocks, *model.transformer.resblocks]
    fused = all(isinstance(block.attn, nn.MultiheadAttention) for block in blocks)
    return (
        fused
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and model.text_pool_type == "argmax"
    )


def _load(model: nn.Module, state: weights.StateDict, source: str) -> None:
    own = model.state_dict()
    missing, unexpected = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    common = own.keys() & state.keys()
    shapes = [
        f"{k} {tuple(state[k].shape)} ≠ {tuple(own[k].shape)}"
        for k in common
        if state[k].shape != own[k].shape
    ]
    if missing or unexpected or shapes:
        raise ValueError(
            f"{source} does not fit the architecture: missing {missing[:3]}, unexpected {unexpected[:3]}, other shapes "
            f"{shapes[:3]}. Choose the backbone whose weights these are, or set backbone.model_name=null to read it "
            "from the file."
        )
    # Assigned, not copied, and converted one by one: a second copy of a large tower would not fit small machines.
    model.load_state_dict({name: state.pop(name).float() for name in own}, assign=True)
    # open_clip's own causal mask is no part of the state: it would stay without memory, and could not change device.
    length = len(own["positional_embedding"])
    model.attn_mask = torch.full((length, length), float("-inf")).triu(1)
