"""What a folder says of its run is what became of the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from zsad.callbacks.heartbeat import Heartbeat
from zsad.reports.run_status import (
    Status,
    current_state,
    new_status,
    process_start,
    read_status,
    touch,
    write_status,
)


@pytest.fixture
def running() -> Status:
    return new_status("training", "python train.py", {"seed": 1, "sizes": [1, 2]})


def test_a_status_is_read_as_it_was_written(tmp_path: Path, running: Status) -> None:
    write_status(tmp_path, running)
    assert read_status(tmp_path) == running
    assert current_state(tmp_path, running)[0] == "running"


def test_a_status_of_version_0_1_is_read(tmp_path: Path, running: Status) -> None:
    file = write_status(tmp_path, running)
    file.write_text(file.read_text().replace('"process_start"', '"birth"'))
    assert '"process_start"' not in file.read_text()
    assert read_status(tmp_path) == running


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "training"}'])
def test_what_is_no_status_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "status.json").write_text(content)
    assert read_status(tmp_path) is None
    assert read_status(tmp_path / "nowhere") is None


def test_a_process_that_was_killed_is_known_to_be(tmp_path: Path, running: Status) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    other = replace(running, pid=process.pid, process_start=process_start(process.pid))
    write_status(tmp_path, other)
    assert current_state(tmp_path, other)[0] == "running"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert current_state(tmp_path, other) == ("killed", f"process {process.pid} is no more")


def test_a_number_given_again_is_not_the_process_that_had_it(
    tmp_path: Path, running: Status
) -> None:
    write_status(tmp_path, earlier := replace(running, process_start="another start 123"))
    assert current_state(tmp_path, earlier)[0] == "killed"


def test_of_another_machine_the_last_sign_of_life_counts(tmp_path: Path, running: Status) -> None:
    write_status(tmp_path, away := replace(running, host="node7", job="12_3"))
    state, remark = current_state(tmp_path, away)
    assert state == "running"
    assert remark.endswith("ago on node7, SLURM job 12_3")
    os.utime(tmp_path / "status.json", (0, 0))
    state, remark = current_state(tmp_path, away)
    assert state == "silent"
    assert remark.startswith("started, not finished: last sign of life ")
    touch(tmp_path)
    assert current_state(tmp_path, away)[0] == "running"


def test_the_number_of_a_job_is_that_of_its_files() -> None:
    array = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "15"}
    assert new_status("test", "", {}, array).job == "12_3"
    assert new_status("test", "", {}, {"SLURM_JOB_ID": "15"}).job == "15"


def test_the_status_tells_the_epoch_or_the_tested_dataset(tmp_path: Path, running: Status) -> None:
    """A dataset of several writes into the status of the whole run."""
    trainer = SimpleNamespace(current_epoch=2, max_epochs=15, is_global_zero=True, datamodule=None)
    write_status(tmp_path, running)
    for folder in (tmp_path, tmp_path / "mvtec"):
        Heartbeat(folder).on_train_epoch_start(trainer, None)
        said = read_status(tmp_path)
        assert said is not None
        assert said.progress == "epoch 3 of 15"
        write_status(tmp_path, running)
    Heartbeat(tmp_path / "a" / "b").on_test_start(trainer, None)  # no run: nothing is written
    assert not (tmp_path / "a").exists()


def test_batches_give_signs_of_life_but_not_each_of_them(tmp_path: Path, running: Status) -> None:
    write_status(tmp_path, running)
    signs, trainer = Heartbeat(tmp_path), SimpleNamespace(is_global_zero=True)
    for expected in (True, False):
        os.utime(tmp_path / "status.json", (0, 0))
        signs.on_train_batch_end(trainer, None, None, None, 0)
        assert ((tmp_path / "status.json").stat().st_mtime > 0) is expected
