"""A message for users has the error and its remedy, not a place in the code."""

from __future__ import annotations

import errno

import pytest
import torch

from zsad.config.errors import is_resource_error, message


def test_a_full_disk_is_called_so_with_the_file_and_a_way_out() -> None:
    said = message(OSError(errno.ENOSPC, "No space left on device", "runs/x/last.ckpt"))
    assert said.startswith("the disk is full: runs/x/last.ckpt could not be written. Make room")


@pytest.mark.parametrize("pid", ["123", "123, 456"])
def test_a_dead_loader_process_is_called_so(pid: str) -> None:
    error = RuntimeError(f"DataLoader worker (pid(s) {pid}) exited unexpectedly")
    assert is_resource_error(error)
    assert message(error).startswith(f"a process that reads images died (pid {pid}), ")
    assert "dataset.num_workers=1" in message(error)


def test_too_little_shared_memory_is_said() -> None:
    text = (
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that … out of "
        "shared memory."
    )
    assert "too little shared memory" in message(RuntimeError(text))


def test_memory_that_runs_out_is_answered_with_smaller_batches() -> None:
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. See documentation for …"
    )
    assert is_resource_error(error)
    assert message(error).startswith(
        "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB\nSmaller batches: "
    )


def test_a_fault_of_the_program_is_no_circumstance() -> None:
    assert not is_resource_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_resource_error(KeyError("x"))


def test_notes_follow_the_message() -> None:
    error = ValueError("wrong")
    error.add_note("how to go on")
    assert message(error) == "wrong\nhow to go on"
