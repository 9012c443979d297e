"""Unpack a download beside it.

Nothing is written outside the folder, nothing is half there, and the archive stays as it is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from filecmp import cmp
from functools import partial
from pathlib import Path

from zsad.data.prepare.archive_members import CHUNK, Member, UnsafeArchiveError, archive_members

Progress = Callable[[int, int], None]
"""Called with the number of bytes done and that of all bytes."""

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
STAMP_FILE = ".unpacked_from.json"
# A name of its own: one made from the member's may be too long for the disk.
PARTIAL_FILE = ".being_unpacked"
DISK_SHARE = 0.95  # of the free space; the rest is left to others
MAX_RATIO = 100  # images hardly shrink; bombs shrink a thousandfold
SMALL_ARCHIVE = 2**30  # bytes below which the ratio does not matter
# Errors of the standard library for archives that are damaged, cut short, encrypted or unknown.
UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
)
# Errors of the disk for names that are too long, and for members below a member that is a file.
UNWRITABLE = (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file can be unpacked here."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def archives_in(folder: Path) -> list[Path]:
    """Return the archives that lie directly in a folder, sorted by name."""
    archives: list[Path] = []
    for path in sorted(folder.iterdir()):
        if is_archive(path) and not path.name.startswith("."):
            archives.append(path)
    return archives


def check_digest(
    archive: Path, algorithm: str, expected: str, progress: Progress | None = None
) -> None:
    """Compare an archive with its published checksum.

    Raises:
        ValueError: They differ; both are told.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    total = archive.stat().st_size
    with archive.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
            if progress is not None:
                progress(file.tell(), total)
    if digest.hexdigest() != expected.lower():
        raise ValueError(
            f"{archive} is not the published file: its {algorithm} is {digest.hexdigest()}, "
            f"expected {expected}. The download may be incomplete or another version: "
            f"fetch it again, or accept it with --no-checksum"
        )


def unpack(archives: Sequence[Path], target: Path, progress: Progress | None = None) -> Path:
    """Unpack archives into a new folder, which appears when all is in it.

    An interrupted call is taken up again. Links inside an archive become copies of their targets;
    links out of it, devices, and names that leave the folder are refused.

    Raises:
        UnsafeArchiveError: A member that a download of images has no reason to hold.
        ValueError: The folder holds something else; archives that are damaged, too large for the
            disk, or disagree.
    """
    sizes = {archive.name: archive.stat().st_size for archive in archives}
    stamp = json.dumps(sizes, ensure_ascii=False)
    if _stamp(target) == stamp:
        return target
    if target.exists() and not _is_empty_folder(target):
        raise ValueError(
            f"{target} is there already and does not come from {', '.join(sizes)}: "
            f"move it away, or if it is the dataset, name it as ROOT"
        )
    partial_folder = target.with_name(f".{target.name}.partial")
    if partial_folder.exists() and _stamp(partial_folder) != stamp:
        shutil.rmtree(partial_folder)  # of another archive
    partial_folder.mkdir(parents=True, exist_ok=True)
    (partial_folder / STAMP_FILE).write_text(stamp, encoding="utf-8")
    try:
        _unpack_all(archives, sizes, partial_folder, progress)
    except ValueError:
        shutil.rmtree(partial_folder)
        raise
    if target.exists():
        target.rmdir()
    partial_folder.rename(target)
    return target


def _stamp(folder: Path) -> str:
    file = folder / STAMP_FILE
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _unpack_all(
    archives: Sequence[Path], sizes: dict[str, int], folder: Path, progress: Progress | None
) -> None:
    total = sum(sizes.values())
    budget = _DiskBudget(folder, total)
    seen = {STAMP_FILE, PARTIAL_FILE}
    done = 0
    for archive in archives:
        size = sizes[archive.name]
        require_room = partial(budget.require, archive=archive)
        with archive.open("rb") as file, _archive_errors(archive):
            for member in archive_members(archive, file, require_room):
                _write_member(member, folder, budget, seen, archive)
                if progress is not None:
                    progress(done + min(file.tell(), size), total)
        done += size
    if progress is not None:
        progress(total, total)


def _write_member(
    member: Member, folder: Path, budget: _DiskBudget, seen: set[str], archive: Path
) -> None:
    """Write a member, unless an interrupted call did.

    Args:
        member: The file.
        folder: Folder to write to.
        budget: Bytes that may be written; reduced by the member's size.
        seen: Names of earlier members; two of the same name must be equal.
        archive: The member's archive, for messages.
    """
    file = folder / member.name
    is_repeated = member.name in seen
    seen.add(member.name)
    if not is_repeated and file.is_file() and file.stat().st_size == member.size:
        budget.keep(member.size)
        return
    budget.take(member.size, archive)
    part = folder / PARTIAL_FILE
    with member.open() as source, part.open("wb") as written:
        shutil.copyfileobj(source, written, CHUNK)
    size = part.stat().st_size
    if size != member.size:
        raise ValueError(f"{archive}: {member.name} has {size} bytes, expected {member.size}")
    if is_repeated and not (file.is_file() and cmp(part, file, shallow=False)):
        raise ValueError(
            f"{archive}: {member.name} is there twice with different content; "
            f"unpack one of them alone"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    part.replace(file)


class _DiskBudget:
    """Bytes that may be written: free space, and no more than archives of images unpack to."""

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
        """Refuse an archive if ``size`` more bytes are too many."""
        if size > self._most:
            raise UnsafeArchiveError(
                f"{archive} unpacks to more than {MAX_RATIO} times its size: this is no download"
            )
        if size > self._free:
            missing = (size - self._free) / 1e9
            raise ValueError(f"{archive} needs {missing:.1f} GB more than the disk has to spare")


@contextmanager
def _archive_errors(archive: Path) -> Iterator[None]:
    """Turn errors about the archive into messages that say so; others of the disk pass."""
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
            f"{archive} cannot be unpacked ({reason}): fetch it again, it may be incomplete; "
            f"or unpack it by hand and give the folder"
        ) from error
