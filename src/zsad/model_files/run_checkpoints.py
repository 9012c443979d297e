"""Checkpoints of a run folder: the newest, the last, and whether a file is complete."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

log = logging.getLogger("zsad")

LAST = "last.ckpt"


def find_checkpoint(path: str | Path) -> Path:
    """Return the checkpoint of a path: the file itself, or the last checkpoint of a run folder.

    Where the last checkpoint is damaged, return the newest complete checkpoint.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = Path(path).expanduser()
    for candidate in (path, path / "checkpoints" / LAST, path / LAST):
        if candidate.is_file():
            return candidate if candidate == path else _undamaged(candidate, path)
    raise FileNotFoundError(
        f"no checkpoint at {path}. A finished training leaves "
        "runs/train/NAME/checkpoints/last.ckpt; to make it: python train.py dataset=visa"
    )


def newest_first(run: Path) -> list[Path]:
    """Return the checkpoints of a run folder, the newest first."""
    # A job that a cluster stops leaves hpc_ckpt_N.ckpt beside the folder of the others.
    files = [*run.glob("checkpoints/*.ckpt"), *run.glob("*.ckpt")]
    return sorted(files, key=_age, reverse=True)


def is_whole(file: Path) -> bool:
    """Tell whether a checkpoint is complete: an archive whose members have their checksums."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError):
        return False


def _undamaged(file: Path, run: Path) -> Path:
    """Return a file, or the newest complete checkpoint of its run where it is damaged."""
    if is_whole(file):
        return file
    newest = next(filter(is_whole, newest_first(run)), file)
    log.warning("note: %s is damaged, taking %s", file, newest)
    return newest


def _age(file: Path) -> tuple[int, bool]:
    return file.stat().st_mtime_ns, file.name == LAST
