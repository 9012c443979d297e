"""Read and check an index: the field's ``meta.json``, paths relative to the dataset root.

The format is defined in ``data_json/README.md``.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.data.locations import did_you_mean, read_json
from zsad.data.path_check import PathChecker
from zsad.types import Sample

Entries = dict[str, list[Any]]  # category → entries, in file order
SHOWN_PROBLEMS = 10


def read_index(
    path: Path, root: Path, phase: str, categories: Sequence[str] | None = None
) -> list[Sample]:
    """Return the labelled samples of one phase, in file order, every file checked to be there.

    Args:
        path: The index.
        root: The folder its paths are relative to.
        phase: ``train`` or ``test``, in any case (some published files say ``Test``).
        categories: Only these; all where ``None``.

    Raises:
        ValueError: Broken file, unknown phase or category, no labels at all, or entries that are wrong; all of them are
            counted.
        FileNotFoundError: All is well but for images or masks that are not on disk.
    """
    with _collector_paused():
        entries = select_categories(phase_entries(path, phase), categories, path)
        samples, problems = check_entries(_with_label(entries, path, phase), PathChecker(root))
    if problems:
        raise problem_error(path, root, problems)
    return samples


def read_unlabelled(
    path: Path, root: Path, phase: str, categories: Sequence[str] | None = None
) -> dict[str, list[Path]]:
    """Return the images of one phase whose label is not published, category by category: to be predicted, no more.

    Raises:
        ValueError, FileNotFoundError: As ``read_index``; every image of the phase has a label.
    """
    entries = select_categories(phase_entries(path, phase), categories, path)
    unknown = {
        name: [entry for entry in part if _is_unlabelled(entry)] for name, part in entries.items()
    }
    if not any(unknown.values()):
        raise ValueError(
            f"{path}: every image of phase {phase!r} has a label, expected some without (anomaly: null)"
        )
    checker = PathChecker(root)
    _, problems = check_entries(unknown, checker)
    if problems:
        raise problem_error(path, root, problems)
    return {
        name: [checker.resolve(entry["img_path"])[1] for entry in part]
        for name, part in unknown.items()
        if part
    }


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
        raise ValueError(
            f'{path} is no index: expected {{"train": {{category: [...]}}, "test": {{...}}}}'
        )
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
        raise ValueError(
            f"{path} lists no images at all; make it anew with zsad prepare {path.stem} ROOT"
        )
    raise ValueError(
        f"{path} has no images in phase {phase!r}; it has some in {', '.join(filled)} "
        f"(dataset.train_phase=, dataset.test_phase=)"
    )


def select_categories(entries: Entries, categories: Sequence[str] | None, path: Path) -> Entries:
    """Keep the named categories, in the order of the index."""
    for name in categories or ():
        if name not in entries:
            known = ", ".join(entries)
            raise ValueError(
                f"{path} has no category {name}. Known: {known}.{did_you_mean(name, entries)}"
            )
    return (
        entries
        if categories is None
        else {name: part for name, part in entries.items() if name in categories}
    )


def _with_label(entries: Entries, path: Path, phase: str) -> Entries:
    known = {
        name: [entry for entry in part if not _is_unlabelled(entry)]
        for name, part in entries.items()
    }
    if not any(known.values()):
        raise ValueError(
            f"{path}: the labels of phase {phase!r} are not published, so it can be predicted, but neither tested nor "
            f"learned from: zsad predict CHECKPOINT FOLDER"
        )
    return known


def _is_unlabelled(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("anomaly", "") is None


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


def problem_error(
    path: Path, root: Path, problems: Sequence[Problem]
) -> ValueError | FileNotFoundError:
    """Return the exception that counts all problems and shows the first ten."""
    shown = "\n".join(f"  {problem}" for problem in problems[:SHOWN_PROBLEMS])
    more = len(problems) - SHOWN_PROBLEMS
    tail = f"\n  … and {more} more" if more > 0 else ""
    missing = all(problem.kind == PathChecker.MISSING for problem in problems)
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    text = (
        f"{path} does not fit {root}: {count}\n{shown}{tail}\nIs dataset.root right? "
        f"zsad verify {path.stem} lists everything; zsad prepare {path.stem} ROOT makes the index anew"
    )
    return FileNotFoundError(text) if missing else ValueError(text)


def check_entries(entries: Entries, checker: PathChecker) -> tuple[list[Sample], list[Problem]]:
    """Return the samples that are right, and everything that is wrong with the others.

    Entries without a label are checked, but are no samples.
    """
    samples: list[Sample] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for category, part in entries.items():
        for entry in part:
            found = _check_entry(entry, category, checker)
            if isinstance(found, Problem):
                problems.append(found)
            elif found[0] in seen:
                problems.append(Problem("listed twice", found[0], f"category {category}"))
            else:
                seen.add(found[0])
                if found[1] is not None:
                    samples.append(found[1])
    return samples, problems


def referenced_files(entries: Entries, checker: PathChecker) -> set[str]:
    """Return every image and mask that well-formed entries name, relative to the root, there or not."""
    formed = [entry for part in entries.values() for entry in part if _is_well_formed(entry)]
    return {
        checker.check(path)[0]
        for entry in formed
        for path in (entry["img_path"], *_mask_paths(entry, checker))
    }


def _check_entry(
    entry: Any, category: str, checker: PathChecker
) -> tuple[str, Sample | None] | Problem:
    if not _is_well_formed(entry):
        return Problem(
            "wrong entry", str(entry)[:120], "expected img_path, mask_path and anomaly 0, 1 or null"
        )
    image, label = entry["img_path"], entry.get("anomaly", "")
    relative, image_path, problem = checker.resolve(image)
    if problem:
        return Problem(problem, image, f"image, category {category}")
    paths = []
    for mask in _mask_paths(entry, checker):
        _, path, problem = checker.resolve(mask)
        if problem:
            return Problem(problem, mask, f"mask of {image}")
        paths.append(path)
    if label is None:
        return relative, None
    defect, first, more = (
        entry.get("specie_name") or "",
        paths[0] if paths else None,
        tuple(paths[1:]),
    )
    return relative, Sample(image_path, first, category, defect, bool(label), more)


def _is_well_formed(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("img_path"), str):
        return False
    if entry.get("anomaly", "") not in (0, 1, None):
        return False
    masks = entry.get("mask_path") or ""
    return isinstance(masks, str) or (
        isinstance(masks, list) and all(isinstance(mask, str) for mask in masks)
    )


def _mask_paths(entry: dict[str, Any], checker: PathChecker) -> list[str]:
    """Return the mask files of an entry: none for an empty path or a folder, several for a list."""
    masks = entry.get("mask_path")
    if not masks or isinstance(masks, list):
        return masks or []
    return [] if checker.is_folder(masks) else [masks]
