"""How fast images come out of the loader, against a bare Pillow loop that does as much to them.

    python benchmarks/loading.py                        # 3000-px JPEGs, generated
    python benchmarks/loading.py --mtd /path/to/mtd     # the magnetic tiles as well

The bare loop opens, converts and resizes (bicubic) each image and its mask and makes the tensors,
in one process. The loader is that of a run, with 0, 1 and 2 worker processes. All take turns on the
same files for several rounds, so that the ratios hold even on a busy machine; the median ratio is
shown. For JPEGs the gain of ``fast_jpeg`` is shown too, with the difference of its pixels in grey
levels. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.utils.data import DataLoader

from zsad.data.images import ImageDataset, collate
from zsad.data.layouts import LAYOUTS
from zsad.types import Sample

SIZE_PX = 518
JPEG_PX = 3000
JPEGS = 12
MTD_IMAGES = 200
WORKERS = (0, 1, 2)


def generate(folder: Path) -> list[Sample]:
    """Write large JPEGs of soft shapes with grain, as a camera would."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(JPEGS):
        coarse = Image.fromarray(rng.integers(40, 216, (12, 12, 3), dtype=np.uint8))
        shapes = coarse.resize((JPEG_PX, JPEG_PX), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (JPEG_PX, JPEG_PX, 1))
        pixels = np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8)
        file = folder / f"{i:03d}.jpg"
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)).save(file, quality=92)
        samples.append(Sample(file, None, "generated", "good", False))
    return samples


def magnetic_tiles(root: Path) -> list[Sample]:
    """Return some of the magnetic tiles, evenly spaced, with their masks."""
    tree = LAYOUTS["mtd"].scan(root)
    records = list(LAYOUTS["mtd"].records(tree))
    chosen = records[:: max(1, len(records) // MTD_IMAGES)][:MTD_IMAGES]
    return [
        Sample(
            root / each.image,
            root / each.masks[0] if each.masks else None,
            "tile",
            each.defect,
            each.is_anomalous,
        )
        for each in chosen
    ]


def bare(samples: Sequence[Sample]) -> None:
    """Do what a loop of ten lines would: decode, resize, make tensors."""
    size = (SIZE_PX, SIZE_PX)
    for sample in samples:
        with Image.open(sample.image_path) as file:
            image = file.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        if sample.is_anomalous and sample.mask_path is not None:
            with Image.open(sample.mask_path) as file:
                mask = (
                    file.convert("L")
                    .point(lambda value: 255 * (value > 127))
                    .resize(size, Image.Resampling.BILINEAR)
                )
            _ = torch.from_numpy(np.array(mask)).float().div(255) > 0.5


def loader(samples: Sequence[Sample], workers: int, fast_jpeg: bool = False) -> Callable[[], None]:
    """Return the pass of a run's test loader over the samples."""
    dataset = ImageDataset(samples, SIZE_PX, 127, fast_jpeg=fast_jpeg)
    batches = DataLoader(
        dataset, 1, num_workers=workers, collate_fn=collate, persistent_workers=workers > 0
    )

    def run() -> None:
        for _ in batches:
            pass

    return run


def measure(
    samples: Sequence[Sample], runs: dict[str, Callable[[], None]], rounds: int
) -> dict[str, list[float]]:
    """Let all take turns and return their images a second for each round.

    The first round, which starts the workers, is not counted.
    """
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            speeds[name].append(len(samples) / (time.perf_counter() - start))
    return {name: values[1:] for name, values in speeds.items()}


def difference(samples: Sequence[Sample]) -> tuple[float, float]:
    """Return mean and largest difference of ``fast_jpeg`` from published pixels in grey levels."""
    exact, fast = (ImageDataset(samples, SIZE_PX, fast_jpeg=each) for each in (False, True))
    differences = [255 * (exact[i].image - fast[i].image).abs() for i in range(len(samples))]
    return float(torch.stack([each.mean() for each in differences]).mean()), max(
        float(d.max()) for d in differences
    )


def report(title: str, speeds: dict[str, list[float]]) -> str:
    """Write the Markdown; ratios are taken round by round."""
    base = next(iter(speeds.values()))
    lines = [
        f"{title}, to {SIZE_PX} px",
        "",
        "| | images/s (median) | ratio to the bare loop |",
        "| :--- | ---: | ---: |",
    ]
    for name, values in speeds.items():
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        lines.append(f"| {name} | {statistics.median(values):.1f} | {ratio:.2f} |")
    return "\n".join(lines)


def runs_of(samples: Sequence[Sample], fast_jpeg: bool) -> dict[str, Callable[[], None]]:
    """Return what is compared, the bare loop first."""
    runs: dict[str, Callable[[], None]] = {"bare Pillow loop": lambda: bare(samples)}
    runs |= {f"loader, {workers} workers": loader(samples, workers) for workers in WORKERS}
    if fast_jpeg:
        runs |= {
            f"loader, {workers} workers, fast_jpeg": loader(samples, workers, True)
            for workers in WORKERS
        }
    return runs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mtd", type=Path, help="folder of the magnetic-tile download")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in the worker processes
    print(
        f"{os.cpu_count()} CPUs ({platform.machine()}), load {os.getloadavg()[0]:.1f}, "
        f"{arguments.rounds} rounds\n"
    )
    if arguments.mtd:
        samples = magnetic_tiles(arguments.mtd)
        print(
            report(
                f"MTD, {len(samples)} images",
                measure(samples, runs_of(samples, False), arguments.rounds),
            ),
            "\n",
        )
    with tempfile.TemporaryDirectory() as folder:
        samples = generate(Path(folder))
        title = f"{len(samples)} generated JPEGs of {JPEG_PX} px"
        print(report(title, measure(samples, runs_of(samples, True), arguments.rounds)))
        mean, largest = difference(samples)
    print(f"\nfast_jpeg differs by {mean:.2f} grey levels in the mean, {largest:.1f} at most")


if __name__ == "__main__":
    main()
