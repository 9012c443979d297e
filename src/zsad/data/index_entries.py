"""Check the entries of an index against the files of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.data.path_check import PathChecker
from zsad.data.value_range import check_value_range
from zsad.types import Sample

Entries = dict[str, list[Any]]  # category → entries, in file order
SHOWN_PROBLEMS = 10
_SHOWN_CHARACTERS = 120  # of a malformed entry


@dataclass
class Problem:
    """A problem with one path of an index."""

    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        """Return one line for the user; characters that no terminal can show are escaped."""
        line = f"{self.kind}: {self.path}"
        if self.detail:
            line += f" ({self.detail})"
        if line.isprintable():
            return line
        return "".join(map(_escape, line))


def _escape(char: str) -> str:
    return char if char.isprintable() else ascii(char)[1:-1]


def problem_error(
    path: Path, root: Path, problems: Sequence[Problem]
) -> ValueError | FileNotFoundError:
    """Return the exception that counts all problems and shows the first ten."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"{path} does not fit {root}: {count}"]
    for problem in problems[:SHOWN_PROBLEMS]:
        lines.append(f"  {problem}")
    more = len(problems) - SHOWN_PROBLEMS
    if more > 0:
        lines.append(f"  … and {more} more")
    lines.append(
        f"Is dataset.root right? zsad verify {path.stem} lists everything; "
        f"zsad prepare {path.stem} ROOT makes the index anew"
    )
    text = "\n".join(lines)
    if all(problem.kind == PathChecker.MISSING for problem in problems):
        return FileNotFoundError(text)
    return ValueError(text)


def check_entries(entries: Entries, checker: PathChecker) -> tuple[list[Sample], list[Problem]]:
    """Return the valid samples, and the problems of all other entries.

    Entries without a label are checked, but are no samples.
    """
    samples: list[Sample] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for category, part in entries.items():
        for entry in part:
            checked = _check_entry(entry, category, checker)
            if isinstance(checked, Problem):
                problems.append(checked)
                continue
            relative, sample = checked
            if relative in seen:
                problems.append(Problem("listed twice", relative, f"category {category}"))
                continue
            seen.add(relative)
            if sample is not None:
                samples.append(sample)
    return samples, problems


def referenced_files(entries: Entries, checker: PathChecker) -> set[str]:
    """Return every image and mask of well-formed entries, relative to the root, existing or not."""
    files: set[str] = set()
    for part in entries.values():
        for entry in part:
            if _is_well_formed(entry):
                paths = [entry["img_path"], *_mask_paths(entry, checker)]
                files.update(checker.check(path)[0] for path in paths)
    return files


def is_unlabelled(entry: Any) -> bool:
    """Return whether the label of an entry is not published (``"anomaly": null``)."""
    return isinstance(entry, dict) and entry.get("anomaly", "") is None


def _check_entry(
    entry: Any, category: str, checker: PathChecker
) -> tuple[str, Sample | None] | Problem:
    """Return (path of the image relative to the root, sample or ``None`` without a label)."""
    if not _is_well_formed(entry):
        shown = str(entry)[:_SHOWN_CHARACTERS]
        return Problem(
            "wrong entry", shown, "expected img_path, mask_path and anomaly 0, 1 or null"
        )
    image: str = entry["img_path"]
    relative, image_path, problem = checker.resolve(image)
    if problem:
        return Problem(problem, image, f"image, category {category}")
    masks: list[Path] = []
    for mask in _mask_paths(entry, checker):
        _, mask_path, problem = checker.resolve(mask)
        if problem:
            return Problem(problem, mask, f"mask of {image}")
        masks.append(mask_path)
    label = entry.get("anomaly", "")
    if label is None:
        return relative, None
    first = masks[0] if masks else None
    more = tuple(masks[1:])
    defect = entry.get("specie_name") or ""
    shown = None
    if entry.get("value_range") is not None:
        shown = check_value_range(entry["value_range"])
    is_anomalous = bool(label)
    sample = Sample(image_path, first, category, defect, is_anomalous, more, value_range=shown)
    return relative, sample


def _is_well_formed(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    if not isinstance(entry.get("img_path"), str):
        return False
    if entry.get("anomaly", "") not in (0, 1, None):
        return False
    if not _is_range(entry.get("value_range")):
        return False
    masks = entry.get("mask_path") or ""
    if isinstance(masks, str):
        return True
    return isinstance(masks, list) and all(isinstance(mask, str) for mask in masks)


def _is_range(value_range: Any) -> bool:
    if value_range is None:
        return True
    try:
        check_value_range(value_range)
    except ValueError:
        return False
    return True


def _mask_paths(entry: dict[str, Any], checker: PathChecker) -> list[str]:
    """Return the mask files of an entry: none for an empty path or a folder, several for a list."""
    masks = entry.get("mask_path")
    if not masks:
        return []
    if isinstance(masks, list):
        return masks
    return [] if checker.is_folder(masks) else [masks]
