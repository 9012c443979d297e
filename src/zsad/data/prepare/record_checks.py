"""What is wrong with the samples of a download, as far as names and file headers tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zsad.data.images import UnreadableImageError, mask_values, size_difference
from zsad.data.index import Problem
from zsad.data.path_check import Disk
from zsad.data.prepare.image_headers import read_image_size
from zsad.data.sources import Record

Progress = Callable[[int, int], None]  # (images done, images in all)

READERS = 8  # threads: headers wait for the disk
CHUNK = 256  # records that a thread takes at once
MASKS_TRIED = 8


def inconsistencies(records: Sequence[Record]) -> Iterator[Problem]:
    """Yield images listed twice, masks that two images share, and files that are image and mask at once."""
    images = Counter(record.image for record in records)
    masks = Counter(mask for record in records for mask in record.masks)
    yield from (Problem("listed twice", image, "") for image, count in images.items() if count > 1)
    yield from (
        Problem("mask of two images", mask, "") for mask, count in masks.items() if count > 1
    )
    yield from (Problem("both image and mask", path, "") for path in images.keys() & masks.keys())


def file_problems(
    records: Sequence[Record], root: Path, progress: Progress | None = None
) -> list[list[Problem]]:
    """Return for each record what is wrong with its files; see ``check_files``."""
    disk = Disk(root)
    problems: list[list[Problem]] = []

    def check(part: Sequence[Record]) -> list[list[Problem]]:
        return [list(check_files(record, disk)) for record in part]

    chunks = [records[start : start + CHUNK] for start in range(0, len(records), CHUNK)]
    with ThreadPoolExecutor(READERS) as pool:
        for checked in pool.map(check, chunks):
            for each in checked:
                problems.append(each)
                if progress is not None:
                    progress(len(problems), len(records))
    return problems


def check_files(record: Record, disk: Disk) -> Iterator[Problem]:
    """Yield files that are missing, leave the root, cannot be opened, or differ in size from their image.

    Also images whose label, which is published, cannot be told for want of a mask.
    """
    if record.undecided:
        yield Problem("label unknown", record.image, record.undecided)
    sizes: dict[str, tuple[int, int]] = {}
    for name in (record.image, *record.masks):
        _, path, problem = disk.find(name)
        if problem:
            yield Problem(problem, name, "")
            continue
        try:
            sizes[name] = read_image_size(path)
        except UnreadableImageError as error:
            yield Problem("unreadable", name, str(error.__cause__))
    for mask in record.masks:
        if record.image in sizes and mask in sizes and sizes[record.image] != sizes[mask]:
            detail = size_difference(
                Path(record.image), sizes[record.image], Path(mask), sizes[mask]
            )
            yield Problem("sizes differ", mask, detail)


def threshold_remarks(records: Sequence[Record], root: Path, threshold: int) -> Iterator[str]:
    """Yield the remark that masks will be read as empty, if a few of them have values, but none above the threshold.

    Headers were sound; a mask that cannot be decoded all the same is a remark of its own.
    """
    masks = [record.masks[0] for record in records if record.is_anomalous and record.masks]
    tried = masks[:: max(1, len(masks) // MASKS_TRIED)][:MASKS_TRIED]
    largest = 0
    for mask in tried:
        try:
            largest = max(largest, int(mask_values(root / mask).max()))
        except UnreadableImageError as error:
            yield str(error)
    if 0 < largest <= threshold:
        yield (
            f"masks would be read as empty: in {len(tried)} of them the largest value is {largest}, but a defect is "
            f"what lies above {threshold}; prepare again with --mask-threshold 0"
        )
