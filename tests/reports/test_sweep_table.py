"""Every run of a sweep is in the table, with its state and the command that restarts it."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from zsad.reports.results_table import write_tables
from zsad.reports.run_status import Status, new_status, write_status
from zsad.reports.sweep_runs import collect, count_waiting
from zsad.reports.sweep_table import headline, markdown, screen_table, write_collected
from zsad.types import Results


def status(state: str, kind: str = "training", **changes: str) -> Status:
    own = new_status(kind, "python train.py model=a|b resume=auto", {}, {})
    return replace(own, state=state, ended="2026-11-21T20:15:01+0000", **changes)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """One run of each kind that there is."""
    folder = tmp_path / "sweep"
    said = {
        "a": status("finished"),
        "b": status("failed", progress="epoch 3 of 15", error="no such image a.png\nmore"),
        "c": status("stopped"),
        "d": status("running"),
        "e": status("running", process_start="long ago"),
        "f": status("running", host="node7", job="12_0", process_start="there"),
    }
    for name, one in said.items():
        begin(folder / name)
        write_status(folder / name, one)
    begin(folder / "g", "- model=a\n- 'name=x y'\n- overwrite=true\n")
    (folder / "g" / "test.log").touch()
    return folder


def begin(folder: Path, overrides: str = "[]\n") -> None:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(overrides)


def finished_test(folder: Path) -> None:
    begin(folder)
    write_status(folder, status("finished", "test"))
    results = Results({"nut": {"image_auroc": 0.9}}, {"nut": {}}, {"nut": (4, 4)})
    write_tables(results, folder, "title")
    config = {
        "dataset": {"name": "visa"},
        "image_size": 518,
        "model": {"method": {"_target_": "zsad.x.Method"}},
    }
    (folder / "run_card.json").write_text(
        json.dumps({"notes": [], "trained_on": None, "config": config})
    )


def test_what_became_of_each_run_is_said(sweep: Path) -> None:
    runs = {one.run: one for one in collect([sweep])}
    assert {name: one.state for name, one in runs.items()} == {
        "a": "finished",
        "b": "failed",
        "c": "stopped",
        "d": "running",
        "e": "killed",
        "f": "running",
        "g": "unknown",
    }
    assert runs["b"].remark == "no such image a.png"
    assert runs["b"].progress == "epoch 3 of 15"
    assert runs["a"].remark == "at 2026-11-21 20:15"
    assert socket.gethostname() in runs["d"].remark
    assert runs["f"].remark.endswith("on node7, SLURM job 12_0")
    assert runs["g"].kind == "test"
    assert {name for name, one in runs.items() if one.needs_restart} == {"b", "c", "e", "g"}
    assert (
        headline(list(runs.values()))
        == "runs: 1 finished, 1 failed, 1 stopped, 2 running, 1 killed, 1 unknown"
    )


def test_the_last_line_of_slurm_is_the_remark_of_a_killed_job(sweep: Path) -> None:
    write_status(sweep / "e", status("running", process_start="long ago", job="12_3"))
    log = sweep / ".submitit" / "12_3" / "12_3_0_log.err"
    log.parent.mkdir(parents=True)
    log.write_text(
        "warning\nslurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 20:15 DUE TO TIME LIMIT ***\n\n"
    )
    remark = next(one.remark for one in collect([sweep]) if one.run == "e")
    assert remark == "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 20:15 DUE TO TIME LIMIT ***"


def test_jobs_in_the_queue_are_counted(sweep: Path) -> None:
    for job, log in (("12_0", True), ("12_1", False), ("12_2", False)):
        folder = sweep / ".submitit" / job
        folder.mkdir(parents=True)
        (folder / f"{job}_submitted.pkl").touch()
        if log:
            (folder / f"{job}_0_log.out").touch()
    assert count_waiting([sweep]) == 2
    assert headline([], count_waiting([sweep])) == "runs: 2 waiting"


def test_the_loss_is_that_of_the_last_epoch_of_the_last_start(sweep: Path) -> None:
    for version, rows in ((0, "0,9.5\n1,8.5\n"), (1, "2,7.25\n3,\n")):
        log = sweep / "a" / "log" / f"version_{version}" / "metrics.csv"
        log.parent.mkdir(parents=True)
        log.write_text(f"epoch,train/total\n{rows}")
    assert collect([sweep])[0].loss == "7.2500"


def test_the_script_starts_again_exactly_what_was_lost(sweep: Path) -> None:
    runs = collect([sweep])
    written = write_collected(runs, sweep)
    assert [file.name for file in written] == ["collect.md", "rerun.sh"]
    lines = (sweep / "rerun.sh").read_text().splitlines()
    assert lines[:2] == ["# b: no such image a.png", "python train.py model=a|b resume=auto"]
    assert (
        lines[-2]
        == f"python test.py model=a 'name=x y' resume=auto hydra.run.dir={os.path.relpath(sweep)}/g"
    )
    assert lines[-1] == "wait"
    for one in runs:
        if one.needs_restart:
            write_status(one.folder, status("finished"))
    write_collected(collect([sweep]), sweep)
    assert not (sweep / "rerun.sh").exists()


def test_runs_of_a_launcher_are_handed_to_it_all_at_once(tmp_path: Path) -> None:
    for name in "ab":
        begin(tmp_path / name)
        write_status(
            tmp_path / name,
            replace(status("failed"), command="python train.py -m hydra/launcher=slurm"),
        )
    write_collected(collect([tmp_path]), tmp_path)
    assert (tmp_path / "rerun.sh").read_text().count("hydra/launcher=slurm &\n") == 2


def test_finished_tests_are_compared(tmp_path: Path) -> None:
    finished_test(tmp_path / "one")
    assert [file.name for file in write_collected(collect([tmp_path]), tmp_path)] == ["collect.md"]
    finished_test(tmp_path / "two")
    names = [file.name for file in write_collected(collect([tmp_path]), tmp_path)]
    assert names == ["collect.md", "compare.md", "compare.tex", "compare.html", "compare.csv"]
    assert "one" in (tmp_path / "compare.md").read_text()


def test_the_table_names_every_run_and_no_sign_breaks_it(sweep: Path) -> None:
    runs = collect([sweep])
    assert screen_table(runs).row_count == len(runs)
    write_status(sweep / "b", status("failed", error="a | b"))
    assert r"| b | training | failed |  |  | a \| b |" in markdown(collect([sweep]))


def test_without_runs_the_message_tells_how_to_start_some(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no runs below .*python train\.py -m seed=1,2,3"):
        collect([tmp_path])
