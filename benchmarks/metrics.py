"""How fast pixel metrics are, and that their memory does not grow with the maps.

    python benchmarks/metrics.py

measures the pixel metrics of 83 generated maps of 518 × 518 px, about one category of MVTec AD.
Each way runs in one process: counted (``metrics=default``) and sorted (``metrics=exact``) by this
package; scikit-learn with the 200-threshold AUPRO of most papers' code, written below; torchmetrics
without thresholds (AUROC, AP). Then the highest resident memory of counting 100 and 2,000 maps is
measured. ``--maps 8 --many 40`` tries it in a minute. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The peak memory of a child process starts at that of its parent. The parent stays small
    # because torch is imported in the children alone.
    from torch import Tensor

SIZE, BATCH = 518, 8
GB_PER_UNIT = (1 if sys.platform == "darwin" else 1024) / 1e9  # of ru_maxrss
PUBLISHED, TORCHMETRICS, COUNTED, SORTED = (
    "scikit-learn and 200 thresholds",
    "torchmetrics",
    "counted",
    "sorted",
)


def images(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Generate maps with about 2 % defective pixels, one after the other.

    A map is noise of 37 × 37 patches, resized to pixels.
    """
    import torch
    from torch.nn import functional as F

    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        noise = F.interpolate(
            torch.randn(1, 1, 37, 37, generator=generator), (SIZE, SIZE), mode="bilinear"
        )[0, 0]
        field = F.interpolate(
            torch.randn(1, 1, 10, 10, generator=generator), (SIZE, SIZE), mode="bicubic"
        )[0, 0]
        mask = (
            field > 2.05 * field.std() if seed % 4 else field.isnan()
        )  # every fourth image is normal
        yield (2 * noise + 2 * mask).sigmoid(), mask


def counted_or_sorted(
    maps: list[Tensor], masks: list[Tensor], bins: int | None
) -> dict[str, float]:
    """Compute all pixel metrics with this package, in batches of 8 maps as a run does."""
    import torch

    from zsad.metrics import curves
    from zsad.metrics.states import BinnedPixelMetrics, SortedPixelMetrics

    measures = {
        "AUROC": curves.auroc,
        "AP": curves.average_precision,
        "F1-max": curves.f1_max,
        "AUPRO": curves.aupro,
        "AUPRO 200": curves.aupro_200,
        "IoU-max": curves.iou_max,
        "FPR at 95 % TPR": curves.fpr_at_tpr,
    }
    metrics = SortedPixelMetrics(measures) if bins is None else BinnedPixelMetrics(measures, bins)
    for start in range(0, len(maps), BATCH):
        metrics.update(
            torch.stack(maps[start : start + BATCH]), torch.stack(masks[start : start + BATCH])
        )
    return metrics.compute().values


def published(maps: list[Tensor], masks: list[Tensor]) -> dict[str, float]:
    """Compute the pixel metrics as the published code of most methods does.

    All pixels are sorted at once, and regions are labelled anew at every threshold.
    """
    import numpy as np
    import torch
    from skimage import measure
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

    scores, truth = torch.stack(maps).numpy(), torch.stack(masks).numpy()
    flat_scores, flat_truth = scores.ravel(), truth.ravel()
    precision, recall, _ = precision_recall_curve(flat_truth, flat_scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    truth, called = truth.astype(np.uint8), np.zeros_like(scores, dtype=bool)
    overlaps, rates = [], []
    for threshold in np.arange(scores.min(), scores.max(), (scores.max() - scores.min()) / 200):
        called[scores <= threshold], called[scores > threshold] = False, True
        found = []
        for one_called, mask in zip(called, truth, strict=True):
            for region in measure.regionprops(measure.label(mask)):
                rows, columns = region.coords.T
                found.append(one_called[rows, columns].sum() / region.area)
        overlaps.append(np.mean(found))
        normal = 1 - truth
        rates.append(np.logical_and(normal, called).sum() / normal.sum())
    overlap, rate = np.array(overlaps), np.array(rates)
    kept = rate < 0.3
    rate = (rate[kept] - rate[kept].min()) / (rate[kept].max() - rate[kept].min())
    return {
        "AUROC": float(roc_auc_score(flat_truth, flat_scores)),
        "AP": float(average_precision_score(flat_truth, flat_scores)),
        "F1-max": float(f1.max()),
        "AUPRO 200": float(auc(rate, overlap[kept])),
    }


def torchmetrics_exact(maps: list[Tensor], masks: list[Tensor]) -> dict[str, float]:
    """Compute AUROC and AP with torchmetrics, all thresholds."""
    import torch
    from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

    scores, truth = torch.stack(maps).flatten(), torch.stack(masks).flatten().long()
    return {
        name: float(metric(scores, truth))
        for name, metric in (
            ("AUROC", BinaryAUROC(thresholds=None)),
            ("AP", BinaryAveragePrecision(thresholds=None)),
        )
    }


WAYS: dict[str, Callable[[list[Any], list[Any]], dict[str, float]]] = {
    COUNTED: lambda maps, masks: counted_or_sorted(maps, masks, 2**16),
    SORTED: lambda maps, masks: counted_or_sorted(maps, masks, None),
    TORCHMETRICS: torchmetrics_exact,
    PUBLISHED: published,
}


def timed(way: str, count: int) -> dict[str, Any]:
    """Measure one way in this process.

    The maps exist and the code is warm before the clock starts.
    """
    maps, masks = map(list, zip(*images(count), strict=True))
    if way in (COUNTED, SORTED):
        WAYS[way](maps[:2], masks[:2])
    wall, cpu = time.perf_counter(), time.process_time()
    values = WAYS[way](maps, masks)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "values": values}


def peak(count: int) -> dict[str, Any]:
    """Count so many maps in this process and return its highest memory.

    Each map is made when it is needed.
    """
    from zsad.metrics import curves
    from zsad.metrics.states import BinnedPixelMetrics

    metrics = BinnedPixelMetrics({"AUROC": curves.auroc, "AUPRO": curves.aupro}, 2**16)
    for one_map, mask in images(count):
        metrics.update(one_map[None], mask[None])
    values = metrics.compute().values
    return {
        "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * GB_PER_UNIT,
        "values": values,
    }


def measure(*arguments: str) -> dict[str, Any]:
    """Run this file as one of the measured processes."""
    command = [sys.executable, __file__, *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def report(count: int, times: dict[str, dict[str, Any]], peaks: dict[int, dict[str, Any]]) -> str:
    """Write the Markdown."""
    ours = times[COUNTED]
    names = list(ours["values"])
    few, many = sorted(peaks)
    rows = [
        f"| {way} | {t['wall']:.1f} | {t['cpu']:.1f} | {t['cpu'] / ours['cpu']:.0f} | "
        + " | ".join(f"{t['values'][name]:.5f}" if name in t["values"] else "" for name in names)
        + " |"
        for way, t in times.items()
    ]
    return "\n".join(
        [
            f"{count} maps of {SIZE} × {SIZE} px; {os.cpu_count()} CPUs ({platform.machine()}), "
            f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}",
            "",
            f"| way | wall, s | CPU, s | CPU, times ours | {' | '.join(names)} |",
            f"| :--- |{' ---: |' * (3 + len(names))}",
            *rows,
            "",
            "| maps counted | peak memory, GB |",
            "| ---: | ---: |",
            *(f"| {maps:,} | {peaks[maps]['gb']:.3f} |" for maps in (few, many)),
            "",
            f"{many:,} maps take {peaks[many]['gb'] / peaks[few]['gb']:.3f} times the memory "
            f"of {few:,}.",
        ]
    )


def main() -> None:
    """Measure everything, or be one of the measured processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--maps", type=int, default=83, help="maps that are timed")
    parser.add_argument(
        "--many", type=int, default=2000, help="maps for the memory; a twentieth of it are the few"
    )
    parser.add_argument("--time", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.time:
        print(json.dumps(timed(arguments.time, arguments.maps)))
    elif arguments.peak:
        print(json.dumps(peak(arguments.peak)))
    else:
        times = {way: measure("--time", way, "--maps", str(arguments.maps)) for way in WAYS}
        peaks = {
            count: measure("--peak", str(count)) for count in (arguments.many // 20, arguments.many)
        }
        print(report(arguments.maps, times, peaks))


if __name__ == "__main__":
    main()
