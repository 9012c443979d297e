"""Files written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PARTIAL = ".partial"


def write_whole(path: Path, content: str | bytes, durable: bool = False) -> Path:
    """Write a file so that nobody ever reads half of it, and return its path.

    Missing folders are made.

    Args:
        path: The file; an earlier one stays until the new one is complete.
        content: Text, as UTF-8, or bytes.
        durable: Wait for the disk, so that the file outlives the machine, too, not only the
            process.

    Raises:
        OSError: The file cannot be written, for example to a full disk; the error names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(_partial_name(path.name))
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


@contextmanager
def restored_on_failure(*paths: Path) -> Iterator[None]:
    """Give files their earlier content back if one of them cannot be written."""
    earlier = {path: path.read_bytes() if path.is_file() else None for path in paths}
    try:
        yield
    except BaseException:
        for path, content in earlier.items():
            if content is None:
                path.unlink(missing_ok=True)
            elif not path.is_file() or path.read_bytes() != content:
                write_whole(path, content)
        raise


def remove_partial(folder: Path) -> None:
    """Remove half-written files of killed processes below a folder."""
    for file in folder.rglob(f".*{_PARTIAL}"):
        if file.is_file():
            file.unlink(missing_ok=True)


def _partial_name(name: str) -> str:
    """Return a short name: that of the file may be as long as the file system allows."""
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f".{digest}.{os.getpid()}{_PARTIAL}"
