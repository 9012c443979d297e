"""Unpack a download beside it: nothing leaves the folder, nothing is half there, the archive stays as it is."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import lzma
import posixpath
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path
from typing import IO

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
STAMP_FILE = ".unpacked_from.json"
PARTIAL_FILE = (
    ".being_unpacked"  # a name of its own: one made from the member's may be too long for the disk
)
DISK_SHARE = 0.95  # of what the disk has free; the rest is left to others
MAX_RATIO = 100  # images hardly shrink; bombs shrink a thousandfold
SMALL_ARCHIVE = 2**30  # bytes below which the ratio does not matter
CHUNK = 2**20
# What the standard library raises on archives that are damaged, cut short, encrypted or of a kind it cannot read.
UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
)
# What the disk says to names that are too long, and to members that lie in what is a file.
UNWRITABLE = (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


class UnsafeArchiveError(ValueError):
    """An archive with a member that would be written elsewhere, or is no plain file."""


@dataclass(frozen=True)
class Member:
    """A file of an archive: where it goes, how many bytes it has, and how to read them."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | io.BufferedIOBase]


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file can be unpacked here."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def archives_in(folder: Path) -> list[Path]:
    """Return the archives that lie directly in a folder, sorted by name."""
    return sorted(
        path for path in folder.iterdir() if is_archive(path) and not path.name.startswith(".")
    )


def check_digest(
    archive: Path, algorithm: str, expected: str, progress: Progress | None = None
) -> None:
    """Compare an archive with its published checksum.

    Raises:
        ValueError: They differ; both are told.
    """
    digest, total = hashlib.new(algorithm, usedforsecurity=False), archive.stat().st_size
    with archive.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
            if progress is not None:
                progress(file.tell(), total)
    if digest.hexdigest() != expected.lower():
        raise ValueError(
            f"{archive} is not the published file: its {algorithm} is {digest.hexdigest()}, expected {expected}. The "
            f"download may be incomplete or another version: fetch it again, or accept it with --no-checksum"
        )


def unpack(archives: Sequence[Path], target: Path, progress: Progress | None = None) -> Path:
    """Unpack archives into one new folder, which appears when all is in it; an interrupted call is taken up again.

    Links inside an archive become copies of what they lead to; links out of it, devices, and names that leave the
    folder are refused.

    Raises:
        UnsafeArchiveError: A member that a download of images has no reason to hold.
        ValueError: The folder holds something else; archives that are damaged, too large for the disk, or disagree.
    """
    stamp = json.dumps(
        {archive.name: archive.stat().st_size for archive in archives}, ensure_ascii=False
    )
    if _stamp(target) == stamp:
        return target
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(
            f"{target} is there already and does not come from {', '.join(archive.name for archive in archives)}: "
            f"move it away, or if it is the dataset, name it as ROOT"
        )
    partial = target.with_name(f".{target.name}.partial")
    if partial.exists() and _stamp(partial) != stamp:
        shutil.rmtree(partial)  # of another archive
    partial.mkdir(parents=True, exist_ok=True)
    (partial / STAMP_FILE).write_text(stamp, encoding="utf-8")
    try:
        _unpack_all(archives, partial, progress)
    except ValueError:
        shutil.rmtree(partial)
        raise
    if target.exists():
        target.rmdir()
    partial.rename(target)
    return target


def _stamp(folder: Path) -> str:
    file = folder / STAMP_FILE
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _unpack_all(archives: Sequence[Path], folder: Path, progress: Progress | None) -> None:
    sizes = [archive.stat().st_size for archive in archives]
    budget = _DiskBudget(folder, sum(sizes))
    seen: set[str] = {STAMP_FILE, PARTIAL_FILE}
    for number, archive in enumerate(archives):
        with archive.open("rb") as file, _readable(archive):
            for member in _members(archive, file, budget):
                _place(member, folder, budget, seen, archive)
                if progress is not None:
                    progress(sum(sizes[:number]) + min(file.tell(), sizes[number]), sum(sizes))
    if progress is not None:
        progress(sum(sizes), sum(sizes))


def _place(
    member: Member, folder: Path, budget: _DiskBudget, seen: set[str], archive: Path
) -> None:
    """Write a member, unless an interrupted call did; two of one name must be equal."""
    file = folder / member.name
    is_repeated = member.name in seen
    if not is_repeated and file.is_file() and file.stat().st_size == member.size:
        budget.keep(member.size)
    else:
        budget.take(member.size, archive)
        part = folder / PARTIAL_FILE
        with member.open() as source, part.open("wb") as written:
            shutil.copyfileobj(source, written, CHUNK)
        if part.stat().st_size != member.size:
            raise ValueError(
                f"{archive}: {member.name} has {part.stat().st_size} bytes, expected {member.size}"
            )
        if is_repeated and not (file.is_file() and cmp(part, file, shallow=False)):
            raise ValueError(
                f"{archive}: {member.name} is there twice with different content; unpack one of them alone"
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        part.replace(file)
    seen.add(member.name)


class _DiskBudget:
    """How much may be written: what the disk has, and no more than archives of images become."""

    def __init__(self, folder: Path, packed: int) -> None:
        self._free = int(DISK_SHARE * shutil.disk_usage(folder).free)
        self._most = max(SMALL_ARCHIVE, MAX_RATIO * packed)

    def take(self, size: int, archive: Path) -> None:
        """Note that ``size`` bytes will be written."""
        self._free -= size
        self.keep(size)
        self.require(0, archive)

    def keep(self, size: int) -> None:
        """Note that ``size`` bytes are there."""
        self._most -= size

    def require(self, size: int, archive: Path) -> None:
        """Refuse an archive that ``size`` more bytes would not do."""
        if size > self._most:
            raise UnsafeArchiveError(
                f"{archive} unpacks to more than {MAX_RATIO} times its size: this is no download"
            )
        if size > self._free:
            raise ValueError(
                f"{archive} needs {(size - self._free) / 1e9:.1f} GB more than the disk has to spare"
            )


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (*UNREADABLE, OSError) as error:
        number = getattr(error, "errno", None)  # gzip and bz2 raise an OSError without
        if number in UNWRITABLE:
            raise ValueError(
                f"{archive} cannot be unpacked here ({error}): unpack it by hand"
            ) from error
        if number is not None:
            raise
        reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        raise ValueError(
            f"{archive} cannot be unpacked ({reason}): fetch it again, it may be incomplete; or unpack it by hand and "
            f"give the folder"
        ) from error


def _members(archive: Path, file: IO[bytes], budget: _DiskBudget) -> Iterator[Member]:
    return (
        _zip_members(archive, file, budget)
        if archive.name.lower().endswith(".zip")
        else _tar_members(archive, file)
    )


def _zip_members(archive: Path, file: IO[bytes], budget: _DiskBudget) -> Iterator[Member]:
    with zipfile.ZipFile(file) as opened:
        files = [each for each in opened.infolist() if not each.is_dir()]
        budget.require(sum(each.file_size for each in files), archive)
        for each in files:
            if stat.S_IFMT(each.external_attr >> 16) not in (0, stat.S_IFREG):
                raise UnsafeArchiveError(
                    f"{archive}: {each.filename} is a link or a device: unpack it by hand"
                )
            yield Member(
                _inside(each.filename, archive), each.file_size, lambda each=each: opened.open(each)
            )


def _tar_members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r:*") as opened:
        for each in opened:
            if each.isdir():
                continue
            name = _inside(each.name, archive)
            source = each if each.isfile() else _linked(opened, each, archive)
            yield Member(name, source.size, lambda source=source: _stream(opened, source))
        while opened.fileobj is not None and opened.fileobj.read(CHUNK):
            pass  # behind the last member is the checksum of what was compressed


def _stream(opened: tarfile.TarFile, member: tarfile.TarInfo) -> io.BufferedIOBase:
    stream = opened.extractfile(member)
    assert isinstance(stream, io.BufferedIOBase)  # it is a plain file
    return stream


def _linked(opened: tarfile.TarFile, link: tarfile.TarInfo, archive: Path) -> tarfile.TarInfo:
    """Return the plain file of the same archive that a link leads to."""
    if link.issym() or link.islnk():
        folder = posixpath.dirname(link.name) if link.issym() else ""
        target = _inside(
            posixpath.normpath(posixpath.join(folder, link.linkname)), archive, link.name
        )
        files = (each for each in opened.getmembers() if each.isfile())
        found = next((each for each in files if posixpath.normpath(each.name) == target), None)
        if found is not None:
            return found
    raise UnsafeArchiveError(
        f"{archive}: {link.name} is a device, or a link to no file of it: unpack it by hand"
    )


def _inside(name: str, archive: Path, link: str = "") -> str:
    """Return a name as a path below the folder, ``/`` between its parts."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if (
        name.startswith(("/", "\\"))
        or re.match(r"[A-Za-z]:", name)
        or ".." in parts
        or "\0" in name
        or not parts
    ):
        what = f"the link {link} leads to {name!r}" if link else f"{name!r} would be written"
        raise UnsafeArchiveError(
            f"{archive}: {what}, outside of the folder: this is no download of images"
        )
    return "/".join(parts)
