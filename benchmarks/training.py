"""What learning from cached features saves, and what a second process brings.

    python benchmarks/training.py                        # ViT-L/14@336 at 518 px, four images
    python benchmarks/training.py --backbone pocket --images 96 --epochs 5 --processes

Trains twice in this process: once through the frozen tower in every epoch, once with a feature
cache that is empty at first. The weights are random in the geometry of a backbone; the pocket
backbone has its own. Shows the times of an epoch and the differences of losses and prompts.

``--processes`` then times ``train.py`` with one and with two processes of one thread each, from a
full cache and without one, in turns. The images are those of a prepared dataset
(``zsad prepare synthetic datasets/synthetic``). Prints Markdown.
"""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Epochs:
    """What the epochs of a training took, and what came out.

    Attributes:
        wall_s: Seconds of each epoch.
        cpu_s: CPU seconds of each, of all threads of this process and of its loaders.
        losses: Of every step.
        learned: The prompts, flat.
    """

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    learned: Any = None


def now() -> tuple[float, float]:
    """Return wall and CPU seconds."""
    return time.perf_counter(), time.process_time()


def train(options: list[str], epochs: int) -> Epochs:
    """Train as ``train.py`` would, and write nothing but the cache."""
    import torch
    from lightning import Callback

    from zsad.config import compose, instantiate

    config = compose.compose_config(
        "train", [*options, f"epochs={epochs}", "logger=none", "paths.output_dir=."]
    )
    instantiate.seed_everything(config)
    measured = Epochs()

    class Watch(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            self.begun = now()

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            measured.losses.append(float(outputs["loss"]))
            self.last = now()

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            wall, cpu = (end - begin for begin, end in zip(self.begun, self.last, strict=True))
            measured.wall_s.append(wall)
            measured.cpu_s.append(cpu)

    data, task, trainer = (
        instantiate.build(config.dataset),
        instantiate.build(config.model),
        instantiate.quiet_trainer(config),
    )
    trainer.callbacks.append(Watch())
    trainer.fit(task, data)
    measured.learned = torch.cat(
        [parameter.detach().flatten() for parameter in task.method.prompts.parameters()]
    )
    return measured


def run(folder: Path, options: list[str], processes: int) -> tuple[float, float]:
    """Return wall seconds of a training by ``train.py`` and the most CPU seconds of a process.

    Wall seconds count from the first batch to the last.
    """
    name = folder / f"{time.time_ns()}"
    spread = ["trainer=ddp", f"trainer.devices={processes}"] if processes > 1 else []
    command = [
        sys.executable,
        "train.py",
        *spread,
        *options,
        "trainer.accelerator=cpu",
        "dataset.num_workers=0",
    ]
    command.append(f"hydra.run.dir={name}")
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MASTER_PORT": str(20000 + time.time_ns() % 20000),
    }
    ranks = [{"LOCAL_RANK": str(rank)} for rank in range(processes)] if processes > 1 else [{}]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [
        subprocess.Popen(command, cwd=ROOT, env=environment | rank, **silent) for rank in ranks
    ]
    cpu = []
    for process in started:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        cpu.append(usage.ru_utime + usage.ru_stime)
    return float(json.loads((name / "run_card.json").read_text())["timing"]["seconds"]), max(cpu)


def time_epoch(
    folder: Path, options: list[str], processes: int, epochs: int
) -> tuple[float, float]:
    """Return the wall and CPU seconds of an epoch from a short and a longer training."""
    short, long = (
        run(folder, [*options, f"epochs={count}"], processes) for count in (1, 1 + epochs)
    )
    wall, cpu = ((more - less) / epochs for less, more in zip(short, long, strict=True))
    return wall, cpu


def report_processes(folder: Path, options: list[str], images: int, batch: int) -> str:
    """Time one and two processes, and write the table."""
    options = [*options, f"dataset.max_images={images}"]
    cached = [*options, "feature_cache=disk", f"feature_cache.folder={folder / 'shared'}"]
    run(folder, [*cached, "epochs=1"], 1)
    rows = []
    for way, (chosen, epochs) in {
        "through the tower": (options, 2),
        "from a full cache": (cached, 40),
    }.items():
        one, two = (
            time_epoch(
                folder, [*chosen, f"dataset.batch_size={batch // processes}"], processes, epochs
            )
            for processes in (1, 2)
        )
        figures = [
            f"{value:.2f}"
            for value in (one[1], two[1], one[1] / two[1], one[0], two[0], one[0] / two[0])
        ]
        rows.append(f"| {way} | {' | '.join(figures)} |")
    return "\n".join(
        [
            f"{images} images, {batch} a step, one thread a process; seconds an epoch. "
            "CPU seconds are of one process (of two the busier one): what an epoch takes "
            "where each has a core to itself",
            "",
            "| epoch | CPU, one process | CPU, each of two | ratio "
            "| wall, one | wall, two | ratio |",
            "| :--- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
        ]
    )


def report_cache(without: Epochs, cached: Epochs, folder: Path, words: str) -> str:
    """Write the table."""
    import torch

    from zsad.tasks.cache_folder import folder_bytes

    machine = (
        f"{os.cpu_count()} CPUs ({platform.machine()}), {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
    tower = (median(without.wall_s), median(without.cpu_s))
    rows = {
        "through the tower": tower,
        "through the tower, filling the cache": (cached.wall_s[0], cached.cpu_s[0]),
        "from the cache": (median(cached.wall_s[1:]), median(cached.cpu_s[1:])),
    }
    apart = max(abs(one - other) for one, other in zip(without.losses, cached.losses, strict=True))
    prompts = float((without.learned - cached.learned).abs().max())
    return "\n".join(
        [
            f"{words}; {machine}",
            "",
            "| epoch | wall, s | CPU, s | wall ratio | CPU ratio |",
            "| :--- | ---: | ---: | ---: | ---: |",
            *(
                f"| {name} | {wall:.2f} | {cpu:.2f} "
                f"| {tower[0] / wall:.1f} | {tower[1] / cpu:.1f} |"
                for name, (wall, cpu) in rows.items()
            ),
            "",
            f"Largest difference of a loss ({len(without.losses)} steps): {apart:.1e} "
            f"of {max(without.losses):.1f}; of a learned number: {prompts:.1e}. "
            f"The cache: {folder_bytes(folder) / 1e6:.1f} MB",
        ]
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("options", nargs="*", help="of train.py, such as dataset=mtd model=dhrclip")
    parser.add_argument("--backbone", default="clip_vit_l14_336")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2, help="of each training")
    parser.add_argument("--processes", action="store_true", help="also one process against two")
    parser.add_argument(
        "--batch", type=int, default=8, help="images a step, of all processes together"
    )
    given = parser.parse_args()
    options = [f"backbone={given.backbone}", *(given.options or ["dataset=synthetic_a"])]
    if given.backbone != "pocket":
        options.append("backbone.pretrained=null")
    sizes = [
        "trainer.accelerator=cpu",
        "dataset.num_workers=0",
        f"dataset.max_images={given.images}",
    ]
    sizes.append(f"dataset.batch_size={given.batch}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        without = train([*options, *sizes], given.epochs)
        cache = ["feature_cache=disk", f"feature_cache.folder={folder / 'cache'}"]
        cached = train([*options, *sizes, *cache], given.epochs)
        words = f"{given.backbone}, {given.images} images, float32"
        print(report_cache(without, cached, folder / "cache", words), flush=True)
        if given.processes:
            print("\n" + report_processes(folder, options, given.images, given.batch))


if __name__ == "__main__":
    main()
