"""The checkpoints of a run folder, and whether they are whole."""

from __future__ import annotations

import zipfile
from pathlib import Path

LAST = "last.ckpt"


def newest_first(run: Path) -> list[Path]:
    """Return the checkpoints of a run folder, the one written last first."""
    # A job that a cluster stops leaves hpc_ckpt_N.ckpt beside the folder of the others.
    files = [*run.glob("checkpoints/*.ckpt"), *run.glob("*.ckpt")]
    return sorted(
        files, key=lambda file: (file.stat().st_mtime_ns, file.name == LAST), reverse=True
    )


def is_whole(file: Path) -> bool:
    """Tell whether a checkpoint is complete: an archive whose members have their checksums."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError):
        return False
