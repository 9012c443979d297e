"""Processes that share a run: the first of them writes its files, and all gather their objects."""

from __future__ import annotations

import os
from typing import Any, TypeVar

_RANK_VARIABLES = ("LOCAL_RANK", "SLURM_PROCID", "RANK")

T = TypeVar("T")


def is_first_process() -> bool:
    """Tell whether this process writes the files of its run.

    The launcher's environment answers before the process group exists: the other processes start
    while the first one already writes.
    """
    return all(os.environ.get(variable, "0") == "0" for variable in _RANK_VARIABLES)


def gather_objects(mine: T, group: Any = None) -> list[T]:
    """Return the objects of all processes, by rank; every process must call it.

    Objects are pickled, so that any backend takes them, CPU tensors included. A run of one process
    gets its own object back, in a list.

    Args:
        mine: The object of this process.
        group: The processes; ``None`` for all of them.
    """
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return [mine]
    gathered: list[Any] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(gathered, mine, group=group)
    return gathered
