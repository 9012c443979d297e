"""Processes and GPUs that a run asks of a SLURM cluster."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence


def tasks_per_node(devices: int | str | Sequence[int]) -> int:
    """Return the number of processes of a node: one a device, as Lightning expects under SLURM.

    Raises:
        ValueError: If the number is left to the machine, which is not known before the job runs.

    >>> tasks_per_node(4), tasks_per_node("4"), tasks_per_node([0, 1])
    (4, 4, 2)
    """
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        return len(devices)
    if not str(devices).isdigit() or int(devices) < 1:
        raise ValueError(
            f"trainer.devices={devices}: SLURM has to know the number of processes of a node, "
            "for example trainer.devices=4"
        )
    return int(devices)


def gpus_per_node(
    accelerator: str,
    devices: int | str | Sequence[int],
    partition: str | None = None,
    query: str = "sinfo",
) -> int | None:
    """Return the number of GPUs to ask of a node: one a process.

    ``None`` for ``trainer=cpu``, and for a cluster without GPUs.

    Args:
        accelerator: The trainer's; ``auto`` takes GPUs if the cluster, or the partition, has some.
        devices: The trainer's.
        partition: The partition of the job; ``None`` for all.
        query: The program that lists the resources of nodes.
    """
    if accelerator == "cpu":
        return None
    if accelerator == "auto" and not _has_gpus(partition, query):
        return None
    return tasks_per_node(devices)


def _has_gpus(partition: str | None, query: str) -> bool:
    if shutil.which(query) is None:
        return False
    command = [query, "--noheader", "--format=%G"]
    if partition:
        command.append(f"--partition={partition}")
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "gpu" in answer.stdout
