"""Where a download lies, what to do with archives, and what to tell who has none yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from zsad.data.layouts import Layout
from zsad.data.locations import find_root
from zsad.data.prepare.archives import (
    SUFFIXES,
    Progress,
    archives_in,
    check_digest,
    is_archive,
    unpack,
)


def find_download(
    name: str,
    layout: Layout,
    root: Path | None,
    *,
    data_json: Path = Path("data_json"),
    compare: bool = True,
    progress: Progress | None = None,
) -> tuple[Path, list[str]]:
    """Return the folder of a download, unpacked if need be, and remarks on what was done.

    Args:
        name: Name of the dataset; archives are unpacked to ``$ZSAD_DATASETS/NAME``, else ``datasets/NAME``.
        layout: Its row.
        root: A folder, an archive, or a folder of archives. ``None``: where a run would look for it.
        data_json: Folder of the indexes.
        compare: Compare archives with their published checksums.
        progress: Called with the bytes read and the bytes in all.

    Raises:
        FileNotFoundError: Nothing there; the message says where to get it.
        ValueError: An archive of another checksum, one that cannot be unpacked, or a file that is none.
    """
    folder = _usual_root(name, layout, data_json) if root is None else root
    if is_archive(folder):
        archives = [folder]
    elif folder.is_dir():
        archives = _to_unpack(folder, layout)
    elif folder.exists():
        raise ValueError(
            f"{folder} is neither a folder nor one of {', '.join(SUFFIXES)}: unpack it by hand"
        )
    else:
        raise FileNotFoundError(
            f"no folder {folder}: unpack the download and run zsad prepare {name} /path/to/it"
        )
    if not archives:
        return folder.absolute(), []
    remarks = [_compared(archive, layout, progress) for archive in archives] if compare else []
    target = unpack([archive.absolute() for archive in archives], _target(name, folder), progress)
    return target, [
        *remarks,
        f"the images are in {target}, unpacked from {', '.join(path.name for path in archives)}",
    ]


def download_instructions(name: str, layout: Layout, command: str = "") -> str:
    """Return how to get a download, what must lie where, and the command that follows."""
    size = f", {format_size(layout.bytes)}" if layout.bytes else ""
    archive = (
        f" ({layout.archive}{size})"
        if layout.archive
        else f" (in all{size.lstrip(',')})"
        if size
        else ""
    )
    lines = [
        f"{layout.title}{archive}; licence: {layout.licence}",
        f"  get it from  {layout.page}" if layout.page else "",
        f"  how          {layout.how}",
        f"  expected     {layout.expected}" if layout.expected else "",
        f"  then         {command or f'zsad prepare {name} /path/to/it'}   (the folder, or the archive as it came)",
    ]
    return "\n".join(line for line in lines if line)


def format_size(size: int | None) -> str:
    """Return bytes for the eye.

    >>> format_size(4_900_000_000), format_size(69_000_000), format_size(None)
    ('4.9 GB', '69 MB', '')
    """
    if size is None:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 1):.0f} MB"


def _usual_root(name: str, layout: Layout, data_json: Path) -> Path:
    try:
        return find_root(name, None, data_json)
    except FileNotFoundError as error:
        looked = str(error).partition(": ")[2].partition(". ")[0]
        raise FileNotFoundError(
            f"{name} is not on this machine ({looked})\n{download_instructions(name, layout)}"
        ) from error


def _to_unpack(folder: Path, layout: Layout) -> list[Path]:
    """Return the archives of a folder that holds nothing else: the one named as published, else all."""
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    archives = archives_in(folder)
    if any(path.is_dir() for path in files):
        return []  # unpacked already, whatever else lies there
    published = [path for path in archives if path.name == layout.archive]
    return published or archives


def _compared(archive: Path, layout: Layout, progress: Progress | None) -> str:
    """Return what is known about the checksum of an archive."""
    published: Sequence[tuple[str, str]] = [("sha256", layout.sha256), ("md5", layout.md5)]
    known = [(algorithm, digest) for algorithm, digest in published if digest]
    if not known:
        return f"no checksum of {archive.name} is published"
    if archive.name.lower() != layout.archive.lower():
        return (
            f"{archive.name} was not compared: the published checksum is that of {layout.archive}"
        )
    algorithm, digest = known[0]
    check_digest(archive, algorithm, digest, progress)
    return f"the {algorithm} of {archive.name} is the published one"


def _target(name: str, given: Path) -> Path:
    """Return where archives are unpacked to: where a run looks, or beside them if they lie just there."""
    shared = os.environ.get("ZSAD_DATASETS")
    target = (Path(shared).expanduser() if shared else Path("datasets")).absolute() / name
    return target if target != given.absolute() else target.with_name(f"{name}_unpacked")
