"""Read the members of an archive; names, links and devices that leave its folder are refused."""

from __future__ import annotations

import io
import posixpath
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CHUNK = 2**20


class UnsafeArchiveError(ValueError):
    """An archive with a member that would be written elsewhere, or is no plain file."""


@dataclass(frozen=True)
class Member:
    """A file of an archive.

    Attributes:
        name: Path below the folder, with slashes.
        size: Number of bytes.
        open: Opens the file for reading.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes] | io.BufferedIOBase]


def archive_members(
    archive: Path, file: IO[bytes], require_room: Callable[[int], None]
) -> Iterator[Member]:
    """Yield the files of an archive.

    Args:
        archive: Its path; the name says its kind.
        file: Its content.
        require_room: Called with the total size where the archive says it; raises if that is too
            much.

    Raises:
        UnsafeArchiveError: A member that a download of images has no reason to hold.
    """
    if archive.name.lower().endswith(".zip"):
        yield from _zip_members(archive, file, require_room)
    else:
        yield from _tar_members(archive, file)


def _zip_members(
    archive: Path, file: IO[bytes], require_room: Callable[[int], None]
) -> Iterator[Member]:
    with zipfile.ZipFile(file) as opened:
        infos = opened.infolist()
        require_room(sum(info.file_size for info in infos))
        for info in infos:
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise UnsafeArchiveError(
                    f"{archive}: {info.filename} is a link or a device: unpack it by hand"
                )
            name = _path_below(info.filename, archive)
            yield Member(name, info.file_size, lambda info=info: opened.open(info))


def _tar_members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r:*") as opened:
        for info in opened:
            if info.isdir():
                continue
            name = _path_below(info.name, archive)
            source = info if info.isfile() else _link_target(opened, info, archive)
            yield Member(name, source.size, lambda source=source: _open_tar(opened, source))
        # Behind the last member is the checksum of the compressed data.
        while opened.fileobj is not None and opened.fileobj.read(CHUNK):
            pass


def _open_tar(opened: tarfile.TarFile, member: tarfile.TarInfo) -> io.BufferedIOBase:
    stream = opened.extractfile(member)
    assert isinstance(stream, io.BufferedIOBase)  # it is a plain file
    return stream


def _link_target(opened: tarfile.TarFile, link: tarfile.TarInfo, archive: Path) -> tarfile.TarInfo:
    """Return the plain file of the same archive to which a link leads."""
    if link.issym() or link.islnk():
        # Symbolic links are relative to their folder, hard links to the archive.
        folder = posixpath.dirname(link.name) if link.issym() else ""
        path = posixpath.normpath(posixpath.join(folder, link.linkname))
        target = _path_below(path, archive, link.name)
        for member in opened.getmembers():
            if member.isfile() and posixpath.normpath(member.name) == target:
                return member
    raise UnsafeArchiveError(
        f"{archive}: {link.name} is a device, or a link to no file of it: unpack it by hand"
    )


def _path_below(name: str, archive: Path, link: str = "") -> str:
    """Return a name as a path below the folder, with slashes.

    Args:
        name: Of a member, or of the target of a link.
        archive: Its path.
        link: Name of the link that leads there; empty for the member itself.
    """
    parts: list[str] = []
    for part in name.replace("\\", "/").split("/"):
        if part not in ("", "."):
            parts.append(part)
    is_absolute = re.match(r"[/\\]|[A-Za-z]:", name) is not None
    if is_absolute or ".." in parts or "\0" in name or not parts:
        attempt = f"{name!r} would be written"
        if link:
            attempt = f"the link {link} leads to {name!r}"
        raise UnsafeArchiveError(
            f"{archive}: {attempt}, outside of the folder: this is no download of images"
        )
    return "/".join(parts)
