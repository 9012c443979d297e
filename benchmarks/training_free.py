"""What the detector and segmenter methods save against one pass after the other.

    python benchmarks/training_free.py                     all parts: minutes
    python benchmarks/training_free.py captions sam3       some of them

Random weights in a small geometry of the real classes, float32, on the CPU. Both sides of a row run
in turn, so that other work of the machine slows both alike; the times are medians.

- captions: all captions of an image in one call, with one pass of the image tower, against one pass
  of transformers' model for each.
- sam3: eight prompts on one encoded image against eight whole passes.
- cache: SAA+ on images it has seen, with another threshold, against the first time.
- saliency: the distance between twelve objects, which cover two fifths of a grid of 256 × 256,
  against loops: place by place, of which some are timed, and object by object, as published, of
  which one is timed.
- memory: the memory that 300 masks at 1024 px take above that of the networks.

Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CAPTIONS = [
    "bottle,",
    "defect on bottle",
    "damage on bottle",
    "flaw on bottle",
    "broken part. contamination. white broken.",
    "black hole.",
    "crack. scratch.",
    "missing piece.",
]
OBJECTS, GRID, PLACES = 12, 256, 30  # of which the slowest loop is timed
PROMPTS = [
    "crack",
    "scratch",
    "hole",
    "stain",
    "dent",
    "broken part",
    "missing piece",
    "contamination",
]
# Far smaller than the published networks, but so that towers weigh more than what is around them.
SIZES = [
    "backbone=grounded_sam_random",
    "backbone.detector.image_size=[400,667]",
    "backbone.detector.architecture.d_model=64",
    "backbone.detector.architecture.encoder_layers=2",
    "backbone.detector.architecture.encoder_ffn_dim=384",
    "backbone.detector.architecture.decoder_ffn_dim=384",
    "backbone.detector.architecture.num_queries=50",
    "backbone.detector.architecture.backbone_config.embed_dim=48",
    "backbone.detector.architecture.backbone_config.depths=[2,2,6,2]",
    "backbone.detector.architecture.backbone_config.num_heads=[3,6,12,24]",
    "backbone.detector.architecture.backbone_config.window_size=7",
    "backbone.detector.architecture.text_config.hidden_size=256",
    "backbone.detector.architecture.text_config.intermediate_size=1024",
    "backbone.detector.architecture.text_config.num_attention_heads=4",
    "backbone.detector.architecture.text_config.num_hidden_layers=6",
    "backbone.segmenter.architecture.vision_config.hidden_size=384",
    "backbone.segmenter.architecture.vision_config.num_hidden_layers=6",
    "backbone.segmenter.architecture.vision_config.num_attention_heads=6",
    "backbone.segmenter.architecture.vision_config.image_size=1024",
    "backbone.segmenter.architecture.vision_config.patch_size=16",
    "backbone.segmenter.architecture.vision_config.window_size=14",
    "backbone.segmenter.architecture.vision_config.global_attn_indexes=[2,5]",
    "backbone.segmenter.architecture.vision_config.mlp_dim=1536",
    "backbone.segmenter.architecture.vision_config.output_channels=64",
    "backbone.segmenter.architecture.vision_config.num_pos_feats=32",
    "backbone.segmenter.architecture.prompt_encoder_config={hidden_size:64,image_size:1024,patch_size:16}",
    "backbone.segmenter.architecture.mask_decoder_config.hidden_size=64",
    "backbone.segmenter.architecture.mask_decoder_config.mlp_dim=256",
    "backbone.saliency.architecture={}",
]
SAM3 = [
    "backbone=sam3_random",
    "backbone.input_size=504",
    "backbone.architecture.vision_config.backbone_config.hidden_size=192",
    "backbone.architecture.vision_config.backbone_config.intermediate_size=768",
    "backbone.architecture.vision_config.backbone_config.num_hidden_layers=12",
    "backbone.architecture.vision_config.backbone_config.num_attention_heads=3",
    "backbone.architecture.vision_config.backbone_config.window_size=12",
    "backbone.architecture.vision_config.backbone_config.global_attn_indexes=[5,11]",
]


def build_task(*options: str) -> Any:
    """Return what a configuration of test.py describes."""
    from zsad.config import compose, instantiate

    return instantiate.build(compose.compose_config("test", [*options, "paths.output_dir=."]).model)


def smooth(segmenter: Any) -> None:
    """Even out the layers that upsample masks.

    Random kernels make noise of single pixels, unlike any real mask.
    """
    for layer in (
        segmenter.model.mask_decoder.upscale_conv1,
        segmenter.model.mask_decoder.upscale_conv2,
    ):
        layer.weight.copy_(layer.weight.mean(dim=(2, 3), keepdim=True).expand_as(layer.weight))


def photo(height: int, width: int, number: int = 0) -> Any:
    """Return an image of smooth random blots."""
    import torch

    blots = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(number))
    return torch.nn.functional.interpolate(blots, size=(height, width), mode="bicubic").clamp(0, 1)[
        0
    ]


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a function takes on all its threads, and what it returns."""
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


def medians(sides: list[Callable[[], Any]], repeats: int) -> tuple[list[float], list[Any]]:
    """Run all sides in turn and return each side's median time and last result."""
    times, results = [[] for _ in sides], [None for _ in sides]
    for _ in range(repeats):
        for side, function in enumerate(sides):
            taken, results[side] = seconds(function)
            times[side].append(taken)
    return [median(one) for one in times], results


def row(name: str, slow: float, fast: float, apart: str = "–") -> str:
    """Return a row of the table."""
    return f"| {name} | {slow:.3g} | {fast:.3g} | {slow / fast:.1f} | {apart} |"


def captions(repeats: int) -> Iterator[str]:
    """Compare all captions of an image in one call with a whole pass for each."""
    detector = build_task("model=saa_plus", *SIZES).method.backbone.detector
    known, image = detector.model.model.text_backbone._known, photo(480, 640)

    def one_by_one() -> list[Any]:
        known.clear()
        return [detector.detect(image, [caption])[0] for caption in CAPTIONS]

    def together(forget: bool) -> list[Any]:
        if forget:
            known.clear()
        return detector.detect(image, CAPTIONS)

    (alone, new, again), found = medians(
        [one_by_one, lambda: together(True), lambda: together(False)], repeats
    )
    pairs = zip(found[0], found[2], strict=True)
    apart = max(float((one.token_scores - other.token_scores).abs().max()) for one, other in pairs)
    yield row(
        f"{len(CAPTIONS)} captions: one pass each → one call, new words", alone, new, f"{apart:.0e}"
    )
    yield row(
        f"{len(CAPTIONS)} captions: one pass each → one call, known words",
        alone,
        again,
        f"{apart:.0e}",
    )
    (tower,), _ = medians([lambda: detector.encode_image(image)], repeats)
    yield row("of one call: all of it → without the image tower", again, again - tower)


def sam3(repeats: int) -> Iterator[str]:
    """Compare prompts in chunks on one encoded image with a whole pass for each."""
    import torch

    backbone = build_task("model=sam3", *SAM3).method.backbone
    image = photo(504, 504)[None]

    def one_by_one() -> Any:
        return torch.cat([passes([prompt]) for prompt in PROMPTS])

    def passes(prompts: list[str]) -> Any:
        with torch.no_grad():
            return backbone.segment(
                backbone.encode_image(image).select(0), backbone.encode_text(prompts)
            ).semantic

    times, (slow, fast) = medians([one_by_one, lambda: passes(PROMPTS)], repeats)
    yield row(
        f"SAM 3, {len(PROMPTS)} prompts: one pass each → one encoding",
        *times,
        f"{float((slow - fast).abs().max()):.0e}",
    )


def cache(repeats: int) -> Iterator[str]:
    """Compare SAA+ on images that the cache knows with the first time."""
    images = [photo(480, 640, number)[None] for number in range(3)]

    def look(folder: str) -> float:
        method = build_task("model=saa_plus", *SIZES, f"backbone.cache={folder}").method
        smooth(method.backbone.segmenter)
        _ = method.backbone.identities  # the fingerprints, once a run
        return seconds(lambda: [method(image, ["bottle"]) for image in images])[0]

    slow, fast, size = [], [], 0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            slow.append(look(folder))
            fast.append(look(folder))
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    yield row(
        f"SAA+, {len(images)} images: first time → from the cache", median(slow), median(fast)
    )
    yield f"The cache takes {size / len(images) / 1e6:.2f} MB for each of these images."


def saliency(repeats: int) -> Iterator[str]:
    """Compare the distance between objects with loops over pixels, for few and many channels."""
    import torch

    from zsad.functional.saliency import between_objects

    for channels, height, width, timed in ((56, 27, 27, OBJECTS), (1792, 50, 46, 1)):
        features = torch.nn.functional.normalize(torch.rand(channels, GRID, GRID), dim=0)
        masks = torch.zeros(OBJECTS, GRID, GRID, dtype=torch.bool)
        for number in range(OBJECTS):
            top, left = 10 + 80 * (number // 4), 8 + 62 * (number % 4)
            masks[number, top : top + height, left : left + width] = True
        alone, _ = seconds(lambda f=features, m=masks: each_alone(f, m, 0, PLACES))
        slow, heats = seconds(
            lambda f=features, m=masks, n=timed: [pixel_by_pixel(f, m, i) for i in range(n)]
        )
        (fast,), (ours,) = medians([lambda f=features, m=masks: between_objects(f, m)], repeats)
        apart = max(
            float((ours - heat)[mask].abs().max()) for heat, mask in zip(heats, masks, strict=False)
        )
        covered = float(masks.any(dim=0).float().mean())
        said = f"{OBJECTS} objects on {covered:.0%} of the grid, {channels} channels"
        yield row(
            f"{said}: each pixel with the whole map → blocks",
            alone / PLACES * int(masks.sum()),
            fast,
        )
        yield row(
            f"{said}: loop as published → blocks", slow * OBJECTS / timed, fast, f"{apart:.0e}"
        )


def each_alone(features: Any, masks: Any, number: int, count: int) -> list[Any]:
    """Compare some pixels of an object with the whole map, one after the other.

    The most similar place of the other objects counts.
    """
    others = masks.sum(dim=0) > masks[number].int()
    places = masks[number].nonzero().tolist()[:count]
    return [
        (1 - (features * features[:, y, x, None, None]).sum(dim=0)[others].max()) / 2
        for y, x in places
    ]


def pixel_by_pixel(features: Any, masks: Any, number: int) -> Any:
    """Gather the places of one object and compare them with all others in one product.

    The published program does the same.
    """
    import torch

    rest, own, places = features.clone(), [], []
    for y in range(GRID):
        for x in range(GRID):
            if masks[number, y, x]:
                own.append(rest[:, y, x].clone())
                places.append((y, x))
                rest[:, y, x] = 0
    others = torch.cat([rest[:, mask] for mask in masks[torch.arange(len(masks)) != number]], dim=1)
    distances, heat = (1 - (torch.stack(own) @ others).amax(dim=1)) / 2, torch.zeros(GRID, GRID)
    for (y, x), distance in zip(places, distances, strict=True):
        heat[y, x] = distance
    return heat


def memory(_: int) -> Iterator[str]:
    """Give the peak of decoding and fusing 300 masks, in a process of its own."""
    command = [sys.executable, __file__, "--peak"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    built, encoded, after = json.loads(done.stdout.splitlines()[-1])
    yield (
        f"300 masks of 1024 × 1024 px, above the networks ({built:.2f} GB resident): "
        f"{after - built:.2f} GB at the highest, {encoded - built:.2f} GB of it to encode the "
        f"image. All masks as floats would take {300 * 1024**2 * 4 / 1e9:.2f} GB more."
    )


def peak() -> None:
    """Print the highest resident memory before and after 300 boxes."""
    import torch

    from zsad.functional.regions import MaskFusion

    torch.set_grad_enabled(False)
    backbone = build_task("model=saa_plus", *SIZES).method.backbone
    built, look = peak_gb(), backbone.prepare_image(photo(1024, 1024))
    corners = (
        torch.rand(300, 2, 2, generator=torch.Generator().manual_seed(0))
        .sort(dim=1)
        .values.flatten(1)
        * 1024
    )
    next(iter(look.masks(corners[:1])))
    encoded = peak_gb()
    fusion = MaskFusion(look.size)
    for masks in look.masks(corners):
        fusion.add(masks, torch.ones(len(masks)))
    fusion.code()
    sys.stdout.write(f"{json.dumps([built, encoded, peak_gb()])}\n")


def peak_gb() -> float:
    """Return the highest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


# Memory comes first, while the parent is small: the peak memory of a child process starts at that
# of its parent.
PARTS = {"memory": memory, "captions": captions, "sam3": sam3, "cache": cache, "saliency": saliency}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all without")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        peak()
        return
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part {', '.join(unknown)}: expected some of {', '.join(PARTS)}")
    import torch

    torch.set_grad_enabled(False)
    print(
        f"{os.cpu_count()} CPUs ({platform.machine()}), {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}\n"
    )
    print("| | CPU s | CPU s | ratio | largest difference |\n| :--- | ---: | ---: | ---: | ---: |")
    notes: list[str] = []
    for name, part in PARTS.items():
        if name in arguments.parts or not arguments.parts:
            for line in part(arguments.repeats):
                notes.append(line) if not line.startswith("|") else print(line, flush=True)
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
