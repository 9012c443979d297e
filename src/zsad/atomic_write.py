"""Write files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

_PARTIAL = ".partial"


def write_whole(path: Path, content: str | bytes, durable: bool = False) -> Path:
    """Write a file so that nobody ever reads half of it, and return its path. Missing folders are made.

    Args:
        path: The file; an earlier one stays until the new one is complete.
        content: Text, as UTF-8, or bytes.
        durable: Wait until it is on the disk, so that it outlives the machine, too, and not only the process.

    Raises:
        OSError: It cannot be written, for example because the disk is full; the error names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        return partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def remove_partial(folder: Path) -> None:
    """Remove what processes that were killed had begun to write below a folder."""
    for file in folder.rglob(f".*{_PARTIAL}"):
        if file.is_file():
            file.unlink(missing_ok=True)
