"""A real SLURM of one node on the loopback interface, for as long as a command runs.

    python tests/slurm/cluster.py sinfo
    python tests/slurm/cluster.py python train.py -m hydra/launcher=slurm seed=1,2 …

Key, configuration and state lie in a temporary folder. A guard process waits for any end of this
process. It then stops every process of the cluster and of its jobs (known by the configuration in
their environment) and removes the folder. Needs root and the Debian packages of ``install.sh``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
CPUS = 8  # of the node, whatever the machine has: jobs wait for CPUs that do not exist otherwise

_CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=20
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Return why no cluster can be started here, or ``None``."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"SLURM is not installed ({', '.join(absent)} missing): tests/slurm/install.sh"
    return None if os.geteuid() == 0 else "a SLURM of one's own needs root"


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Start a cluster, and yield the environment in which SLURM's commands reach it."""
    folder = Path(tempfile.mkdtemp(prefix="zsad_slurm_"))
    guard = subprocess.Popen(
        [sys.executable, __file__, "--guard", str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        yield _start(folder, daemons)
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        for process in (guard, *daemons):
            process.wait()


def _start(folder: Path, daemons: list[subprocess.Popen[bytes]]) -> dict[str, str]:
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(folder=folder, host=host, ports=_free_ports(), cpus=CPUS)
    )
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    munge = [f"--{name}-file={folder}/munge/{name}" for name in ("key", "pid", "seed", "log")]
    for command in (
        ["munged", "--foreground", "--force", f"--socket={folder}/munge/socket", *munge],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D"],
    ):
        with (folder / f"{command[0]}.out").open("wb") as out:
            daemons.append(
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
            )
    _wait_until_idle(folder, environment)
    return environment


def _free_ports() -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_until_idle(folder: Path, environment: dict[str, str], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.5)
        asked = subprocess.run(
            ["sinfo", "-h", "-o", "%T"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == "idle":
            return
    logs = "\n".join(
        f"{file.name}:\n{file.read_text()[-1500:]}" for file in sorted(folder.glob("*.out"))
    )
    raise RuntimeError(f"no idle node after {seconds:.0f} s\n{logs}")


def _guard(folder: Path) -> None:
    """Wait until the starter is gone, then leave nothing of its cluster."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    mark = f"SLURM_CONF={folder}/slurm.conf".encode()
    until = time.monotonic() + 20.0
    while (own := list(_marked(mark))) and time.monotonic() < until:
        for process in own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.2)
    shutil.rmtree(folder, ignore_errors=True)


def _marked(mark: bytes) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guard"]:
        _guard(Path(sys.argv[2]))
    elif reason := missing():
        raise SystemExit(reason)
    else:
        with cluster() as environment:
            sys.exit(
                subprocess.run(sys.argv[1:] or ["sinfo"], env=environment, check=False).returncode
            )
