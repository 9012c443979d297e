"""Check the samples of a download, as far as names and file headers tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zsad.data.decoding import UnreadableImageError
from zsad.data.index_entries import Problem
from zsad.data.masks import size_difference
from zsad.data.path_check import PathChecker
from zsad.data.prepare.image_headers import read_image_size
from zsad.data.prepare.mask_survey import find_threshold, level_remarks, rule_note, survey_masks
from zsad.data.sources import Record
from zsad.data.value_range import ValueRange, find_stored_values

Progress = Callable[[int, int], None]
"""Called with the number of images checked and that of all images."""

READERS = 8  # threads: headers wait for the disk
CHUNK = 256  # records that a thread takes at once


def inconsistencies(records: Sequence[Record]) -> Iterator[Problem]:
    """Yield images listed twice, masks of two images, and files that are image and mask at once."""
    images: dict[str, list[str]] = {}  # with the rows that name them, if there are any
    masks: dict[str, list[str]] = {}
    for record in records:
        images.setdefault(record.image, []).append(record.origin)
        for mask in record.masks:
            masks.setdefault(mask, []).append(record.origin)
    for image, origins in images.items():
        if len(origins) > 1:
            yield Problem("listed twice", image, _joined(origins))
    for mask, origins in masks.items():
        if len(origins) > 1:
            yield Problem("mask of two images", mask, _joined(origins))
    for path in images.keys() & masks.keys():
        yield Problem("both image and mask", path, "")


def _joined(origins: Sequence[str]) -> str:
    return ", ".join(filter(None, origins))


def file_problems(
    records: Sequence[Record], root: Path, progress: Progress | None = None
) -> list[list[Problem]]:
    """Return the problems in the files of each record; see ``check_files``."""
    checker = PathChecker(root)
    problems: list[list[Problem]] = []

    def check(chunk: Sequence[Record]) -> list[list[Problem]]:
        return [list(check_files(record, checker)) for record in chunk]

    starts = range(0, len(records), CHUNK)
    chunks = [records[start : start + CHUNK] for start in starts]
    with ThreadPoolExecutor(READERS) as pool:
        for chunk_problems in pool.map(check, chunks):
            for record_problems in chunk_problems:
                problems.append(record_problems)
                if progress is not None:
                    progress(len(problems), len(records))
    return problems


def check_files(record: Record, checker: PathChecker) -> Iterator[Problem]:
    """Yield files that are missing, leave the root, are unreadable, or differ in size.

    Also yields an image whose published label cannot be told for want of a mask.
    """
    if record.label_problem:
        yield Problem("label unknown", record.image, record.label_problem)
    sizes: dict[str, tuple[int, int]] = {}
    for name in (record.image, *record.masks):
        _, path, problem = checker.resolve(name)
        if problem:
            yield Problem(problem, name, record.origin)
            continue
        try:
            sizes[name] = read_image_size(path)
        except UnreadableImageError as error:
            yield Problem("unreadable", name, _joined((str(error.__cause__), record.origin)))
    image_size = sizes.get(record.image)
    if image_size is None:
        return
    for mask in record.masks:
        mask_size = sizes.get(mask, image_size)
        if mask_size != image_size:
            detail = size_difference(Path(record.image), image_size, Path(mask), mask_size)
            yield Problem("sizes differ", mask, _joined((detail, record.origin)))


def defect_masks(records: Sequence[Record]) -> list[str]:
    """Return every mask of defective images."""
    masks: list[str] = []
    for record in records:
        if record.is_anomalous:
            masks += record.masks
    return masks


def choose_threshold(
    records: Sequence[Record], root: Path, threshold: int, is_fixed: bool
) -> tuple[int, list[str]]:
    """Look at all masks and return their rule, with the remarks about it.

    Headers were sound; a mask that cannot be decoded all the same is a remark of its own.

    Args:
        records: Their masks are read.
        root: Folder of the files.
        threshold: The rule of the layout or of the user (0-255).
        is_fixed: The rule is a fact, not a guess: it stays, whatever the masks hold.
    """
    names = defect_masks(records)
    facts, remarks = survey_masks(root, names, threshold)
    found = threshold if is_fixed else find_threshold(facts, threshold)
    if found != threshold:
        remarks.append(rule_note(facts, found))
        facts, _ = survey_masks(root, names, found)
    remarks += level_remarks(facts, found)
    return found, remarks


def find_value_ranges(
    records: Sequence[Record], root: Path
) -> tuple[dict[str, ValueRange], list[str]]:
    """Return image → values shown as black and as white, and the note about them.

    The range is one for all images with more than 8 bits; there is none where they use 16.
    """
    images = {root / record.image: record.image for record in records}
    stored = find_stored_values(list(images))
    if stored is None or stored.is_usual:
        return {}, []
    ranges = {images[path]: stored.range for path in stored.files}
    note = f"{stored.describe()} (kept in the index; others: dataset.value_range=[LOW,HIGH])"
    return ranges, [note]
