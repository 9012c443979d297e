"""Commands in processes of their own, which may be killed, and the files that they leave."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from tests.end_to_end.small_datasets import SIZE

ROOT = Path(__file__).parents[2]
GIVEN = ["backbone=pocket", f"image_size={SIZE}", "trainer=cpu", "dataset.batch_size=4"]
SERVER = multiprocessing.get_context(
    "forkserver"
)  # imports torch once, and forks a process for each command
SERVER.set_forkserver_preload(
    ["zsad.runs.evaluate_datasets", "zsad.runs.preflight", "zsad.data.module", __name__]
)


def command(
    script: str, arguments: Sequence[str], screen: Path, dies_at: tuple[int, str] | None = None
) -> None:
    """Run train.py or test.py in this process.

    The process may die at its n-th file, half-written or just written.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with screen.open("a") as shown:
        os.dup2(shown.fileno(), 1)
        os.dup2(shown.fileno(), 2)
    if dies_at is not None:
        die_of_a_file(*dies_at)
    sys.argv = [script, *arguments]
    runpy.run_path(str(ROOT / script), run_name="__main__")


def die_of_a_file(number: int, when: str) -> None:
    rename, written = Path.replace, iter(range(1, 10**6))

    def replace(self: Path, target: Any) -> Path:
        dies = next(written) == number
        if dies and when == "half":
            os.truncate(self, self.stat().st_size // 2)
        else:
            rename(self, target)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return target

    Path.replace = replace


def start(
    script: str, arguments: Sequence[str], screen: Path, dies_at: tuple[int, str] | None = None
) -> Any:
    process = SERVER.Process(target=command, args=(script, arguments, screen, dies_at))
    process.start()
    return process


def finish(script: str, arguments: Sequence[str], screen: Path) -> None:
    process = start(script, arguments, screen)
    process.join()
    assert process.exitcode == 0, screen.read_text()[-3000:]


def arguments(place: Path, folder: Path, *given: str) -> list[str]:
    return [
        *GIVEN,
        "dataset.num_workers=0",
        f"paths.data_json={place}/data_json",
        f"hydra.run.dir={folder}",
        *given,
    ]


def read(file: Path) -> None:
    """Read a file to its end; whoever cannot raises."""
    if file.suffix == ".ckpt":
        assert torch.load(file, weights_only=True)["state_dict"]
    elif file.suffix == ".json":
        json.loads(file.read_text())
    elif file.suffix == ".yaml":
        yaml.safe_load(file.read_text())
    elif file.suffix == ".csv":
        assert len({len(row) for row in csv.reader(file.open())}) == 1
    elif file.suffix == ".png":
        Image.open(file).load()
    elif file.suffix == ".html":
        assert file.read_text().rstrip().endswith("</html>")
    else:
        assert file.suffix in (".md", ".log"), file


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def readable(folder: Path) -> None:
    """Read every file that has its final name.

    A file that a killed process was writing has another name.
    """
    for file in files(folder):
        if not file.name.endswith(".partial") and ".hydra" not in file.parts:
            read(file)
