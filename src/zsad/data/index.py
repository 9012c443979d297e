"""Read and check an index: the field's ``meta.json``, paths relative to the dataset root.

The format is defined in ``data_json/README.md``.
"""

from __future__ import annotations

import gc
import os
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zsad.data.roots import did_you_mean, read_json
from zsad.types import Sample

Entries = dict[str, list[Any]]  # category → entries, in file order
SHOWN_PROBLEMS = 10


def read_index(path: Path, root: Path, phase: str, categories: Sequence[str] | None = None) -> list[Sample]:
    """Return the samples of one phase, in file order, every file checked to be there.

    Args:
        path: The index.
        root: The folder its paths are relative to.
        phase: ``train`` or ``test``, in any case (some published files say ``Test``).
        categories: Only these; all where ``None``.

    Raises:
        ValueError: Broken file, unknown phase or category, or entries that are wrong; all of them are counted.
        FileNotFoundError: All is well but for images or masks that are not on disk.
    """
    with _collector_paused():
        entries = select_categories(phase_entries(path, phase), categories, path)
        samples, problems = check_entries(entries, Disk(root))
    if problems:
        raise problem_error(path, root, problems)
    return samples


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from walking 150,000 fresh samples again and again: 40 % of the time, for nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def index_phases(path: Path) -> dict[str, Entries]:
    """Return phase → category → entries; the shape of the file is checked, its entries are not."""
    phases = read_json(path)
    if not isinstance(phases, dict) or not all(isinstance(part, dict) for part in phases.values()):
        raise ValueError(f'{path} is no index: expected {{"train": {{category: [...]}}, "test": {{...}}}}')
    for phase, part in phases.items():
        for category, entries in part.items():
            if not isinstance(entries, list):
                raise ValueError(
                    f"{path}: {phase} → {category} is {type(entries).__name__}, expected a list of entries"
                )
    return phases


def phase_entries(path: Path, phase: str) -> Entries:
    """Return the entries of one phase; the error names the phases that have any."""
    phases = index_phases(path)
    for name, part in phases.items():
        if name.lower() == phase.lower() and any(part.values()):
            return {category: entries for category, entries in part.items() if entries}
    filled = [name for name, part in phases.items() if any(part.values())]
    if not filled:
        raise ValueError(f"{path} lists no images at all; make it anew with zsad prepare {path.stem} ROOT")
    raise ValueError(
        f"{path} has no images in phase {phase!r}; it has some in {', '.join(filled)} "
        f"(dataset.train_phase=, dataset.test_phase=)"
    )


def select_categories(entries: Entries, categories: Sequence[str] | None, path: Path) -> Entries:
    """Keep the named categories, in the order of the index."""
    for name in categories or ():
        if name not in entries:
            known = ", ".join(entries)
            raise ValueError(f"{path} has no category {name}. Known: {known}.{did_you_mean(name, entries)}")
    return entries if categories is None else {name: part for name, part in entries.items() if name in categories}


@dataclass
class Problem:
    """What is wrong with one path of an index."""

    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        """Return one line for the user; what no terminal can show is escaped."""
        line = f"{self.kind}: {self.path}" + (f" ({self.detail})" if self.detail else "")
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def problem_error(path: Path, root: Path, problems: Sequence[Problem]) -> ValueError | FileNotFoundError:
    """Return the exception that counts all problems and shows the first ten."""
    shown = "\n".join(f"  {problem}" for problem in problems[:SHOWN_PROBLEMS])
    more = len(problems) - SHOWN_PROBLEMS
    tail = f"\n  … and {more} more" if more > 0 else ""
    missing = all(problem.kind == Disk.MISSING for problem in problems)
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    text = (
        f"{path} does not fit {root}: {count}\n{shown}{tail}\nIs dataset.root right? "
        f"zsad verify {path.stem} lists everything; zsad prepare {path.stem} ROOT makes the index anew"
    )
    return FileNotFoundError(text) if missing else ValueError(text)


@dataclass
class _Folder:
    """One folder below the root: its normalised name, where it lies, its entries, or why it cannot be used."""

    name: str
    path: Path
    files: dict[str, str] = field(default_factory=dict)  # name → what is wrong with it, "" for nothing
    folders: frozenset[str] = frozenset()
    problem: str = ""


class Disk:
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

    def locate(self, path: str) -> tuple[str, str]:
        """Return (path relative to the root, what is wrong with it or "")."""
        if not _can_name_a_file(path):
            return path, self.NO_NAME
        folder, _, name = path.rpartition("/")
        if name in ("", ".", "..") or (folder == "" and path.startswith("/")):
            return path, self.MISSING
        listed = self._folder(folder)
        if listed.problem:
            return path, listed.problem
        relative = f"{listed.name}/{name}" if listed.name else name
        return relative, listed.files.get(name, self.MISSING)

    def path(self, relative: str) -> Path:
        """Return where a located file lies; joining to its folder's path is far cheaper than parsing it whole."""
        folder, _, name = relative.rpartition("/")
        return self._folder(folder).path / name

    def is_folder(self, path: str) -> bool:
        """Tell whether a path names a folder: some published files write so where there is no mask."""
        folder, _, name = path.rstrip("/").rpartition("/")
        return name in ("", ".") or name in self._folder(folder).folders

    def files(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        return sorted(self._folder(folder).files)

    def _folder(self, folder: str) -> _Folder:
        if folder not in self._folders:
            self._folders[folder] = self._list(folder)
        return self._folders[folder]

    def _list(self, folder: str) -> _Folder:
        if not _can_name_a_file(folder):
            return _Folder(folder, Path(self.root), problem=self.NO_NAME)
        relative = self._relative(folder)
        if relative is None or not self._is_inside(f"{self.root}/{relative}"):
            return _Folder(folder, Path(folder), problem=self.OUTSIDE)
        path = Path(self.root, relative)
        try:
            with os.scandir(path) as listing:
                entries = list(listing)
        except (FileNotFoundError, NotADirectoryError):
            return _Folder(relative, path, problem=self.MISSING)
        files = {entry.name: self._file_problem(entry) for entry in entries if not entry.is_dir()}
        return _Folder(relative, path, files, frozenset(entry.name for entry in entries if entry.is_dir()))

    def _file_problem(self, entry: os.DirEntry[str]) -> str:
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
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in path


def check_entries(entries: Entries, disk: Disk) -> tuple[list[Sample], list[Problem]]:
    """Return the samples that are right, and everything that is wrong with the others."""
    samples: list[Sample] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for category, part in entries.items():
        for entry in part:
            found = _check_entry(entry, category, disk)
            if isinstance(found, Problem):
                problems.append(found)
            elif found[0] in seen:
                problems.append(Problem("listed twice", found[0], f"category {category}"))
            else:
                seen.add(found[0])
                samples.append(found[1])
    return samples, problems


def named_files(entries: Entries, disk: Disk) -> set[str]:
    """Return every image and mask that well-formed entries name, relative to the root, there or not."""
    formed = [entry for part in entries.values() for entry in part if _is_well_formed(entry)]
    return {disk.locate(path)[0] for entry in formed for path in (entry["img_path"], *_mask_paths(entry, disk))}


def _check_entry(entry: Any, category: str, disk: Disk) -> tuple[str, Sample] | Problem:
    if not _is_well_formed(entry):
        return Problem("wrong entry", str(entry)[:120], "expected img_path, mask_path and anomaly 0 or 1")
    image, masks = entry["img_path"], _mask_paths(entry, disk)
    relative, problem = disk.locate(image)
    if problem:
        return Problem(problem, image, f"image, category {category}")
    paths = []
    for mask in masks:
        located, problem = disk.locate(mask)
        if problem:
            return Problem(problem, mask, f"mask of {image}")
        paths.append(disk.path(located))
    defect, is_anomalous = entry.get("specie_name") or "", bool(entry["anomaly"])
    mask_path = paths[0] if paths else None
    return relative, Sample(disk.path(relative), mask_path, category, defect, is_anomalous, tuple(paths[1:]))


def _is_well_formed(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("img_path"), str) or entry.get("anomaly") not in (0, 1):
        return False
    masks = entry.get("mask_path") or ""
    return isinstance(masks, str) or (isinstance(masks, list) and all(isinstance(mask, str) for mask in masks))


def _mask_paths(entry: dict[str, Any], disk: Disk) -> list[str]:
    """Return the mask files of an entry: none for an empty path or a folder, several for a list."""
    masks = entry.get("mask_path") or ""
    if isinstance(masks, list):
        return masks
    return [] if not masks or disk.is_folder(masks) else [masks]
