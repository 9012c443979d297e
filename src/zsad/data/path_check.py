"""Check that paths of an index exist below the root of a dataset and do not lead out of it."""

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
    """A listed folder below the root.

    Attributes:
        name: Normalised, relative to the root.
        path: Its absolute path.
        files: Name → problem of the file, empty for none.
        folders: Name → whether it is a link, or has a name that cannot be used.
        problem: Reason why the folder cannot be used, empty for none.
    """

    name: str
    path: Path
    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, bool] = field(default_factory=dict)
    problem: str = ""
    prefix: str = field(init=False)  # of the names of its files

    def __post_init__(self) -> None:
        self.prefix = f"{self.name}/" if self.name else ""


class PathChecker:
    """Checks paths below a root. Each folder is listed once: 150,000 paths take a second.

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
        """Return (path relative to the root, problem or "")."""
        relative, _, problem = self.resolve(path)
        return relative, problem

    def resolve(self, path: str) -> tuple[str, Path, str]:
        """Return (path relative to the root, absolute path, problem or "")."""
        folder_name, _, name = path.rpartition("/")
        folder = self._folders.get(folder_name) if folder_name else None
        if folder is not None:
            problem = folder.files.get(name)
            if problem is not None:
                # Joining to the folder's path is far cheaper than parsing the whole.
                return folder.prefix + name, folder.path / name, problem
        return self._resolve_with_care(path, folder_name, name)

    def is_folder(self, path: str) -> bool:
        """Return whether a path names a folder: some published files do so instead of a mask."""
        folder, _, name = path.rstrip("/").rpartition("/")
        return name in ("", ".") or name in self._folder(folder).folders

    def files(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        return sorted(self._folder(folder).files)

    def _resolve_with_care(self, path: str, folder_name: str, name: str) -> tuple[str, Path, str]:
        if not _can_name_a_file(path):
            return path, Path(self.root), self.NO_NAME
        if name in ("", ".", "..") or (folder_name == "" and path.startswith("/")):
            return path, Path(self.root), self.MISSING
        folder = self._folder(folder_name)
        if folder.problem and "\\" not in path:
            return path, folder.path, folder.problem
        problem = folder.files.get(name, self.MISSING)
        if problem == self.MISSING and "\\" in path:
            return self.resolve(path.replace("\\", "/"))  # written on Windows
        return folder.prefix + name, folder.path / name, problem

    def _folder(self, folder: str) -> _Folder:
        """Return a folder, listed when it is first asked for."""
        if folder not in self._folders:
            parent_name, _, name = folder.rpartition("/")
            parent = self._folders.get(parent_name) if parent_name else None
            # Known to exist, and to be no link.
            if parent is not None and parent.folders.get(name) is False:
                listed = self._list(parent.prefix + name, parent.path / name)
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
        if relative != folder:
            return self._folder(relative)
        return self._list(relative, self._joined(relative))

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
        """Return the path of a folder; joining to its listed parent's is cheaper than parsing."""
        parent_name, _, name = relative.rpartition("/")
        parent = self._folders.get(parent_name)
        if parent is None:
            return Path(self.root, relative)
        return parent.path / name

    def _stays_inside(self, relative: str) -> bool:
        """Return whether a folder lies below the root; only links need the real path."""
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
        """Return a folder relative to the root by its words alone, ``None`` if it leaves it."""
        if folder.startswith("/"):
            return self._below_root(folder)
        relative = posixpath.normpath(folder) if folder else ""
        if relative == ".." or relative.startswith("../"):
            return None
        return "" if relative == "." else relative

    def _below_root(self, folder: str) -> str | None:
        absolute = posixpath.normpath("/" + folder.lstrip("/")) + "/"
        for root in (self.root, self._real_root):
            if absolute.startswith(root + "/"):
                return absolute[len(root) + 1 : -1]
        return None

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        if real == self._real_root:
            return True
        return real.startswith(self._real_root.rstrip("/") + "/")


def _can_name_a_file(path: str) -> bool:
    """Return whether the operating system and an index in UTF-8 accept a path."""
    if path.isascii():
        return "\0" not in path
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in path
