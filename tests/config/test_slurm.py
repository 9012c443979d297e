"""SLURM is asked for the processes and GPUs that a run needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from zsad.config import compose, slurm


def test_slurm_gets_the_processes_and_nodes_of_the_trainer() -> None:
    given = [
        "hydra/launcher=slurm",
        "trainer.devices=4",
        "trainer.num_nodes=2",
        "trainer.accelerator=gpu",
    ]
    launcher = compose.compose_apart("train", given, with_hydra=True).hydra.launcher
    assert (launcher.tasks_per_node, launcher.nodes, launcher.gpus_per_node) == (4, 2, 4)
    on_cpu = compose.compose_apart(
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
