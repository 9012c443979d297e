"""Compare WinCLIP's batched windows with one window at a time.

    python benchmarks/winclip.py                               # ViT-B/16-plus-240, 365 windows
    python benchmarks/winclip.py --backbone pocket --batch 4   # seconds
    python benchmarks/winclip.py --image-size 96               # another grid

Random weights, float32, on the CPU. Both sides run in turn, so that other work of the machine
slows both alike; the times are medians. The straightforward side gathers the tokens of one window
and runs every block on all of them. Ours gathers all windows of a scale, norms and projects each
token of the first block once, and computes the last block for the class token alone. Both compute
the same formulas: the largest difference of their outputs stands beside the times. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
from collections.abc import Sequence

import torch
from encoder import Row, compare  # the file beside this one
from torch import Tensor

from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.positions import resize_positions
from zsad.config import compose, instantiate
from zsad.functional.patch_windows import window_indices


@torch.no_grad()
def window_by_window(clip: CLIP, image: Tensor, index: Tensor) -> list[Tensor]:
    """Encode the windows of a batch one after the other with open_clip's own blocks.

    Every row of every block is computed.
    """
    visual = clip.model.visual
    patches = visual.conv1(image)
    grid = (patches.shape[-2], patches.shape[-1])
    x = torch.cat([visual.class_embedding.expand(len(image), 1, -1), patches.flatten(2).mT], dim=1)
    x = x + resize_positions(visual.positional_embedding, visual.grid_size, grid)
    found = []
    for window in index:
        tokens = visual.transformer(visual.ln_pre(torch.cat([x[:, :1], x[:, window + 1]], dim=1)))
        found.append(visual.ln_post(tokens[:, 0]) @ visual.proj)
    return [torch.stack(found, dim=1)]


def rows(clip: CLIP, size: int, batch: int, scales: Sequence[int], repeats: int) -> list[Row]:
    """Compare each scale, and give the pass of the whole image beside them."""
    image = clip.normalize(torch.rand(batch, 3, size, size))
    grid = (size // clip.patch_size,) * 2

    def row(scale: int) -> Row:
        index = window_indices(grid, scale)
        name = f"{len(index)} windows of {scale} × {scale} patches"
        return compare(
            name,
            lambda: window_by_window(clip, image, index),
            lambda: clip.encode_windows(image, [index]),
            repeats,
        )

    def whole() -> list[Tensor]:
        with torch.no_grad():
            return (
                [clip.model.encode_image(image)]
                if size == clip.native_size
                else [clip.encode_image(image).image]
            )

    image_pass = compare(
        "the whole image, for scale",
        whole,
        lambda: [clip.encode_image(image).image],
        max(repeats, 3),
    )
    return [*(row(scale) for scale in scales), image_pass]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="clip_vit_b16_plus_240")
    parser.add_argument("--image-size", type=int, help="side in pixels; the backbone's own without")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    options = [
        "model=winclip",
        f"backbone={arguments.backbone}",
        "backbone.pretrained=null",
        "paths.output_dir=.",
    ]
    clip = instantiate.build(compose.compose_config("test", options).backbone)
    size = arguments.image_size or clip.input_size
    table = rows(clip, size, arguments.batch, arguments.scales, arguments.repeats)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    machine = (
        f"{os.cpu_count()} CPUs ({platform.machine()}), {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
    print(
        f"{arguments.backbone} at {size} px, batch {arguments.batch}, "
        f"median of {arguments.repeats}; {machine}"
    )
    print(f"highest resident memory {peak:.0f} MiB\n")
    print(
        "| compared | one by one, CPU s | batched, CPU s | ratio | ratio of wall times "
        "| largest difference |"
    )
    print("| :--- | ---: | ---: | ---: | ---: | ---: |")
    print(*table, sep="\n")


if __name__ == "__main__":
    main()
