"""How much memory testing and training take, and what training keeps for the backward pass.

    python benchmarks/memory.py dataset=mtd dataset.root=/path/to/mtd

runs ``train.py`` and ``test.py`` themselves, each in a process of its own, on one image of the
dataset, in float32 on the CPU. The weights are random, in the geometry of a backbone (ViT-L/14@336
at 518 px unless ``--backbone`` names another). Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The peak memory of a child process starts at that of its parent. The parent stays small
    # because torch is imported in the children alone.
    from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
KIB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1  # of ru_maxrss


@dataclass(frozen=True)
class Measured:
    """Highest resident memory of one process in GB (10⁹ bytes), CPU and wall time in seconds."""

    peak_gb: float
    cpu_s: float
    wall_s: float


def measure(command: Sequence[str]) -> Measured:
    """Run a command and return what it took.

    Raises:
        SystemExit: If it fails; with the end of what it said.
    """
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read()[-3000:]}")
    return Measured(
        usage.ru_maxrss * KIB_PER_UNIT * 1024 / 1e9, usage.ru_utime + usage.ru_stime, wall
    )


def run(script: str, folder: Path, options: Sequence[str], *own: str) -> Measured:
    """Measure ``train.py`` or ``test.py`` on one image, loader included, in one process."""
    single = (
        "dataset.max_images=1",
        "dataset.batch_size=1",
        "dataset.num_workers=0",
        "trainer=cpu",
        "logger=none",
    )
    return measure([sys.executable, script, *single, *options, *own, f"hydra.run.dir={folder}"])


def measure_runs(backbone: str, options: Sequence[str]) -> dict[str, Measured]:
    """Measure a training, and tests without a weight file, with a float32 and a float16 file."""
    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as scratch:
        folder = Path(scratch)
        options = [f"backbone={backbone}", *options]
        trained = run("train.py", folder / "train", options, "epochs=1", "backbone.pretrained=null")
        options = [*options, f"ckpt_path={folder / 'train'}"]
        rows = {
            "test.py, random weights": run(
                "test.py", folder / "test", options, "backbone.pretrained=null"
            )
        }
        for precision in ("float32", "float16"):
            file = folder / f"{precision}.safetensors"
            measure(
                [
                    sys.executable,
                    __file__,
                    "--write-weights",
                    str(file),
                    precision,
                    "--backbone",
                    backbone,
                ]
            )
            options_here = [*options, f"backbone.pretrained={file}"]
            rows[f"test.py, {precision} safetensors"] = run(
                "test.py", folder / precision, options_here
            )
            file.unlink()
        return rows | {"train.py, random weights": trained}


def measure_saved(backbone: str) -> dict[str, Any]:
    """Count what a training step saves for backward, in a process of its own."""
    command = [sys.executable, __file__, "--count-saved", "--backbone", backbone]
    return json.loads(
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )


@dataclass
class Saved:
    """Counts the bytes that autograd keeps for the backward pass.

    Each piece of memory counts once; parameters are left out.
    """

    parameters: set[int]
    bytes_of: dict[int, int] = field(default_factory=dict)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count what is saved inside the block."""
        from torch.autograd.graph import saved_tensors_hooks

        with saved_tensors_hooks(self._count, lambda tensor: tensor):
            yield

    @property
    def megabytes(self) -> float:
        """Their sum in units of 10⁶ bytes."""
        return sum(self.bytes_of.values()) / 1e6

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.parameters:
            self.bytes_of[storage.data_ptr()] = storage.nbytes()
        return tensor


def count_saved(backbone: str) -> dict[str, Any]:
    """Return the MB that one training step saves for its backward pass.

    They are given for the image tower, for everything else, and for the image tower if gradients
    flowed through it.
    """
    import torch

    task = _compose(backbone).model
    method, size = task.method, task.method.backbone.input_size
    known = {parameter.data_ptr() for parameter in method.parameters()}
    tower, elsewhere, with_gradients = Saved(known), Saved(known), Saved(known)
    method.encode_image = _watched(method.encode_image, tower)
    with elsewhere.watch():
        loss = torch.stack(list(method.loss(_batch(size)).values())).sum()
    loss.backward()
    learned = sum(
        parameter.numel() for parameter in method.parameters() if parameter.grad is not None
    )
    del loss
    encode = type(method.backbone).encode_image.__wrapped__  # what it would be without no_grad
    image = torch.rand(1, 3, size, size, requires_grad=True)
    with with_gradients.watch():
        features = encode(
            method.backbone,
            image,
            blocks=method.feature_blocks,
            value_attention_from=method.value_attention_from,
        )
    kept_alive = (
        features.image.requires_grad
    )  # else nothing would have been counted, and for no good reason
    return {
        "tower": tower.megabytes,
        "elsewhere": elsewhere.megabytes,
        "with_gradients": with_gradients.megabytes if kept_alive else None,
        "learned": learned,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def write_weights(file: Path, precision: str, backbone: str) -> None:
    """Write random weights in the geometry of a backbone."""
    import torch
    from safetensors.torch import save_file

    dtype = {"float32": torch.float32, "float16": torch.float16}[precision]
    state = _compose(backbone).backbone.model.state_dict()
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in state.items()}, file)


@dataclass(frozen=True)
class Built:
    """The objects of a run."""

    model: Any
    backbone: Any


def _compose(backbone: str) -> Built:
    from zsad.config import compose, instantiate

    options = [f"backbone={backbone}", "backbone.pretrained=null", "paths.output_dir=."]
    config = compose.compose_config("train", options)
    task = instantiate.build(config.model)
    return Built(task, task.method.backbone)


def _batch(size: int) -> Any:
    import torch

    from zsad.types import Batch

    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[:, size // 3 : size // 2, size // 3 : size // 2] = True
    yes = torch.tensor([True])
    return Batch(torch.rand(1, 3, size, size), mask, yes, yes, ("object",), ("hole",), ("",))


def _watched(function: Callable[..., Any], saved: Saved) -> Callable[..., Any]:
    def inside(*arguments: Any) -> Any:
        with saved.watch():
            return function(*arguments)

    return inside


def report(backbone: str, runs: dict[str, Measured], saved: dict[str, Any]) -> str:
    """Write the Markdown."""
    machine = (
        f"{os.cpu_count()} CPUs ({platform.machine()}), {saved['threads']} threads, "
        f"torch {saved['torch']}"
    )
    test, train = runs["test.py, random weights"], runs["train.py, random weights"]
    return "\n".join(
        [
            f"{backbone}, one image, float32; {machine}",
            "",
            "| one process | peak memory, GB | CPU, s | wall, s |",
            "| :--- | ---: | ---: | ---: |",
            *(
                f"| {name} | {m.peak_gb:.2f} | {m.cpu_s:.0f} | {m.wall_s:.0f} |"
                for name, m in runs.items()
            ),
            "",
            f"Peak of a training step over peak of a test: {train.peak_gb / test.peak_gb:.2f}",
            "",
            "| saved for backward in one training step | MB |",
            "| :--- | ---: |",
            f"| by the image tower | {saved['tower']:.1f} |",
            f"| by everything else (text tower, maps, losses; {saved['learned']:,} numbers learn) "
            f"| {saved['elsewhere']:.1f} |",
            "| by the image tower, had gradients flowed through it "
            f"| {saved['with_gradients']:.1f} |",
        ]
    )


def main() -> None:
    """Measure everything, or be one of the measured processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("options", nargs="*", help="of train.py and test.py, such as dataset=mtd")
    parser.add_argument("--backbone", default="clip_vit_l14_336")
    parser.add_argument(
        "--write-weights", nargs=2, metavar=("FILE", "PRECISION"), help=argparse.SUPPRESS
    )
    parser.add_argument("--count-saved", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write_weights:
        write_weights(
            Path(arguments.write_weights[0]), arguments.write_weights[1], arguments.backbone
        )
    elif arguments.count_saved:
        print(json.dumps(count_saved(arguments.backbone)))
    else:
        (ROOT / "runs").mkdir(exist_ok=True)
        options = arguments.options or ["dataset=synthetic_b"]
        print(
            report(
                arguments.backbone,
                measure_runs(arguments.backbone, options),
                measure_saved(arguments.backbone),
            )
        )


if __name__ == "__main__":
    main()
