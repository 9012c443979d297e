"""Find a download, unpack its archives, and say how to get it where there is none."""

from __future__ import annotations

import os
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
    """Return the folder of a download, unpacked if need be, and notes on the archives.

    Args:
        name: Name of the dataset; archives are unpacked to ``$ZSAD_DATASETS/NAME``, else
            ``datasets/NAME``.
        layout: Its row.
        root: A folder, an archive, or a folder of archives. ``None``: the folder in which a run
            would look for it.
        data_json: Folder of the indexes.
        compare: Compare archives with their published checksums.
        progress: Called with the bytes read and the bytes in all.

    Raises:
        FileNotFoundError: No such folder; the message says how to get the download.
        ValueError: An archive of another checksum, a damaged one, or a file that is no archive.
    """
    folder = _usual_root(name, layout, data_json) if root is None else root
    archives = _find_archives(folder, name, layout)
    if not archives:
        return folder.absolute(), []
    notes: list[str] = []
    if compare:
        for archive in archives:
            notes.append(_compare_checksum(archive, layout, progress))
    target = _unpacked_folder(name, folder)
    unpack([archive.absolute() for archive in archives], target, progress)
    names = ", ".join(archive.name for archive in archives)
    notes.append(f"the images are in {target}, unpacked from {names}")
    return target, notes


def download_instructions(name: str, layout: Layout, command: str = "") -> str:
    """Return how to get a download, the expected files, and the command that follows.

    Args:
        name: Name of the dataset.
        layout: Its row.
        command: Instead of ``zsad prepare NAME``.
    """
    command = command or f"zsad prepare {name} /path/to/it"
    lines = [f"{layout.title}{_archive_text(layout)}; licence: {layout.licence}"]
    if layout.homepage:
        lines.append(f"  get it from  {layout.homepage}")
    lines.append(f"  how          {layout.instructions}")
    if layout.expected:
        lines.append(f"  expected     {layout.expected}")
    lines.append(f"  then         {command}   (the folder, or the archive as it came)")
    return "\n".join(lines)


def _archive_text(layout: Layout) -> str:
    """Return the name and the size of the download in parentheses, as far as they are known."""
    size = format_size(layout.bytes) if layout.bytes else ""
    if layout.archive and size:
        return f" ({layout.archive}, {size})"
    if layout.archive:
        return f" ({layout.archive})"
    return f" (in all {size})" if size else ""


def format_size(size: int | None) -> str:
    """Return a number of bytes in MB or GB.

    >>> format_size(4_900_000_000), format_size(69_000_000), format_size(None)
    ('4.9 GB', '69 MB', '')
    """
    if size is None:
        return ""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{max(size / 1e6, 1):.0f} MB"


def _usual_root(name: str, layout: Layout, data_json: Path) -> Path:
    """Return the folder in which a run looks for the dataset."""
    try:
        return find_root(name, None, data_json)
    except FileNotFoundError as error:
        looked = str(error).partition(": ")[2].partition(". ")[0]
        raise FileNotFoundError(
            f"{name} is not on this machine ({looked})\n{download_instructions(name, layout)}"
        ) from error


def _find_archives(path: Path, name: str, layout: Layout) -> list[Path]:
    """Return the archives to unpack; none where the download is unpacked already."""
    if is_archive(path):
        return [path]
    if path.is_dir():
        return _archives_alone(path, layout)
    if path.exists():
        raise ValueError(
            f"{path} is neither a folder nor one of {', '.join(SUFFIXES)}: unpack it by hand"
        )
    raise FileNotFoundError(
        f"no folder {path}: unpack the download and run zsad prepare {name} /path/to/it"
    )


def _archives_alone(folder: Path, layout: Layout) -> list[Path]:
    """Return the archives of a folder that holds nothing else: the one named as published, or all.

    A folder beside them is the unpacked download.
    """
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            return []
    archives = archives_in(folder)
    published = [path for path in archives if path.name == layout.archive]
    return published or archives


def _compare_checksum(archive: Path, layout: Layout, progress: Progress | None) -> str:
    """Compare an archive with its published checksum and return a sentence about the result."""
    algorithm = "sha256" if layout.sha256 else "md5"
    digest = layout.sha256 or layout.md5
    if not digest:
        return f"no checksum of {archive.name} is published"
    if archive.name.lower() != layout.archive.lower():
        return (
            f"{archive.name} was not compared: the published checksum is that of {layout.archive}"
        )
    check_digest(archive, algorithm, digest, progress)
    return f"the {algorithm} of {archive.name} is the published one"


def _unpacked_folder(name: str, given: Path) -> Path:
    """Return the folder for unpacked files: that of a run, or one beside the archives in it."""
    shared = os.environ.get("ZSAD_DATASETS")
    datasets = Path(shared).expanduser() if shared else Path("datasets")
    target = datasets.absolute() / name
    if target == given.absolute():
        return target.with_name(f"{name}_unpacked")
    return target
