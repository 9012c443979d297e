"""One process gives the same losses, prompts and tables as two that share images and a cache."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
IMAGES = 9  # which neither two processes nor batches of two and four share evenly
SIZE = 64
# With the published prompts each process rounds the gradients of its own images to half precision
# before they are added. Without rounding only the order of additions in float32 differs.
EXACT = "model.method.prompts.round_deep_to_half=false"
DISTRIBUTED = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
Run = Callable[..., Path]


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    """Run train.py or test.py in processes of its own, and return the folder that it wrote."""

    def run(script: str, name: str, *given: str) -> Path:
        usual = [
            "backbone=pocket",
            f"image_size={SIZE}",
            f"dataset.max_images={IMAGES}",
            "dataset.num_workers=0",
        ]
        folder = place / name
        command = [
            sys.executable,
            f"{script}.py",
            *usual,
            f"paths.data_json={place}/data_json",
            *given,
        ]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "ZSAD_FEATURE_CACHE": str(place / "cache"),
        }
        for variable in [variable for variable in environment if variable.startswith("SLURM_")]:
            del environment[variable]
        done = subprocess.run(
            [*command, f"hydra.run.dir={folder}"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return folder

    return run


@pytest.fixture(scope="module")
def train(run: Run) -> Run:
    return lambda name, *given: run("train", name, "dataset=synthetic_a", "epochs=2", *given)


@pytest.fixture(scope="module")
def alone(train: Run) -> Path:
    return train("alone", "trainer=cpu", "dataset.batch_size=4", EXACT)


def losses(folder: Path) -> torch.Tensor:
    """Return every term, epoch by epoch."""
    rows = list(csv.DictReader((folder / "log" / "version_0" / "metrics.csv").open()))
    terms = sorted(name for name in rows[0] if name.startswith("train/"))
    epochs = [[float(row[name]) for name in terms] for row in rows if row["train/total"]]
    assert len(epochs) == 2
    assert len(epochs[0]) == 5
    return torch.tensor(epochs)


def prompts(folder: Path) -> torch.Tensor:
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return torch.cat([tensor.flatten() for tensor in state.values()])


def test_two_processes_learn_what_one_learns(train: Run, alone: Path, place: Path) -> None:
    """Two processes with a shared feature cache train as one with batches of twice the size."""
    two = train("two", *DISTRIBUTED, "dataset.batch_size=2", "feature_cache=disk", EXACT)
    assert json.loads((two / "run_card.json").read_text())["world_size"] == 2
    assert len(list((place / "cache").rglob("*.safetensors"))) == IMAGES
    torch.testing.assert_close(losses(two), losses(alone), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prompts(two), prompts(alone), atol=1e-5, rtol=1e-4)


def test_two_processes_write_the_table_of_one(run: Run, alone: Path) -> None:
    given = ("dataset=synthetic_b", f"ckpt_path={alone}")
    one, two = (
        run("test", "one_table", "trainer=cpu", *given),
        run("test", "two_table", *DISTRIBUTED, *given),
    )
    assert (two / "results.csv").read_text() == (one / "results.csv").read_text()
