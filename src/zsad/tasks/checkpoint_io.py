"""Checkpoint files that are written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from zsad.atomic_write import write_whole


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning writes into the machine's folder for temporary files and moves from there. On another
    file system, as on most clusters, moving is copying, and a process killed meanwhile leaves half
    a checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, onto the disk itself."""
        if storage_options is not None:
            name = type(self).__name__
            raise TypeError(f"{name} takes no storage_options, got {storage_options}")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(Path(path), buffer.getvalue(), durable=True)
