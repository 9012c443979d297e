"""A pool runs a few processes at a time, ends with them, and tells how each ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from zsad.config import compose

PROGRAM = """
import json, os, sys, time
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base="1.3", config_path=".", config_name="program")
def main(config):
    began = time.time()
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "pid").write_text(str(os.getpid()))
    while len(list(folder.parent.glob("*/pid"))) < 2 and time.time() < began + 120:
        time.sleep(0.02)  # two runs meet, however slowly the second one starts
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


def test_a_pool_runs_all_but_never_more_than_its_workers(pool) -> None:
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
