"""A sweep on a real SLURM.

It has four jobs from one command, two processes for one job, and a job that is stopped midway.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest
import torch

from tests.end_to_end.small_datasets import write_dataset
from tests.slurm import cluster

ROOT = Path(__file__).parents[2]
EPOCHS, STEPS = 15, 8  # steps of an epoch: eight images, one at a time
SETTINGS = [
    "dataset=synthetic_a",
    "backbone=pocket",
    "image_size=48",
    "dataset.batch_size=1",
    "dataset.num_workers=0",
    f"epochs={EPOCHS}",
    "trainer.accelerator=cpu",
]
JOB = ["hydra/launcher=slurm", "hydra.launcher.cpus_per_task=2", "hydra.launcher.mem_gb=4"]
MOST_SECONDS = 400
PAIR = ["model=anomalyclip", "seed=1", "trainer=ddp", "trainer.devices=2"]
NAME = "anomalyclip_synthetic_a_seed{seed}"
DISTURBANCES = {
    ("disturbed", 1): ["scontrol", "requeue"],
    ("disturbed", 2): ["scancel", "--signal=USR2"],
    ("pair_disturbed", 1): ["scancel", "--signal=USR2"],
}
SWEEPS = {
    "disturbed": ["model=anomalyclip", "seed=1,2"],
    "pair_disturbed": PAIR,
    "four": ["model=anomalyclip,dhrclip", "seed=1,2"],
    "pair": PAIR,
}


@pytest.fixture(scope="module")
def place(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three sweeps that started at once; two of their jobs were disturbed."""
    place = tmp_path_factory.mktemp("place")
    write_dataset(place, "synthetic_a", seed=0)
    (place / "data_json" / "roots.json").write_text(
        json.dumps({"synthetic_a": str(place / "synthetic_a")})
    )
    screens = {name: (place / f"{name}.log").open("w") for name in SWEEPS}
    sweeps = {
        name: launch(place, slurm, [*given, f"sweep={name}", *JOB], screens[name])
        for name, given in SWEEPS.items()
    }
    disturb(place, slurm)
    codes = {name: sweep.wait(MOST_SECONDS) for name, sweep in sweeps.items()}
    for screen in screens.values():
        screen.close()
    assert codes == dict.fromkeys(codes, 0), "\n".join(
        (place / f"{name}.log").read_text()[-3000:] for name in codes
    )
    return place


def launch(
    place: Path, slurm: dict[str, str], given: Sequence[str], screen: IO[str]
) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *SETTINGS, *given]
    environment = slurm | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=place, env=environment, stdout=screen, stderr=screen)


def run(place: Path, sweep: str, name: str) -> Path:
    return place / "runs" / "train" / "sweeps" / sweep / name


def disturb(place: Path, slurm: dict[str, str]) -> None:
    """Stop each job as soon as it has trained for an epoch."""
    waiting, until = dict(DISTURBANCES), time.monotonic() + MOST_SECONDS
    while waiting:
        assert time.monotonic() < until, "\n".join(
            log.read_text()[-3000:] for log in place.glob("*.log")
        )
        time.sleep(0.05)
        for sweep, seed in list(waiting):
            folder = run(place, sweep, NAME.format(seed=seed))
            if (folder / "checkpoints" / "epoch_00.ckpt").exists():
                job = json.loads((folder / "status.json").read_text())["job"]
                subprocess.run([*waiting.pop((sweep, seed)), job], env=slurm, check=True)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_one_command_completes_as_four_jobs(place: Path) -> None:
    folders = [
        run(place, "four", f"{model}_synthetic_a_seed{s}")
        for model in ("anomalyclip", "dhrclip")
        for s in (1, 2)
    ]
    statuses = [json.loads((folder / "status.json").read_text()) for folder in folders]
    assert [status["state"] for status in statuses] == ["finished"] * 4
    assert len({status["job"] for status in statuses}) == 4
    for folder in folders:
        assert (folder / ".hydra" / "overrides.yaml").is_file()
        card = json.loads((folder / "run_card.json").read_text())
        assert "train.py" in card["command"]
        assert "seed=" in card["command"]


@pytest.mark.parametrize(
    ("sweep", "whole", "seed", "signal", "steps"),
    [
        ("disturbed", "four", 1, "SIGTERM", STEPS),
        ("disturbed", "four", 2, "SIGUSR2", STEPS),
        ("pair_disturbed", "pair", 1, "SIGUSR2", STEPS // 2),
    ],
    ids=["scontrol requeue", "time is up", "time is up, two processes"],
)
def test_a_preempted_job_ends_with_the_weights_of_an_undisturbed(
    place: Path, sweep: str, whole: str, seed: int, signal: str, steps: int
) -> None:
    """A job stopped in mid-training is requeued and ends with the weights of an undisturbed one."""
    name = NAME.format(seed=seed)
    folder, undisturbed = run(place, sweep, name), weights(run(place, whole, name))
    stopped = set(
        re.findall(r"(SIG\w+): stopped after step (\d+)", (folder / "train.log").read_text())
    )
    ((received, step),) = stopped
    assert received == signal
    assert steps <= int(step) < EPOCHS * steps
    assert (
        len(list((folder / "log").glob("version_*"))) == 2
    )  # it was started twice, in the same folder
    assert weights(folder).keys() == undisturbed.keys()
    assert all(torch.equal(tensor, undisturbed[key]) for key, tensor in weights(folder).items())


def test_a_job_of_two_processes_is_one_training(place: Path) -> None:
    folder = run(place, "pair", NAME.format(seed=1))
    card = json.loads((folder / "run_card.json").read_text())
    assert card["world_size"] == 2
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == EPOCHS * STEPS // 2


def test_nothing_is_left_of_a_cluster() -> None:
    if reason := cluster.missing():
        pytest.skip(reason)
    with cluster.cluster() as environment:
        folder = Path(environment["SLURM_CONF"]).parent
        subprocess.run(
            ["sbatch", f"--output={folder}/job.out", "--wrap=sleep 600"],
            env=environment,
            check=True,
        )
        assert list(cluster._marked(f"SLURM_CONF={folder}/slurm.conf".encode()))
    assert not folder.exists()
    assert not list(cluster._marked(f"SLURM_CONF={folder}/slurm.conf".encode()))


def test_nothing_is_left_of_a_cluster_whose_starter_was_killed() -> None:
    if reason := cluster.missing():
        pytest.skip(reason)
    command = [
        sys.executable,
        str(ROOT / "tests" / "slurm" / "cluster.py"),
        "bash",
        "-c",
        "echo $SLURM_CONF; sleep 600",
    ]
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    configuration = Path(starter.stdout.readline().strip())
    assert configuration.is_file()
    starter.kill()
    starter.wait()
    until = time.monotonic() + 30
    while configuration.parent.exists() and time.monotonic() < until:
        time.sleep(0.2)
    assert not configuration.parent.exists()
    assert not list(cluster._marked(f"SLURM_CONF={configuration}".encode()))
