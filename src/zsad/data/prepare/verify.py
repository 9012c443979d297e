"""Check an index against the disk again, down to the pixels, and report every problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from zsad.data.decoding import UnreadableImageError, load_image
from zsad.data.image_files import IMAGE_SUFFIXES
from zsad.data.index import index_phases
from zsad.data.index_entries import Problem, check_entries, referenced_files
from zsad.data.layouts import LAYOUTS
from zsad.data.locations import find_index, find_root
from zsad.data.masks import load_mask, size_difference
from zsad.data.path_check import PathChecker
from zsad.data.prepare.mask_survey import (
    MANY_VALUES,
    MaskFacts,
    read_mask_facts,
    share_remarks,
    side_remarks,
)
from zsad.data.prepare.record_checks import READERS, Progress
from zsad.data.sources import split_suffix
from zsad.data.value_range import ValueRange, find_stored_values
from zsad.types import Sample


@dataclass
class Verification:
    """Result of ``verify``.

    Attributes:
        index: The index file.
        root: Folder of its images.
        images: Number of images per phase.
        problems: Mistakes in index or files.
        notes: Oddities of the data that are no mistakes of the index: empty masks, unlisted files.
    """

    index: Path
    root: Path
    images: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[str]:
        """Count how often each kind of problem or note occurs."""
        kinds: Counter[str] = Counter()
        for problem in self.problems + self.notes:
            kinds[problem.kind] += 1
        return kinds

    def __str__(self) -> str:
        """Return every problem, every note, and the numbers of both."""
        lines: list[str] = []
        for problem in self.problems:
            lines.append(f"problem: {problem}")
        for note in self.notes:
            lines.append(f"note: {note}")
        counts = [f"{count} in {phase}" for phase, count in self.images.items()]
        checked = ", ".join(counts)
        lines.append(
            f"{self.index}: {len(self.problems)} problems, {len(self.notes)} notes; "
            f"images: {checked}"
        )
        return "\n".join(lines)


@dataclass
class _PixelCheck:
    """Findings in the pixels of one image and its masks."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    masks: list[MaskFacts] = field(default_factory=list)


def verify(
    name: str,
    root: str | Path | None = None,
    *,
    data_json: Path = Path("data_json"),
    mask_threshold: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Decode every image and mask of an index and report all that does not fit.

    Args:
        name: Dataset name.
        root: Folder of the images; found as for a run where ``None``.
        data_json: Folder of the indexes.
        mask_threshold: The dataset's mask rule; that of the layout of the same name where ``None``.
        progress: Called after every image.
    """
    index = find_index(name, data_json, LAYOUTS)
    if mask_threshold is None:
        mask_threshold = LAYOUTS[name].mask_threshold if name in LAYOUTS else 0
    checker = PathChecker(find_root(name, root, data_json))
    report = Verification(index, Path(checker.root))
    samples: list[Sample] = []
    named: set[str] = set()
    for phase, entries in index_phases(index).items():
        phase_samples, problems = check_entries(entries, checker)
        report.images[phase] = len(phase_samples)
        report.problems += problems
        samples += phase_samples
        named |= referenced_files(entries, checker)
    report.problems += _in_two_phases(samples)
    with ThreadPoolExecutor(READERS) as pool:  # Pillow decodes outside of Python's lock
        checks = pool.map(partial(_check_pixels, threshold=mask_threshold), samples)
        facts: list[MaskFacts] = []
        for done, check in enumerate(checks, start=1):
            report.problems += check.problems
            report.notes += check.notes
            facts += check.masks
            if progress is not None:
                progress(done, len(samples))
    report.notes += _mask_notes(facts, mask_threshold, report.root)
    report.notes += _range_notes(samples)
    report.notes += _unlisted(samples, named, checker)
    return report


def _in_two_phases(samples: Sequence[Sample]) -> list[Problem]:
    counts = Counter(sample.image_path for sample in samples)
    problems: list[Problem] = []
    for path, count in counts.items():
        if count > 1:
            problems.append(Problem("in two phases", str(path), ""))
    return problems


def _check_pixels(sample: Sample, threshold: int) -> _PixelCheck:
    """Return the problems and the notes that decoding an image and its masks brings to light."""
    image = str(sample.image_path)
    masks: list[Path] = []
    if sample.mask_path is not None:
        masks = [sample.mask_path, *sample.more_masks]
    try:
        size = load_image(sample.image_path, value_range=sample.value_range).size
        mask = load_mask(masks, threshold) if masks else None
    except UnreadableImageError as error:
        return _PixelCheck([Problem("unreadable", image, str(error))])
    except ValueError as error:
        return _PixelCheck([Problem("unusable", image, str(error))])
    check = _PixelCheck()
    if mask is None:
        if sample.is_anomalous:
            check.notes.append(Problem("no mask", image, "its pixels count nowhere"))
        return check
    if mask.size != size:
        detail = size_difference(sample.image_path, size, masks[0], mask.size)
        check.problems.append(Problem("sizes differ", str(masks[0]), detail))
    is_empty = mask.getextrema() == (0, 0)
    if sample.is_anomalous:
        check.masks += [read_mask_facts(path, str(path), threshold) for path in masks]
        check.notes += _mask_oddities(sample, check.masks, is_empty, threshold)
    elif not is_empty:
        detail = "it is read as empty"
        check.notes.append(Problem("mask of a normal image is not empty", str(masks[0]), detail))
    return check


def _mask_oddities(
    sample: Sample, masks: Sequence[MaskFacts], is_empty: bool, threshold: int
) -> Iterator[Problem]:
    """Yield oddities of the masks of one defective image whose files are sound."""
    first = masks[0].path
    largest = max(mask.largest for mask in masks)
    if is_empty and largest > 0:
        detail = f"its largest value is {largest:.4g}, mask_threshold is {threshold}: lower it?"
        yield Problem("mask without a value above the threshold", first, detail)
    elif is_empty:
        detail = f"category {sample.category}, {sample.defect}"
        yield Problem("empty mask of an anomalous image", first, detail)
    distinct = max(mask.distinct for mask in masks)
    if threshold == 0 and distinct > MANY_VALUES:
        detail = f"{distinct} grey values: with mask_threshold=0 every soft edge is a defect; 127?"
        yield Problem("mask with soft edges", first, detail)


def _mask_notes(facts: Sequence[MaskFacts], threshold: int, root: Path) -> Iterator[Problem]:
    """Yield the notes about the masks of all defective images together."""
    partly_above = [mask for mask in facts if mask.largest > threshold]
    for remark in side_remarks(partly_above, threshold):
        yield Problem("masks with values on both sides of the threshold", str(root), remark)
    for remark in share_remarks(facts):
        yield Problem("masks that mark most of their images", str(root), remark)


def _range_notes(samples: Sequence[Sample]) -> Iterator[Problem]:
    """Yield the notes about values that use a small part of 16 bits, or lie outside of a range."""
    unranged = [sample.image_path for sample in samples if sample.value_range is None]
    stored = find_stored_values(unranged)
    if stored is not None and not stored.is_usual:
        low, high = stored.range
        detail = (
            f"{len(stored.files)} images with values from {stored.low:.6g} to {stored.high:.6g} "
            f"of 16 bits: prepare again, or dataset.value_range=[{low:.6g},{high:.6g}]"
        )
        yield Problem("values that use a part of their bits", str(stored.files[0]), detail)
    by_range: dict[ValueRange, list[Path]] = {}
    for sample in samples:
        if sample.value_range is not None:
            by_range.setdefault(sample.value_range, []).append(sample.image_path)
    for (low, high), paths in by_range.items():
        stored = find_stored_values(paths)
        if stored is not None and (stored.low < low or stored.high > high):
            detail = (
                f"{len(paths)} images with values from {stored.low:.6g} to {stored.high:.6g}, "
                f"value_range is {low:.6g} to {high:.6g}: prepare again"
            )
            yield Problem("values outside of their range", str(paths[0]), detail)


def _unlisted(
    samples: Sequence[Sample], named: set[str], checker: PathChecker
) -> Iterator[Problem]:
    """Yield images that lie beside listed ones but are in no phase."""
    root = Path(checker.root)
    parents = {sample.image_path.parent for sample in samples}
    folders = [parent.relative_to(root).as_posix() for parent in parents]
    for folder in sorted(folders):
        for name in checker.files(folder):
            path = name if folder == "." else f"{folder}/{name}"
            is_image = split_suffix(name)[1].lower() in IMAGE_SUFFIXES
            if is_image and path not in named:
                yield Problem("not in the index", str(root / path), "")
