"""What tiling takes and what skipping tiles costs.

    python benchmarks/tiling.py
    python benchmarks/tiling.py --checkpoint runs/train/demo

(a) The same tiles, one by one and several a pass: times in one process, largest difference of the
maps. (b) Peak memory of predicting an image file of 12 megapixels and one of 2, each in a process
of its own. (c) With the prompts of a checkpoint, on generated images with small defects: the share
of tiles left out against the share of defective tiles still encoded, and against pixel AP.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The peak memory of a child process starts at that of its parent. The parent stays small
    # because torch is imported in the children alone.
    from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
KIB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1  # of ru_maxrss
SIZES = {"2 megapixels": (1600, 1250), "12 megapixels": (4000, 3000)}  # width, height
SKIPPED = (0.0, 0.25, 0.5, 0.75, 0.9)


def child(part: str, backbone: str, *given: str) -> Any:
    """Run a part of this program in a process of its own and return what it found."""
    command = [sys.executable, __file__, "--part", part, "--backbone", backbone, *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compose(backbone: str, *options: str) -> Any:
    """Return the configuration of AnomalyCLIP with tiles, and its task."""
    import torch

    from zsad.config import compose, instantiate

    torch.manual_seed(0)  # of prompts that nothing is loaded into
    config = compose.compose_config(
        "test", [f"backbone={backbone}", "model=dhrclip_plus", "paths.output_dir=.", *options]
    )
    return config, instantiate.build(config.model)


def passes(backbone: str, options: Sequence[str], side: int, repeats: int) -> dict[str, Any]:
    """Time the tiles of one random image, one by one and sixteen a pass, in turn."""
    import torch

    _, task = compose(backbone, *options)
    method, image = task.method, torch.rand(1, 3, side, side)
    maps: dict[int, Tensor] = {}
    times: dict[int, list[tuple[float, float]]] = {1: [], 16: []}
    with torch.inference_mode():
        for _ in range(repeats):
            for at_once, taken in times.items():
                method.views.max_tiles_per_pass = at_once
                start = (time.process_time(), time.perf_counter())
                maps[at_once] = method(image, ["x"]).map
                taken.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    size, patch = (side, side), method.backbone.patch_size
    return {
        "tiles": sum(
            len(plan.boxes) for plan in method.views.plans(size, method.backbone.input_size, patch)
        ),
        "cpu": [median(cpu for cpu, _ in taken) for taken in times.values()],
        "wall": [median(wall for _, wall in taken) for taken in times.values()],
        "difference": float((maps[1] - maps[16]).abs().max()),
        "machine": f"{os.cpu_count()} CPUs ({platform.machine()}), "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}",
    }


def write_picture(file: str, width: int, height: int) -> dict[str, Any]:
    """Write a random picture, as JPEG: in a process that the measured one does not descend from."""
    import numpy as np
    from PIL import Image

    levels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(levels).save(file, quality=50)
    return {}


def peak(backbone: str, options: Sequence[str], file: str) -> dict[str, float]:
    """Predict one image file and return the peak memory of this process before and after, in GB."""
    import torch

    from zsad.runs import predict

    config, task = compose(backbone, *options, "model.method.views.max_tiles_per_pass=4")
    before = peak_gb()
    with torch.inference_mode():
        for batch in predict.image_loader([Path(file)], config.image_size, "object"):
            task.predict_step(batch)
    return {"before": before, "peak": peak_gb()}


def peak_gb() -> float:
    """Return the highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB_PER_UNIT * 1024 / 1e9


def skipping(backbone: str, checkpoint: str, side: int, pictures: int) -> list[dict[str, float]]:
    """Leave out more and more tiles of generated pictures, and see which defects are missed."""
    import torch

    _, task = compose(backbone)
    task.load_prompts(checkpoint)
    drawn = small_defects(side, pictures)
    with torch.inference_mode():
        return [left_out(task.method, share, drawn) for share in SKIPPED]


def small_defects(side: int, pictures: int) -> list[tuple[str, Tensor, Tensor]]:
    """Render defective images of every auxiliary category.

    A defect covers at most a thousandth of the area.
    """
    import torch

    from zsad.data.synthetic import WORLDS, random_stream, render

    drawn = []
    for name, category in WORLDS["a"].items():
        for number in range(pictures):
            defect = category.defects[number % len(category.defects)]
            photo, mask = render(
                name, random_stream(31, name, number), side, defect, "medium", 0.001
            )
            image = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
            drawn.append((name, image, torch.from_numpy(mask)))
    return drawn


def left_out(
    method: Any, share: float, drawn: Sequence[tuple[str, Tensor, Tensor]]
) -> dict[str, float]:
    """Return the figures for one share of tiles left out.

    They are the recall of defective tiles, pixel AP (mean over categories) and seconds.
    """
    import torch

    from zsad.metrics.curves import average_precision, rank_pixels

    seen = found = defective = 0
    ranked: dict[str, list[tuple[Tensor, Tensor]]] = {}
    tiling = method.views
    tiling.skip_share, choose = share, type(tiling).select_tiles
    start = time.process_time()
    for name, image, mask in drawn:
        chosen: list[Tensor] = []
        tiling.select_tiles = _remembered(choose.__get__(tiling), chosen)
        ranked.setdefault(name, []).append((method(image, [name]).map[0], mask))
        plans = tiling.plans(
            tuple(mask.shape), method.backbone.input_size, method.backbone.patch_size
        )
        for plan, looked_at in zip(plans, chosen, strict=True):
            holds = torch.tensor([is_defective(mask, box, plan.scale) for box in plan.boxes])
            seen += len(looked_at)
            found += int(holds[looked_at[:, 0]].sum())
            defective += int(holds.sum())
    taken = time.process_time() - start
    joined = [[torch.stack(part) for part in zip(*pairs, strict=True)] for pairs in ranked.values()]
    precision = [average_precision(rank_pixels(maps, masks)) for maps, masks in joined]
    tiles = sum(len(plan.boxes) for plan in plans)
    return {
        "left_out": 1 - seen / (len(drawn) * tiles),
        "recall": found / defective,
        "ap": sum(precision) / len(precision),
        "cpu": taken / len(drawn),
        "pictures": len(drawn),
        "tiles": tiles,
    }


def is_defective(mask: Tensor, box: Any, scale: float) -> bool:
    """Tell whether a tile of a picture at some scale shows a defective pixel."""
    top, left = int(box.top / scale), int(box.left / scale)
    return bool(
        mask[top : top + int(box.height / scale), left : left + int(box.width / scale)].any()
    )


def _remembered(
    function: Callable[[Tensor], Tensor], results: list[Tensor]
) -> Callable[[Tensor], Tensor]:
    def inside(tiles: Tensor) -> Tensor:
        results.append(function(tiles))
        return results[-1]

    return inside


def measure_peaks(backbone: str, options: Sequence[str]) -> dict[str, dict[str, float]]:
    """Predict an image of each size, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = {}
        for name, (width, height) in SIZES.items():
            file = str(Path(folder) / f"{width}.jpg")
            child("write", backbone, "--file", file, "--width", str(width), "--height", str(height))
            peaks[name] = child("peak", backbone, "--file", file, *options)
        return peaks


def report(
    backbone: str, side: int, timed: dict[str, Any], peaks: dict[str, Any], skipped: list[Any]
) -> str:
    """Write the Markdown."""
    (cpu_1, cpu_16), (wall_1, wall_16) = timed["cpu"], timed["wall"]
    small, large = (peaks[name]["peak"] for name in SIZES)
    lines = [
        f"{backbone}, float32; {timed['machine']}",
        "",
        f"| {timed['tiles']} tiles of an image of {side} px "
        "| one by one | sixteen a pass | ratio |",
        "| :--- | ---: | ---: | ---: |",
        f"| CPU, s | {cpu_1:.2f} | {cpu_16:.2f} | {cpu_1 / cpu_16:.2f} |",
        f"| wall, s | {wall_1:.2f} | {wall_16:.2f} | {wall_1 / wall_16:.2f} |",
        "",
        f"Largest difference of the two maps: {timed['difference']:.0e}",
        "",
        "| one image file predicted, four tiles a pass | before it, GB | peak, GB |",
        "| :--- | ---: | ---: |",
        *(
            f"| {name} | {peaks[name]['before']:.2f} | {peaks[name]['peak']:.2f} |"
            for name in SIZES
        ),
        "",
        f"Ratio of the peaks: {large / small:.2f}",
    ]
    if skipped:
        lines += [
            "",
            f"{skipped[0]['pictures']} generated pictures, {skipped[0]['tiles']} tiles each:",
            "",
            "| tiles left out | defective tiles looked at | pixel AP | CPU s a picture |",
            "| ---: | ---: | ---: | ---: |",
            *(
                f"| {r['left_out']:.0%} | {r['recall']:.1%} | {r['ap']:.1%} | {r['cpu']:.1f} |"
                for r in skipped
            ),
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure everything, or be one of the measured processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "options", nargs="*", help="of test.py, such as backbone.pretrained=null for random weights"
    )
    parser.add_argument("--backbone", default="pocket")
    parser.add_argument(
        "--side", type=int, default=1024, help="of the pictures of (a) and (c), in pixels"
    )
    parser.add_argument("--repeats", type=int, default=3, help="of (a)")
    parser.add_argument(
        "--checkpoint", help="learned prompts for (c), which is left out without them"
    )
    parser.add_argument("--pictures", type=int, default=2, help="of each category, for (c)")
    for hidden, kind in {"--part": str, "--file": str, "--width": int, "--height": int}.items():
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    given = parser.parse_args()
    parts: dict[str | None, Callable[[], Any]] = {
        "passes": lambda: passes(given.backbone, given.options, given.side, given.repeats),
        "write": lambda: write_picture(given.file, given.width, given.height),
        "peak": lambda: peak(given.backbone, given.options, given.file),
        "skipping": lambda: skipping(given.backbone, given.checkpoint, given.side, given.pictures),
    }
    if given.part:
        print(json.dumps(parts[given.part]()))
        return
    shared = [
        "--side",
        str(given.side),
        "--repeats",
        str(given.repeats),
        "--pictures",
        str(given.pictures),
    ]
    skipped = (
        child("skipping", given.backbone, "--checkpoint", given.checkpoint, *shared)
        if given.checkpoint
        else []
    )
    timed, peaks = (
        child("passes", given.backbone, *shared, *given.options),
        measure_peaks(given.backbone, given.options),
    )
    print(report(given.backbone, given.side, timed, peaks, skipped))


if __name__ == "__main__":
    main()
