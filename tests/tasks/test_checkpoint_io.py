"""A checkpoint is written beside its place, and one that is cut or changed is known to be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from zsad.model_files.run_checkpoints import is_whole, newest_first
from zsad.tasks.checkpoint_io import AtomicCheckpointIO


def test_a_written_checkpoint_is_read_and_the_only_file(tmp_path: Path) -> None:
    state = {"a": torch.arange(5.0), "epoch": 3}
    AtomicCheckpointIO().save_checkpoint(state, tmp_path / "checkpoints" / "last.ckpt")
    read = AtomicCheckpointIO().load_checkpoint(
        tmp_path / "checkpoints" / "last.ckpt", weights_only=True
    )
    assert torch.equal(read["a"], state["a"])
    assert read["epoch"] == 3
    assert [one.name for one in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_is_not_whole(tmp_path: Path, share: float) -> None:
    file = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": torch.rand(1000)}, file)
    assert is_whole(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert not is_whole(file)


def test_a_checkpoint_with_another_number_in_it_is_not_whole(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": torch.ones(1000)}, file)
    content, one = bytearray(file.read_bytes()), torch.ones(2).numpy().tobytes()
    content[content.index(one)] ^= 1
    file.write_bytes(content)
    assert not is_whole(file)


def test_the_newest_checkpoint_comes_first_then_the_last(tmp_path: Path) -> None:
    files = [
        tmp_path / "checkpoints" / name for name in ("epoch_00.ckpt", "last.ckpt", "epoch_01.ckpt")
    ]
    files.append(tmp_path / "hpc_ckpt_1.ckpt")
    for file, time in zip(files, (1, 2, 2, 3), strict=True):
        file.parent.mkdir(exist_ok=True)
        file.touch()
        os.utime(file, (time, time))
    assert [one.name for one in newest_first(tmp_path)] == [
        "hpc_ckpt_1.ckpt",
        "last.ckpt",
        "epoch_01.ckpt",
        "epoch_00.ckpt",
    ]
