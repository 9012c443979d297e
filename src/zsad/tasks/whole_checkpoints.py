"""Checkpoints that are written whole or not at all, and found again when one of them is damaged."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from zsad.files import write_whole

LAST = "last.ckpt"


class WholeCheckpoints(TorchCheckpointIO):
    """Write checkpoints beside their place and rename them.

    Lightning writes into the machine's folder for temporary files and moves from there. Where that is another file
    system, as on most clusters, moving is copying, and a process killed meanwhile leaves half a checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, onto the disk itself."""
        if storage_options is not None:
            raise TypeError(f"{type(self).__name__} takes no storage_options, got {storage_options}")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(Path(path), buffer.getvalue(), durable=True)


def newest_first(run: Path) -> list[Path]:
    """Return the checkpoints of a run folder, the one written last first."""
    # A job that a cluster stops leaves hpc_ckpt_N.ckpt beside the folder of the others.
    files = [*run.glob("checkpoints/*.ckpt"), *run.glob("*.ckpt")]
    return sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name == LAST), reverse=True)


def is_whole(file: Path) -> bool:
    """Tell whether a checkpoint is complete: an archive whose members have their checksums."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError):
        return False
