"""The state of a run in its folder: running, finished, failed, stopped, killed or silent."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from zsad.atomic_write import write_whole

FILE = "status.json"
RUNNING = "running"
FINISHED = "finished"
FAILED = "failed"
STOPPED = "stopped"
KILLED = "killed"
SILENT = "silent"
HEARTBEAT_SECONDS = 30
SILENT_AFTER_SECONDS = 600  # any step takes less


@dataclass(frozen=True)
class Status:
    """The status that a run writes.

    Attributes:
        kind: ``training`` or ``test``.
        state: ``running``, ``finished``, ``failed`` or ``stopped``; killed runs stay ``running``.
        host, pid, process_start: The process, and its start: process numbers are used again.
        job: Its number in SLURM, empty outside.
        command: Resumes the run, or begins it anew.
        started, ended: Local time, ISO 8601.
        progress: Such as ``epoch 3 of 15``.
        error: Reason of a failure.
        config: The settings that decide about its results, flat.
    """

    kind: str
    state: str
    host: str
    pid: int
    process_start: str
    job: str
    command: str
    started: str
    ended: str = ""
    progress: str = ""
    error: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """Whether its process runs on this machine."""
        if self.state != RUNNING or self.host != socket.gethostname():
            return False
        return process_start(self.pid) == self.process_start != ""


def new_status(
    kind: str, command: str, config: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> Status:
    """Return the status of a run that this process begins."""
    return Status(
        kind=kind,
        state=RUNNING,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_start=process_start(os.getpid()),
        job=slurm_job_id(environment),
        command=command,
        started=now(),
        config=config,
    )


def read_status(folder: Path) -> Status | None:
    """Return the status of a run, ``None`` where there is none that can be read."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if "birth" in content:  # of version 0.1
            content["process_start"] = content.pop("birth")
        return Status(**{field.name: content[field.name] for field in fields(Status)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_status(folder: Path, status: Status) -> Path:
    """Write the status of a run into its folder."""
    text = json.dumps(asdict(status), indent=1, ensure_ascii=False, default=str)
    return write_whole(folder / FILE, text + "\n")


def current_state(folder: Path, status: Status) -> tuple[str, str]:
    """Return the state of a run, and a remark about it.

    A run of this machine that is ``running`` by its status, without a process, was ``killed``. Of a
    run on another machine only the last sign of life is known: after ten minutes without a sign it
    is ``silent``.
    """
    if status.state != RUNNING:
        return status.state, ""
    place = f"on {status.host}"
    if status.job:
        place += f", SLURM job {status.job}"
    if status.host == socket.gethostname():
        if status.is_alive:
            return RUNNING, f"process {status.pid} {place}"
        return KILLED, f"process {status.pid} is no more"
    last_sign = (folder / FILE).stat().st_mtime
    silence = max(0.0, time.time() - last_sign)
    remark = f"last sign of life {_in_one_unit(silence)} ago {place}"
    if silence < SILENT_AFTER_SECONDS:
        return RUNNING, remark
    return SILENT, f"started, not finished: {remark}"


def touch(folder: Path) -> None:
    """Give a sign of life: set the time of the status file to now."""
    file = folder / FILE
    if file.exists():
        os.utime(file)


def slurm_job_id(environment: Mapping[str, str] = os.environ) -> str:
    """Return the SLURM job of this process, in the form that ``scontrol`` takes; empty outside."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    task = environment.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"{array}_{task}"
    return environment.get("SLURM_JOB_ID", "")


def process_start(pid: int) -> str:
    """Return the start of a process, empty if there is none.

    The start is an identifier of the boot of the machine, and clock ticks since then.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        has_proc = Path("/proc/self/stat").exists()
        return "" if has_proc else _constant_if_alive(pid)
    _, _, after_name = stat.rpartition(")")
    state, *numbers = after_name.split()
    return "" if state == "Z" else f"{boot} {numbers[18]}"


def now() -> str:
    """Return the time, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _constant_if_alive(pid: int) -> str:
    """Return a constant for a running process, on machines that do not tell its start."""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"


def _in_one_unit(seconds: float) -> str:
    """Write a time span in a single unit.

    >>> _in_one_unit(12.4), _in_one_unit(600.0), _in_one_unit(90_000.0)
    ('12 s', '10 min', '25 h')
    """
    if seconds < 100:
        return f"{math.floor(seconds)} s"
    if seconds < 6000:
        return f"{math.floor(seconds / 60)} min"
    return f"{math.floor(seconds / 3600)} h"
