"""What lies below the root of a dataset, each folder listed once, and no way out of it."""

from __future__ import annotations

import errno
import os
import posixpath
from dataclasses import dataclass, field
from pathlib import Path

_ABSENT_ERRNOS = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_MAX_DEPTH = 32  # folders below the root that are listed one from the other


@dataclass
class _Folder:
    """One folder below the root: its normalised name, where it lies, its entries, or why it cannot be used."""

    name: str
    path: Path
    files: dict[str, str] = field(
        default_factory=dict
    )  # name → what is wrong with it, "" for nothing
    folders: dict[str, bool] = field(default_factory=dict)  # name → whether it is a link, or worse
    problem: str = ""
    prefix: str = field(init=False)  # of the names of its files

    def __post_init__(self) -> None:
        self.prefix = f"{self.name}/" if self.name else ""


class PathChecker:
    """What lies below a root. Each folder is listed once, so that 150,000 paths are checked in a second.

    A path may leave the root neither by its words (``..``, absolute) nor through a link.
    """

    MISSING = "missing file"
    OUTSIDE = "outside the root"
    NO_NAME = "null byte or broken Unicode in the name"

    def __init__(self, root: Path) -> None:
        self.root = str(root.absolute())
        self._real_root = os.path.realpath(root)
        self._folders: dict[str, _Folder] = {}

    def check(self, path: str) -> tuple[str, str]:
        """Return (path relative to the root, what is wrong with it or "")."""
        relative, _, problem = self.resolve(path)
        return relative, problem

    def resolve(self, path: str) -> tuple[str, Path, str]:
        """Return (path relative to the root, where the file lies, what is wrong with it or "")."""
        folder, _, name = path.rpartition("/")
        listed = self._folders.get(folder) if folder else None
        problem = None if listed is None else listed.files.get(name)
        if listed is None or problem is None:
            return self._resolve_with_care(path, folder, name)
        # Joining to the folder's path is far cheaper than parsing the whole.
        return listed.prefix + name, listed.path / name, problem

    def _resolve_with_care(self, path: str, folder: str, name: str) -> tuple[str, Path, str]:
        if not _can_name_a_file(path):
            return path, Path(self.root), self.NO_NAME
        if name in ("", ".", "..") or (folder == "" and path.startswith("/")):
            return path, Path(self.root), self.MISSING
        listed = self._folder(folder)
        if listed.problem:
            return path, listed.path, listed.problem
        return f"{listed.prefix}{name}", listed.path / name, listed.files.get(name, self.MISSING)

    def is_folder(self, path: str) -> bool:
        """Tell whether a path names a folder: some published files write so where there is no mask."""
        folder, _, name = path.rstrip("/").rpartition("/")
        return name in ("", ".") or name in self._folder(folder).folders

    def files(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        return sorted(self._folder(folder).files)

    def _folder(self, folder: str) -> _Folder:
        if folder not in self._folders:
            parent, _, name = folder.rpartition("/")
            above = self._folders.get(parent) if parent else None
            if (
                above is not None and above.folders.get(name) is False
            ):  # known to be there, and no link
                listed = self._list(f"{above.prefix}{name}", above.path / name)
            else:
                listed = self._list_with_care(folder)
            self._folders[folder] = listed
        return self._folders[folder]

    def _list_with_care(self, folder: str) -> _Folder:
        if not _can_name_a_file(folder):
            return _Folder(folder, Path(self.root), problem=self.NO_NAME)
        relative = self._relative(folder)
        if relative is None or not self._stays_inside(relative):
            return _Folder(folder, Path(folder), problem=self.OUTSIDE)
        return (
            self._list(relative, self._joined(relative))
            if relative == folder
            else self._folder(relative)
        )

    def _list(self, relative: str, path: Path) -> _Folder:
        files: dict[str, str] = {}
        folders: dict[str, bool] = {}
        try:
            with os.scandir(f"{self.root}/{relative}") as listing:
                for entry in listing:
                    name = entry.name
                    if entry.is_dir():
                        folders[name] = entry.is_symlink() or not _can_name_a_file(name)
                    elif name.isascii() and not entry.is_symlink():  # nearly all
                        files[name] = ""
                    else:
                        files[name] = self._file_problem(entry)
        except OSError as error:
            if error.errno not in _ABSENT_ERRNOS:
                raise
            return _Folder(relative, path, problem=self.MISSING)
        return _Folder(relative, path, files, folders)

    def _joined(self, relative: str) -> Path:
        """Return the path of a folder; joining to its listed parent's is far cheaper than parsing it whole."""
        parent, _, name = relative.rpartition("/")
        return (
            self._folders[parent].path / name
            if parent in self._folders
            else Path(self.root, relative)
        )

    def _stays_inside(self, relative: str) -> bool:
        """Tell whether a folder lies below the root; only below links does it look at the whole way there."""
        parent, _, name = relative.rpartition("/")
        if not relative or relative.count("/") > _MAX_DEPTH:
            return self._is_inside(f"{self.root}/{relative}")
        is_link = self._folder(parent).folders.get(name, True)
        return not is_link or self._is_inside(f"{self.root}/{relative}")

    def _file_problem(self, entry: os.DirEntry[str]) -> str:
        if not _can_name_a_file(entry.name):
            return self.NO_NAME
        if not entry.is_symlink():
            return ""
        if not self._is_inside(entry.path):
            return self.OUTSIDE
        return "" if entry.is_file() else self.MISSING

    def _relative(self, folder: str) -> str | None:
        """Return a folder relative to the root by its words alone, or ``None`` if it leaves the root."""
        if folder.startswith("/"):
            whole = posixpath.normpath("/" + folder.lstrip("/")) + "/"
            for root in (self.root, self._real_root):
                if whole.startswith(root + "/"):
                    return whole[len(root) + 1 : -1]
            return None
        relative = posixpath.normpath(folder) if folder else ""
        if relative == ".." or relative.startswith("../"):
            return None
        return "" if relative == "." else relative

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real_root or real.startswith(self._real_root.rstrip("/") + "/")


def _can_name_a_file(path: str) -> bool:
    """Tell whether a path can go to the operating system, and to an index in UTF-8."""
    if path.isascii():
        return "\0" not in path
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in path
