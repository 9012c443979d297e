"""The next start of a run begins, resumes or refuses, by the status of the earlier start."""

from __future__ import annotations

import logging
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from zsad.config import compose
from zsad.reports.run_status import process_start, read_status, write_status
from zsad.reports.saved_results import load_results, save_results
from zsad.runs import run_folder
from zsad.runs.resume import Run, record_status
from zsad.runs.run_settings import deciding_settings
from zsad.types import Results


@cache
def composed(name: str, *given: str) -> tuple[DictConfig, Any]:
    config = compose.compose_config(name, ["backbone=pocket", "paths.output_dir=.", *given])
    return config, HydraConfig.instance().cfg


def config_of(folder: Path, *given: str, name: str = "train") -> DictConfig:
    """Return the configuration of a run, and make it that of the process, as Hydra would."""
    config, of_hydra = composed(name, *given)
    HydraConfig.instance().cfg = of_hydra
    own = deepcopy(config)
    own.paths.output_dir = str(folder)
    return own


def end_with(error: BaseException, config: DictConfig) -> None:
    with record_status(config, "training") as run:
        run.begin()
        raise error


def state_of(folder: Path) -> str:
    status = read_status(folder)
    assert status is not None
    return status.state


def test_a_run_says_that_it_runs_and_that_it_has_finished(tmp_path: Path) -> None:
    with record_status(config_of(tmp_path), "training") as run:
        assert state_of(tmp_path) == "running"
        run.begin()
    assert state_of(tmp_path) == "finished"


def test_a_mistake_before_the_run_begins_hides_no_finished_one(tmp_path: Path) -> None:
    with record_status(config_of(tmp_path), "training") as run:
        run.begin()
    with pytest.raises(ValueError, match="typo"), record_status(config_of(tmp_path), "training"):
        raise ValueError("typo")
    assert state_of(tmp_path) == "finished"


@pytest.mark.parametrize(
    ("error", "state", "why"),
    [(ValueError("wrong"), "failed", "wrong"), (KeyboardInterrupt(), "stopped", "interrupted")],
)
def test_why_a_run_ended_is_in_its_folder(
    tmp_path: Path, error: BaseException, state: str, why: str
) -> None:
    with pytest.raises(type(error)):
        end_with(error, config_of(tmp_path))
    status = read_status(tmp_path)
    assert status is not None
    assert (status.state, status.error) == (state, why)


def test_an_interrupt_is_told_from_a_trainers_exit(tmp_path: Path) -> None:
    left = SystemExit(1)
    left.__context__ = KeyboardInterrupt()
    with pytest.raises(SystemExit):
        end_with(left, config_of(tmp_path))
    status = read_status(tmp_path)
    assert status is not None
    assert (status.state, status.error) == ("stopped", "interrupted")


def test_a_start_that_is_refused_does_not_change_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        end_with(KeyboardInterrupt(), config_of(tmp_path, "seed=1"))
    status = read_status(tmp_path)
    assert status is not None
    write_status(tmp_path, replace(status, progress="epoch 2 of 3"))
    with (
        pytest.raises(ValueError, match="refused"),
        record_status(config_of(tmp_path, "seed=2"), "training"),
    ):
        raise ValueError("refused")
    assert read_status(tmp_path) == replace(status, progress="epoch 2 of 3")


@pytest.mark.parametrize("state", ["stopped", "running", "failed"])
@pytest.mark.parametrize("error", [ValueError("refused"), KeyboardInterrupt()])
def test_a_refused_start_leaves_the_earlier_status(
    tmp_path: Path, state: str, error: BaseException
) -> None:
    """Also of a run that was killed, whose status says ``running`` without a process."""
    with record_status(config_of(tmp_path), "training") as run:
        run.begin()
    finished = read_status(tmp_path)
    assert finished is not None
    earlier = replace(finished, state=state, pid=0, progress="epoch 7 of 9", error="a reason")
    write_status(tmp_path, earlier)
    with pytest.raises(type(error)), record_status(config_of(tmp_path, "seed=3"), "training"):
        raise error
    assert read_status(tmp_path) == earlier


def test_the_last_mistake_of_a_run_that_never_began_counts(tmp_path: Path) -> None:
    for mistake in ("no such dataset", "no such backbone"):
        with (
            pytest.raises(ValueError, match=mistake),
            record_status(config_of(tmp_path), "training"),
        ):
            raise ValueError(mistake)
    status = read_status(tmp_path)
    assert status is not None
    assert (status.state, status.error) == ("failed", "no such backbone")


def test_a_failed_start_does_not_change_the_stored_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wrong"):
        end_with(ValueError("wrong"), config_of(tmp_path, "seed=1"))
    for _ in range(2):
        other = config_of(tmp_path, "seed=2", "resume=auto")
        with (
            pytest.raises(ValueError, match=r"seed=1 then, seed=2 now"),
            record_status(other, "training") as run,
        ):
            run.require_same()


def test_how_and_where_it_runs_may_change(tmp_path: Path) -> None:
    with record_status(config_of(tmp_path), "training") as run:
        run.begin()
    changed = (
        "trainer=bf16",
        "dataset.num_workers=7",
        "dataset.root=/elsewhere",
        "logger=none",
        "epochs=99",
    )
    later = Run(config_of(tmp_path, *changed, "resume=auto"), "training")
    later.require_same()
    assert not later.is_finished  # more epochs are wanted
    assert Run(config_of(tmp_path, "epochs=1"), "training").is_finished


def test_a_folder_in_which_another_process_works_is_refused(tmp_path: Path) -> None:
    with record_status(config_of(tmp_path), "training"):
        status = read_status(tmp_path)
        assert status is not None
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    write_status(
        tmp_path,
        replace(status, state="running", pid=process.pid, process_start=process_start(process.pid)),
    )
    with (
        pytest.raises(ValueError, match=rf"is being written: process {process.pid} since"),
        record_status(config_of(tmp_path), "training"),
    ):
        pass
    process.kill()
    process.wait()
    with record_status(config_of(tmp_path), "training"):
        pass


def test_a_requeued_slurm_job_resumes_its_own_run_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    with pytest.raises(KeyboardInterrupt):
        end_with(KeyboardInterrupt(), config_of(tmp_path))
    assert not Run(config_of(tmp_path), "training").is_resuming
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert Run(config_of(tmp_path, "overwrite=true"), "training").is_resuming
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    assert not Run(config_of(tmp_path), "training").is_resuming


def test_results_without_a_status_are_no_stopped_run(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("earlier")
    for _ in range(2):
        config = config_of(tmp_path, name="test")
        with (
            pytest.raises(ValueError, match="already holds a test"),
            record_status(config, "test") as run,
        ):
            run_folder.require_unused_test_folder(config, run)
    assert not (tmp_path / "status.json").exists()


def test_other_processes_of_a_run_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with record_status(config_of(tmp_path), "training") as run:
        run.begin()
    assert list(tmp_path.iterdir()) == []


def test_the_way_on_is_the_command_that_was_typed(tmp_path: Path) -> None:
    config = config_of(tmp_path, "seed=3", "name=a b", "overwrite=true")
    assert Run(config, "training")._status.command.endswith("seed=3 'name=a b' resume=auto")


def test_saved_results_are_exact_and_for_the_same_settings(tmp_path: Path) -> None:
    results = Results(
        {"nut": {"a": 1 / 3, "b": float("nan")}},
        {"nut": {"b": "why"}},
        {"nut": (3, 4)},
        {"nut": {"a": (0.1, 0.7)}},
    )
    save_results(tmp_path, results, ["a note"], {"seed": 1, "size": (2, 3)})
    assert load_results(tmp_path, {"seed": 2, "size": (2, 3)}) is None
    kept = load_results(tmp_path, {"seed": 1, "size": (2, 3)})
    assert kept is not None
    assert repr(kept) == repr((results, ["a note"]))
    assert load_results(tmp_path / "nowhere", {}) is None


def test_a_test_of_a_part_is_not_taken_for_one_of_the_whole(tmp_path: Path) -> None:
    part, whole = (
        deciding_settings(config_of(tmp_path, *given, name="test"))
        for given in (["+trainer.limit_test_batches=2"], [])
    )
    save_results(tmp_path, Results({}, {}, {}), [], part)
    assert load_results(tmp_path, part) is not None
    assert load_results(tmp_path, whole) is None


def test_the_log_has_tracebacks_of_faults_but_not_of_mistakes(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "train.log")
    logging.getLogger().addHandler(handler)
    for error in (KeyError("fault"), ValueError("mistake")):
        with pytest.raises(type(error)):
            end_with(error, config_of(tmp_path / error.args[0]))
    logging.getLogger().removeHandler(handler)
    said = (tmp_path / "train.log").read_text()
    assert said.count("Traceback") == 1
    assert "KeyError: 'fault'" in said
    assert "mistake" in said
