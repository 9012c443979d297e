"""What a run asks of a SLURM cluster."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence


def tasks_per_node(devices: int | str | Sequence[int]) -> int:
    """Return how many processes a node runs: one a device, as Lightning expects under SLURM.

    Raises:
        ValueError: If the number is left to the machine, which is not known before the job runs.

    >>> tasks_per_node(4), tasks_per_node("4"), tasks_per_node([0, 1])
    (4, 4, 2)
    """
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        return len(devices)
    if not str(devices).isdigit() or int(devices) < 1:
        raise ValueError(
            f"trainer.devices={devices}: SLURM has to know the number of processes of a node: trainer.devices=4"
        )
    return int(devices)


def gpus_per_node(
    accelerator: str,
    devices: int | str | Sequence[int],
    partition: str | None = None,
    query: str = "sinfo",
) -> int | None:
    """Return how many GPUs a node is asked for: one a process, none for ``trainer=cpu`` or where there are none.

    Args:
        accelerator: The trainer's; ``auto`` takes GPUs where the cluster, or the partition, has some.
        devices: The trainer's.
        partition: Where the job goes; all where ``None``.
        query: The program that tells what nodes have.
    """
    if accelerator == "cpu":
        return None
    if accelerator == "auto" and not _has_gpus(partition, query):
        return None
    return tasks_per_node(devices)


def _has_gpus(partition: str | None, query: str) -> bool:
    if shutil.which(query) is None:
        return False
    where = [f"--partition={partition}"] if partition else []
    asked = subprocess.run(
        [query, "--noheader", "--format=%G", *where],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return "gpu" in asked.stdout
