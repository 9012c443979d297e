"""The two towers in training.

Their parameters are those of ``zsad.backbones.clip.model.CLIP``, with gradients.

Legend: B images, N patches, V vision width, E joint width, n texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.tokenizer import tokenize
from zsad.backbones.clip.value_attention import dual_block

PUBLISHED_DEPTH, PUBLISHED_VALUE_BLOCK = 24, 6  # AnomalyCLIP on ViT-L/14
CONTEXT_TOKENS, DEEP_TOKENS = 12, 4  # and its prompts

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": 128, "patch_size": 8, "width": 128, "layers": 4, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 9},
}

# The block of a tower of four that each of the six continues; None is a new block, which at first
# changes nothing. The value path of six starts at the second block. With the first new block in
# front it reads the same features as in four.
CONTINUES = (None, 0, 1, None, 2, 3)


class Towers(nn.Module):
    """A CLIP with gradients and a small table of the token embeddings in use by the captions.

    Args:
        vocabulary: All captions that training can meet; only their tokens are trained.
        grown: Six blocks in the image tower instead of four.
    """

    words: Tensor

    def __init__(self, vocabulary: Sequence[str], *, grown: bool = False) -> None:
        super().__init__()
        vision = ARCHITECTURE["vision_cfg"] | ({"layers": len(CONTINUES)} if grown else {})
        self.clip = CLIP(None, None, architecture=ARCHITECTURE | {"vision_cfg": vision})
        ids = torch.unique(tokenize(vocabulary))
        self.register_buffer("words", ids)
        table = self.clip.model.token_embedding.weight
        self.table = nn.Parameter(table[ids].clone())
        for part in self.text_parts():
            part.requires_grad_(True)
        self.clip.model.visual.requires_grad_(True)
        self.value_from = self.clip.block_at(PUBLISHED_VALUE_BLOCK, of=PUBLISHED_DEPTH)
        # Element-wise work is half of the time at these widths. Fused, a step takes less than half
        # as long.
        self._trunk = torch.compile(self._blocks, dynamic=False)

    def encode_image(self, image: Tensor, corner: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Encode crops whose first patch lies at ``corner`` of the position table.

        Returns:
            (B, E) class token without the final norm, (B, E) with it, and (B, N, E) patches of the
            value path.
        """
        visual = self.clip.model.visual
        patches = visual.conv1(self.clip.normalize(image))  # (B, V, h, w)
        rows, columns = patches.shape[-2:]
        table = visual.positional_embedding
        grid = table[1:].unflatten(0, visual.grid_size)
        window = grid[corner[0] : corner[0] + rows, corner[1] : corner[1] + columns].flatten(0, 1)
        x = patches.flatten(2).transpose(1, 2) + window  # (B, V, h, w) -> (B, N, V)
        first = (visual.class_embedding + table[0]).expand(len(x), 1, -1)
        ordinary, side = self._trunk(visual.ln_pre(torch.cat([first, x], dim=1)))
        token = ordinary[:, 0]
        return (
            token @ visual.proj,
            visual.ln_post(token) @ visual.proj,
            visual.ln_post(side[:, 1:]) @ visual.proj,
        )

    def _blocks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        blocks, side = self.clip.model.visual.transformer.resblocks, None
        for index, block in enumerate(blocks, start=1):
            num_query_tokens = 1 if index == len(blocks) else None
            x, side = dual_block(
                block,
                x,
                side,
                num_query_tokens=num_query_tokens,
                with_value_path=index >= self.value_from,
            )
        return x, side

    def text_parts(self) -> list[nn.Module | nn.Parameter]:
        """Return what belongs to the text tower, the table of words aside."""
        model = self.clip.model
        return [
            model.transformer,
            model.ln_final,
            model.positional_embedding,
            model.text_projection,
        ]

    def encode_text(self, texts: Sequence[str], learned: float = 0.0) -> Tensor:
        """Encode captions, (n, E).

        Args:
            texts: The captions.
            learned: Deviation of random vectors in the places of AnomalyCLIP's learned prompts:
                before every caption, and in the first of these rows in every deeper block; 0 for
                plain captions.
        """
        ids = tokenize(texts, context_length=24)
        end = ids.argmax(dim=-1)
        ids = ids[:, : int(end.max()) + 1]
        embedded = self.table[torch.searchsorted(self.words, ids.contiguous())]
        if learned == 0:
            return self.clip.encode_prompts(embedded, end)
        width = embedded.shape[-1]
        context = learned * torch.randn(len(embedded), CONTEXT_TOKENS, width)
        deep = learned * torch.randn(self.clip.text_depth - 1, len(embedded), DEEP_TOKENS, width)
        embedded = torch.cat([embedded[:, :1], context, embedded[:, 1:]], dim=1)
        return self.clip.encode_prompts(embedded, end + CONTEXT_TOKENS, tuple(deep))

    @torch.no_grad()
    def initialise(self, patches: Tensor) -> None:
        """Set initial weights with which a small ViT learns quickly.

        They whiten patches, give sin–cos positions, and attend to similar patches.

        Args:
            patches: (n, 3 · patch²) pixel vectors of natural training crops, in [0, 1].

        Source: Trockman and Kolter 2023, "Mimetic initialization of self-attention layers".
        """
        visual = self.clip.model.visual
        visual.conv1.weight.copy_(self._whitening(patches).view_as(visual.conv1.weight))
        rows, columns = visual.grid_size
        visual.positional_embedding[1:] = 0.5 * _sincos(rows, columns, visual.conv1.out_channels)
        for block in visual.transformer.resblocks:
            width = block.attn.embed_dim
            query = nn.init.orthogonal_(torch.empty(width, width))
            noise = 0.02 * torch.randn(3, width, width)
            same = torch.eye(width)
            block.attn.in_proj_weight.copy_(
                torch.cat([0.6 * query + noise[0], 0.6 * query + noise[1], 0.7 * same])
            )
            block.attn.out_proj.weight.copy_(-0.4 * same + noise[2])

    @torch.no_grad()
    def grow(self, state: Mapping[str, Tensor]) -> None:
        """Continue an image tower of four blocks.

        New blocks stand between its own and at first change nothing.

        Args:
            state: Weights of the shallower tower, under OpenAI's names.

        Source: the idea is that of Gong et al. 2019, "Efficient training of BERT by progressively
        stacking".
        """
        visual = self.clip.model.visual
        own = {
            name: value for name, value in visual.state_dict().items() if "resblocks" not in name
        }
        visual.load_state_dict({name: state[f"visual.{name}"] for name in own}, strict=False)
        for block, source in zip(visual.transformer.resblocks, CONTINUES, strict=True):
            if source is None:
                for last in (block.attn.out_proj, block.mlp.c_proj):
                    nn.init.zeros_(last.weight)
                    nn.init.zeros_(last.bias)
            else:
                start = f"visual.transformer.resblocks.{source}."
                block.load_state_dict({name: state[start + name] for name in block.state_dict()})

    def _whitening(self, patches: Tensor) -> Tensor:
        mean, std = (constant.view(3, 1) for constant in (self.clip.mean, self.clip.std))
        vectors = ((patches.unflatten(1, (3, -1)) - mean) / std).flatten(1)
        values, vectors = torch.linalg.eigh(torch.cov(vectors.T))
        width = self.clip.model.visual.conv1.out_channels
        values, vectors = values[-width:].flip(0), vectors[:, -width:].flip(1)
        return (vectors / (values + 1e-3 * values[0]).sqrt()).T

    def export(self, path: Path) -> None:
        """Write half-precision weights under OpenAI's names, whole or not at all."""
        state = {
            name: value.detach().clone() for name, value in self.clip.model.state_dict().items()
        }
        state["token_embedding.weight"][self.words] = self.table.detach()
        partial = path.with_suffix(".partial")
        save_file({name: value.half().contiguous() for name, value in state.items()}, partial)
        partial.chmod(0o644)
        partial.replace(path)


def _sincos(rows: int, columns: int, width: int) -> Tensor:
    """Return (rows · columns, width) sines and cosines, a quarter of the width each for y and x."""
    frequency = 1 / 100 ** (torch.arange(width // 4) / (width // 4))
    y = torch.arange(rows)[:, None] * frequency
    x = torch.arange(columns)[:, None] * frequency
    y = torch.cat([y.sin(), y.cos()], dim=1)[:, None].expand(-1, columns, -1)
    x = torch.cat([x.sin(), x.cos()], dim=1)[None].expand(rows, -1, -1)
    return torch.cat([y, x], dim=-1).flatten(0, 1)


class Muon(torch.optim.Optimizer):
    """Momentum with an orthogonal step for each matrix, so that all directions learn equally fast.

    Stacked matrices (queries, keys and values) are treated one by one.

    Source: Jordan et al. 2024 (Newton–Schulz coefficients); scale as in Liu et al. 2025, so that
    AdamW's learning rates fit.
    """

    def __init__(
        self, parameters: Sequence[Any], lr: float, momentum: float = 0.95, weight_decay: float = 0
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Take one step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                rows, columns = parameter.shape
                parts = torch.lerp(parameter.grad, average, group["momentum"]).chunk(
                    3 if rows == 3 * columns else 1
                )
                update = torch.cat([_orthogonal(part) for part in parts])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(update, alpha=group["lr"] * 0.2 * math.sqrt(max(parts[0].shape)))


def _orthogonal(x: Tensor) -> Tensor:
    """Return the nearest matrix of about unit singular values, by five Newton–Schulz iterations."""
    tall = x.shape[0] > x.shape[1]
    x = (x.T if tall else x) / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x
