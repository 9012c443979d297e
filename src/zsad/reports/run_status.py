"""Where a run stands, as its folder says: running, finished, failed, stopped, or killed without a word."""

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
RUNNING, FINISHED, FAILED, STOPPED, KILLED, SILENT = (
    "running",
    "finished",
    "failed",
    "stopped",
    "killed",
    "silent",
)
HEARTBEAT_SECONDS = 30
SILENT_AFTER_SECONDS = 600  # a step takes less, whatever is tested


@dataclass(frozen=True)
class Status:
    """What a run has written about itself.

    Attributes:
        kind: ``training`` or ``test``.
        state: ``running``, ``finished``, ``failed`` or ``stopped``. Whoever is killed goes on saying ``running``.
        host, pid, process_start: The process, and when it was born, as process numbers are given again.
        job: Its number in SLURM, empty outside.
        command: What begins it anew, or goes on with it.
        started, ended: Local time, ISO 8601.
        progress: How far it has come: ``epoch 3 of 15``.
        error: Why it failed.
        config: What decides about its results, flat.
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
        return (
            self.state == RUNNING
            and self.host == socket.gethostname()
            and process_start(self.pid) == self.process_start != ""
        )


def new_status(
    kind: str, command: str, config: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> Status:
    """Return the status of this process, which begins a run."""
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return Status(
        kind=kind,
        state=RUNNING,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_start=process_start(os.getpid()),
        job=f"{array}_{task}" if array else environment.get("SLURM_JOB_ID", ""),
        command=command,
        started=now(),
        config=config,
    )


def read_status(folder: Path) -> Status | None:
    """Return what a run has written about itself, or ``None`` where there is nothing of that form."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if "birth" in content:  # of version 0.1
            content["process_start"] = content.pop("birth")
        return Status(**{field.name: content[field.name] for field in fields(Status)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_status(folder: Path, status: Status) -> Path:
    """Write the status of a run into its folder."""
    return write_whole(
        folder / FILE, json.dumps(asdict(status), indent=1, ensure_ascii=False, default=str) + "\n"
    )


def current_state(folder: Path, status: Status) -> tuple[str, str]:
    """Return the state of a run, and a remark about it.

    A run that says *running* and does not run on this machine was ``killed``. Of another machine only its last sign of
    life is known: after ten minutes without one it is ``silent``.
    """
    if status.state != RUNNING:
        return status.state, ""
    where = f"on {status.host}" + (f", SLURM job {status.job}" if status.job else "")
    if status.host == socket.gethostname():
        is_alive = status.is_alive
        return (
            (RUNNING, f"process {status.pid} {where}")
            if is_alive
            else (KILLED, f"process {status.pid} is no more")
        )
    silence = max(0.0, time.time() - (folder / FILE).stat().st_mtime)
    remark = f"last sign of life {_ago(silence)} ago {where}"
    return (
        (RUNNING, remark)
        if silence < SILENT_AFTER_SECONDS
        else (SILENT, f"started, not finished: {remark}")
    )


def touch(folder: Path) -> None:
    """Say that the run lives: the file becomes as new as it would be if written now."""
    if (folder / FILE).exists():
        os.utime(folder / FILE)


def process_start(pid: int) -> str:
    """Return when a process was born, empty if there is none: the machine's start, and its clock's ticks since then."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _alive(pid)
    state, *numbers = stat.rpartition(")")[2].split()
    return "" if state == "Z" else f"{boot} {numbers[18]}"


def now() -> str:
    """Return the time, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _alive(pid: int) -> str:
    """Return a constant for a process that there is, where nobody tells its start."""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"


def _ago(seconds: float) -> str:
    """Write a time span in one unit.

    >>> _ago(12.4), _ago(600.0), _ago(90_000.0)
    ('12 s', '10 min', '25 h')
    """
    for unit, length in (("s", 1), ("min", 60)):
        if seconds < 100 * length:
            return f"{math.floor(seconds / length)} {unit}"
    return f"{math.floor(seconds / 3600)} h"
