"""Every run of a sweep has a folder of its own, the same command finds it again, and a pool runs so many at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from zsad.config import compose, slurm, sweeps
from zsad.config.run_names import run_name

ROOT = Path(__file__).parents[2]


def folders(script: str, *given: str) -> list[Path]:
    """Return where the runs of a sweep would lie."""
    arguments = compose.read_arguments(["-m", *given])[1:]
    own = [one for one in arguments if not one.startswith("hydra.")]
    of_hydra = [one for one in arguments if one.startswith("hydra.")]
    parsed = OverridesParser.create().parse_overrides(own)
    return [
        _folder(script, [*job, *of_hydra]) for job in BasicSweeper.split_arguments(parsed, None)[0]
    ]


def _folder(script: str, overrides: list[str]) -> Path:
    config = compose._compose_apart(script, overrides, with_hydra=True)
    HydraConfig.instance().set_config(config)
    return Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)


@pytest.fixture(autouse=True)
def _no_run_of_hydra() -> Iterator[None]:
    yield
    HydraConfig.instance().cfg = None


def names(script: str, *given: str) -> list[str]:
    return [folder.name for folder in folders(script, *given)]


def test_what_the_name_of_a_run_says_is_not_said_again() -> None:
    assert names("train", "dataset=visa", "model=anomalyclip,dhrclip", "seed=1,11") == [
        "anomalyclip_visa_seed1",
        "anomalyclip_visa_seed11",
        "dhrclip_visa_seed1",
        "dhrclip_visa_seed11",
    ]


@pytest.mark.parametrize(
    ("varies", "told"),
    [
        ("model.method.image_score=both,map", ["image_scoreboth", "image_scoremap"]),
        ("model.method.sigma_px=0.5,4", ["sigma_px0.5", "sigma_px4"]),
        ("+model.method.backbone.new=1,2", ["new1", "new2"]),
        ("backbone=pocket,clip_vit_l14", ["pocket", "clip_vit_l14"]),
        (
            "dataset.categories=[candle],[candle,pcb1]",
            ["categoriescandle", "categoriescandle-pcb1"],
        ),
        ("dataset.root=/a/b,/a/c", ["roota-b", "roota-c"]),
        ("trainer=cpu,bf16", ["cpu", "bf16"]),
        ("epochs=5,15", ["epochs5", "epochs15"]),
    ],
)
def test_whatever_else_varies_is_a_part_of_the_folder(varies: str, told: list[str]) -> None:
    assert names("train", "dataset=visa", varies) == [
        f"anomalyclip_visa_seed111_{one}" for one in told
    ]


def test_a_name_that_varies_is_enough() -> None:
    given = ["dataset=visa", "epochs=5,15", "name=${hydra:runtime.choices.model}_${epochs}_epochs"]
    assert names("train", *given) == ["anomalyclip_5_epochs", "anomalyclip_15_epochs"]


@pytest.mark.parametrize("script", ["train", "test"])
def test_runs_of_an_experiment_with_a_fixed_name_are_kept_apart(script: str) -> None:
    assert names(script, "experiment=demo", "seed=1,2") == ["demo_seed1", "demo_seed2"]


def test_checkpoints_of_the_same_name_in_two_sweeps_are_kept_apart() -> None:
    paths = "ckpt_path=runs/train/sweeps/a/anomalyclip_visa_seed1,runs/train/sweeps/b/anomalyclip_visa_seed1"
    found = names("test", "dataset=mtd", paths)
    assert len(set(found)) == 2
    several = names("test", "dataset=mtd", "ckpt_path=runs/train/x_seed1,runs/train/x_seed2")
    assert several == ["anomalyclip_mtd_from_x_seed1", "anomalyclip_mtd_from_x_seed2"]


def test_two_values_of_a_number_are_two_runs_for_what_uses_them() -> None:
    """A folder called …_sigma0.5 is no file with a suffix."""
    assert run_name("runs/train/sweeps/s/a_sigma0.5") == "a_sigma0.5"
    assert run_name("runs/train/sweeps/s/a_sigma0.5/checkpoints/last.ckpt") == "a_sigma0.5"


@pytest.mark.parametrize("script", ["train", "test"])
def test_a_sweep_lies_in_one_folder_called_by_its_choices_or_as_asked(script: str) -> None:
    given = [
        "dataset=mtd",
        "model=clip,winclip",
        "backbone=pocket",
        "hydra/launcher=local_pool",
        "overwrite=true",
    ]
    assert {folder.parent for folder in folders(script, *given[:3])} == {
        Path(f"runs/{script}/sweeps/mtd_clip+winclip_pocket")
    }
    assert compose.read_arguments(["-m", *given])[-2] == "sweep=mtd_clip+winclip_pocket"
    assert {folder.parent.name for folder in folders(script, *given[:3], "sweep=mine")} == {"mine"}


def test_a_long_command_gives_a_short_name_that_no_other_has() -> None:
    seeds = ",".join(map(str, range(200)))
    one, other = (compose.read_arguments(["-m", f"seed={seeds},{last}"])[-2] for last in (200, 201))
    assert one.startswith("sweep=seed0+1+2+3+")
    assert one != other
    assert len(one) <= len("sweep=") + 90


def test_folders_can_be_typed_without_quotes() -> None:
    path = folders("train", "dataset=visa", "dataset.root='/my pictures/a=b, c',/x", "name='a b'")[
        0
    ]
    parsed = OverridesParser.create().parse_override(f"ckpt_path={path.parent}")
    assert parsed.value() == str(path.parent)


def test_a_single_run_is_told_nothing() -> None:
    assert compose.read_arguments(["model=clip", "seed=1"]) == ["model=clip", "seed=1"]


@pytest.mark.parametrize("launcher", ["basic", "slurm", "submitit_local"])
def test_launchers_of_hydra_and_of_others_are_chosen_as_ours_are(launcher: str) -> None:
    assert compose.read_arguments([f"hydra/launcher={launcher}"]) == [f"hydra/launcher={launcher}"]


@pytest.mark.parametrize("given", ["seed=[1,", "seed=glob(*)"])
def test_what_hydra_cannot_read_is_left_for_it_to_say(given: str) -> None:
    assert compose.read_arguments(["-m", given]) == ["-m", given]


def test_a_file_of_the_configuration_that_is_put_to_a_place_may_vary() -> None:
    given = ["model=winclip", "prompts/ensemble@model.method.prompts=winclip,clip"]
    assert names("test", *given) == [
        "winclip_mvtec_from_nothing_winclip",
        "winclip_mvtec_from_nothing_clip",
    ]


def test_what_is_left_out_is_named_as_what_is_null() -> None:
    assert (
        compose.read_arguments(["-m", "~callbacks.scores", "seed=1,2"])[-2]
        == "sweep=scoresnull_seed1+2"
    )


@pytest.mark.parametrize(
    ("devices", "is_sweep", "is_slurm"), [("2", True, False), ("auto", True, False)]
)
def test_several_processes_in_a_sweep_need_a_launcher(
    devices: str, is_sweep: bool, is_slurm: bool
) -> None:
    config = compose.compose_config("train", ["paths.output_dir=x", f"trainer.devices={devices}"])
    with pytest.raises(
        ValueError, match=rf"trainer.devices={devices} in a sweep.*hydra/launcher=local_pool"
    ):
        sweeps.require_own_processes(config, is_sweep=is_sweep, is_slurm=is_slurm)
    sweeps.require_own_processes(config, is_sweep=False, is_slurm=False)
    sweeps.require_own_processes(config, is_sweep=True, is_slurm=True)


@pytest.mark.parametrize("devices", ["1", "[3]"])
def test_one_device_in_a_sweep_needs_none(devices: str) -> None:
    config = compose.compose_config("train", ["paths.output_dir=x", f"trainer.devices={devices}"])
    sweeps.require_own_processes(config, is_sweep=True, is_slurm=False)


def test_slurm_is_asked_for_as_many_processes_and_nodes_as_the_trainer_has() -> None:
    given = [
        "hydra/launcher=slurm",
        "trainer.devices=4",
        "trainer.num_nodes=2",
        "trainer.accelerator=gpu",
    ]
    launcher = compose._compose_apart("train", given, with_hydra=True).hydra.launcher
    assert (launcher.tasks_per_node, launcher.nodes, launcher.gpus_per_node) == (4, 2, 4)
    on_cpu = compose._compose_apart(
        "train", ["hydra/launcher=slurm", "trainer=cpu"], with_hydra=True
    ).hydra.launcher
    assert (on_cpu.tasks_per_node, on_cpu.gpus_per_node) == (1, None)


def test_slurm_has_to_know_the_number_of_processes() -> None:
    with pytest.raises(
        ValueError, match=r"trainer.devices=auto: SLURM has to know.*trainer.devices=4"
    ):
        slurm.tasks_per_node("auto")


@pytest.mark.parametrize(("answer", "count"), [("(null)", None), ("gpu:a100:8(S:0-1)\n(null)", 4)])
def test_gpus_are_asked_for_where_the_cluster_has_some(
    tmp_path: Path, answer: str, count: int | None
) -> None:
    sinfo = tmp_path / "sinfo"
    sinfo.write_text(f"#!/bin/sh\necho '{answer}'\n")
    sinfo.chmod(0o755)
    assert slurm.gpus_per_node("auto", 4, None, str(sinfo)) == count
    assert slurm.gpus_per_node("gpu", 4, None, str(sinfo)) == 4
    assert slurm.gpus_per_node("cpu", 4, None, str(sinfo)) is None
    assert slurm.gpus_per_node("auto", 4, None, str(tmp_path / "no_such_program")) is None


PROGRAM = """
import json, os, sys, time
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base="1.3", config_path=".", config_name="program")
def main(config):
    began = time.time()
    Path(HydraConfig.get().runtime.output_dir, "pid").write_text(str(os.getpid()))
    time.sleep(config.seconds)
    seen = {"began": began, "ended": time.time(), "value": config.value, "pid": os.getpid()}
    seen |= {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    seen["cpus"] = len(os.sched_getaffinity(0))
    Path(HydraConfig.get().runtime.output_dir, "seen.json").write_text(json.dumps(seen))
    if config.value == 3:
        os.kill(os.getpid(), 9)

main()
"""


@pytest.fixture(scope="module")
def pool(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], list[dict]]:
    """Five runs of a small program, two at a time; one of them dies."""
    place = tmp_path_factory.mktemp("pool")
    (place / "program.py").write_text(PROGRAM)
    (place / "program.yaml").write_text("{value: 0, seconds: 0.5}")
    given = ["hydra/launcher=local_pool", "hydra.launcher.workers=2", "hydra.launcher.threads=1"]
    given += [
        "hydra.launcher.gpus=[0,1]",
        "value=1,2,3,4,5",
        "hydra.sweep.dir=all",
        f"hydra.searchpath=[file://{compose.CONF}]",
    ]
    given += ["hydra.sweep.subdir='run ${value}'"]
    done = subprocess.run(
        [sys.executable, "program.py", "-m", *given],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, [
        json.loads(file.read_text()) for file in sorted(place.glob("all/run */seen.json"))
    ]


def test_a_pool_runs_all_and_never_more_than_its_workers_at_a_time(pool) -> None:
    done, seen = pool
    assert [one["value"] for one in seen] == [1, 2, 3, 4, 5], done.stderr
    assert len({one["pid"] for one in seen}) == 5
    at_once = [
        sum(other["began"] <= one["began"] < other["ended"] for other in seen) for one in seen
    ]
    assert max(at_once) == 2


def test_runs_of_a_pool_keep_to_their_cpus_and_their_gpu(pool) -> None:
    assert {(one["OMP_NUM_THREADS"], one["cpus"]) for one in pool[1]} == {("1", 1)}
    assert {one["CUDA_VISIBLE_DEVICES"] for one in pool[1]} == {"0", "1"}


def test_a_run_that_dies_does_not_end_the_others_but_is_told(pool) -> None:
    done = pool[0]
    assert done.returncode != 0
    assert "run #2 was killed by SIGKILL" in done.stderr
    assert "zsad collect all" in done.stderr
    assert "Traceback" not in done.stderr
    assert sum("finished after" in line for line in (done.stdout + done.stderr).splitlines()) >= 4


def test_an_interrupted_pool_takes_its_runs_with_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "program.yaml").write_text("{value: 0, seconds: 600}")
    given = [
        "hydra/launcher=local_pool",
        "value=1,2,4",
        "hydra.sweep.dir=all",
        f"hydra.searchpath=[file://{compose.CONF}]",
    ]
    command = [sys.executable, "program.py", "-m", *given, "hydra.sweep.subdir='run ${value}'"]
    pool = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while len(files := list(tmp_path.glob("all/run */pid"))) < 2 or not all(
        file.read_text() for file in files
    ):
        assert time.monotonic() < until
        time.sleep(0.05)
    pool.send_signal(signal.SIGINT)
    assert pool.wait(60) != 0
    assert len(list(tmp_path.glob("all/run *"))) == 2  # the third did not begin
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


@pytest.mark.parametrize("workers", [0, "many"])
def test_a_pool_without_workers_is_refused(workers: Any) -> None:
    from hydra_plugins.zsad_launchers import LocalPool

    with pytest.raises(ValueError, match=rf"hydra.launcher.workers={workers}: expected 1 or more"):
        LocalPool(workers=workers)
