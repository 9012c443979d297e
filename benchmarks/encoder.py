"""Compare the encoders of AnomalyCLIP with a straightforward implementation.

    python benchmarks/encoder.py                          # ViT-B/16 at 512 px, minutes
    python benchmarks/encoder.py --backbone clip_vit_l14_336 --repeats 1

Random weights, float32, on the CPU. Both sides run in turn, so that other work of the machine
slows both alike; the times are medians. Both compute the same formulas: the largest difference of
their outputs stands beside the times. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.positions import resize_positions
from zsad.config import compose, instantiate
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.prompts.learnable import ObjectAgnosticPrompts

Side = Callable[[], Sequence[Tensor]]


@dataclass(frozen=True)
class Row:
    """One comparison of the two sides.

    It holds CPU seconds (of all threads) and wall seconds of each side, and the largest
    difference of their outputs.
    """

    name: str
    cpu: tuple[float, float]
    wall: tuple[float, float]
    difference: float

    def __str__(self) -> str:
        (slow, fast), (slow_wall, fast_wall) = self.cpu, self.wall
        times = f"{slow:.3g} | {fast:.3g} | {_ratio(slow, fast)} | {_ratio(slow_wall, fast_wall)}"
        return f"| {self.name} | {times} | {self.difference:.0e} |"


def _ratio(slow: float, fast: float) -> str:
    return f"{slow / fast:.2f}" if slow < 100 * fast else "> 100"


def compare(name: str, straightforward: Side, ours: Side, repeats: int) -> Row:
    """Run both sides in turn and return the medians of their times."""
    cpu: tuple[list[float], list[float]] = ([], [])
    wall: tuple[list[float], list[float]] = ([], [])
    outputs: list[Sequence[Tensor]] = [(), ()]
    for _ in range(repeats):
        for side, function in enumerate((straightforward, ours)):
            started = time.process_time(), time.perf_counter()
            outputs[side] = function()
            cpu[side].append(time.process_time() - started[0])
            wall[side].append(time.perf_counter() - started[1])
    difference = max(float((a - b).abs().max()) for a, b in zip(*outputs, strict=True))
    slow, fast = (statistics.median(times) for times in cpu)
    return Row(
        name, (slow, fast), (statistics.median(wall[0]), statistics.median(wall[1])), difference
    )


@torch.no_grad()
def plain_image_tower(
    clip: CLIP, image: Tensor, blocks: Sequence[int], value_attention_from: int
) -> list[Tensor]:
    """Encode one image by the formulas as they are written.

    Every score is written out, every row of every block is computed, and both paths run to the end.
    Returns the global vector and the projected tokens of each tapped block.
    """
    visual = clip.model.visual
    patches = visual.conv1(image)
    grid = (patches.shape[-2], patches.shape[-1])
    x = torch.cat([visual.class_embedding.expand(len(image), 1, -1), patches.flatten(2).mT], dim=1)
    x = visual.ln_pre(x + resize_positions(visual.positional_embedding, visual.grid_size, grid))
    side, taps = None, []
    for index, block in enumerate(visual.transformer.resblocks, start=1):
        query, key, value = F.linear(
            block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias
        ).chunk(3, dim=-1)
        if index >= value_attention_from:
            side = (x if side is None else side) + _attend(block.attn, value, value, value)
        x = x + _attend(block.attn, query, key, value)
        x = x + block.mlp(block.ln_2(x))
        if index in blocks:
            taps.append(visual.ln_post(x if side is None else side) @ visual.proj)
    return [(visual.ln_post(x) @ visual.proj)[:, 0], *taps]


def _attend(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key, value = (
        x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for x in (query, key, value)
    )
    scores = (
        query * query.shape[-1] ** -0.5
    ) @ key.mT  # (B, h, T, T): what fused attention never holds
    return attention.out_proj((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))


def plain_text_tower(clip: CLIP, prompts: ObjectAgnosticPrompts) -> Tensor:
    """Encode the two sentences at the full length, padding included."""
    x = prompts.embed(clip) + clip.model.positional_embedding
    mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)
    for index, block in enumerate(clip.model.transformer.resblocks):
        if 1 <= index <= len(prompts.deep):
            deep = prompts.deep[index - 1].expand(2, -1, -1).half().float()
            x = torch.cat([x[:, :1], deep, x[:, 1 + deep.shape[1] :]], dim=1)
        x = block(x, attn_mask=mask)
    end = prompts.tokens.argmax(dim=-1)
    return clip.model.ln_final(x)[torch.arange(2), end] @ clip.model.text_projection


def image_rows(method: AnomalyCLIP, batch: int, repeats: int) -> list[Row]:
    """Compare the image towers: published tap, an early tap, a batch."""
    clip, start = method.backbone, method.value_attention_from or 1
    images = torch.rand(batch, 3, clip.input_size, clip.input_size)
    middle = clip.depth // 2

    def ours(image: Tensor, blocks: list[int]) -> list[Tensor]:
        features = clip.encode_image(image, blocks=blocks, value_attention_from=start)
        return [features.image, *features.tokens]

    def one_by_one() -> list[Tensor]:
        outputs = [plain_image_tower(clip, image[None], [clip.depth], start) for image in images]
        return [torch.cat(parts) for parts in zip(*outputs, strict=True)]

    def taps(block: int) -> tuple[Side, Side]:
        one = images[:1]
        return lambda: plain_image_tower(clip, one, [block], start), lambda: ours(one, [block])

    rows = [
        compare(f"image tower, block {clip.depth} tapped", *taps(clip.depth), repeats),
        compare(f"image tower, block {middle} tapped", *taps(middle), repeats),
    ]
    if batch > 1:
        sides: tuple[Side, Side] = one_by_one, lambda: ours(images, [clip.depth])
        rows.append(
            compare(f"image tower, {batch} images: one by one, in a batch", *sides, repeats)
        )
    return rows


def text_rows(method: AnomalyCLIP, repeats: int) -> list[Row]:
    """Compare the text towers.

    Ours computes fewer positions, with and without gradients, or reuses known features.
    """
    clip, prompts = method.backbone, method.prompts
    full, short = clip.context_length, int(prompts.tokens.argmax(dim=-1).max()) + 1

    def learn(encode: Callable[[], Tensor]) -> Side:
        def forward_and_backward() -> list[Tensor]:
            prompts.zero_grad()
            encode().sum().backward()
            return [
                parameter.grad.clone()
                for parameter in prompts.parameters()
                if parameter.grad is not None
            ]

        return forward_and_backward

    def look(encode: Callable[[], Tensor]) -> Side:
        return lambda: [encode().detach()]

    def plain() -> Tensor:
        return plain_text_tower(clip, prompts)

    def ours() -> Tensor:
        return prompts(clip)

    method.text_features()  # now known
    return [
        compare(
            f"text tower: {full} positions, {short}",
            torch.no_grad()(look(plain)),
            torch.no_grad()(look(ours)),
            repeats,
        ),
        compare(
            f"text tower and gradients: {full} positions, {short}",
            learn(plain),
            learn(ours),
            repeats,
        ),
        compare(
            "text features at test time: each image, known",
            torch.no_grad()(look(ours)),
            look(method.text_features),
            repeats,
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="clip_vit_b16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--batch", type=int, default=1, help="also compare this many images in one call"
    )
    arguments = parser.parse_args()
    options = [f"backbone={arguments.backbone}", "backbone.pretrained=null", "paths.output_dir=."]
    method = instantiate.build(compose.compose_config("test", options).model).method
    method.prompts(method.backbone)  # whatever a first call prepares is not measured
    text_repeats = max(arguments.repeats, 5)  # cheap enough
    rows = [
        *image_rows(method, arguments.batch, arguments.repeats),
        *text_rows(method, text_repeats),
    ]
    clip = method.backbone
    machine = (
        f"{os.cpu_count()} CPUs ({platform.machine()}), {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
    medians = f"median of {arguments.repeats}, text of {text_repeats}"
    print(f"{arguments.backbone} at {clip.input_size} px, {medians}; {machine}\n")
    print(
        "| compared | straightforward, CPU s | ours, CPU s | ratio | ratio of wall times "
        "| largest difference |"
    )
    print("| :--- | ---: | ---: | ---: | ---: | ---: |")
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
