"""Processes find the first of them, and gather their objects by rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.spawn import spawn

from zsad.distributed import gather_objects, is_first_process


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "SLURM_PROCID", "RANK"])
def test_the_first_process_has_rank_zero(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_first_process()
    monkeypatch.setenv(variable, "1")
    assert not is_first_process()


def test_a_single_process_gathers_its_own_object() -> None:
    mine = {"a": [1]}
    (gathered,) = gather_objects(mine)
    assert gathered is mine


def gather_in_process(rank: int, folder: str) -> None:
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    mine: Any = {"rank": rank, "tensor": torch.full((rank,), 1.0)}
    gathered = gather_objects(mine)
    ranks = [part["rank"] for part in gathered]
    sizes = [len(part["tensor"]) for part in gathered]
    Path(folder, f"{rank}.txt").write_text(f"{ranks} {sizes}")
    torch.distributed.destroy_process_group()


def test_two_processes_gather_both_objects_by_rank(tmp_path: Path) -> None:
    spawn(gather_in_process, args=(str(tmp_path),), nprocs=2)
    texts = [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert texts == ["[0, 1] [0, 1]"] * 2
