"""Missing parts of a download: categories, images and masks, folder by folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zsad.data.index_entries import Problem
from zsad.data.layouts import Layout
from zsad.data.sources import Folders, Record, Tree, split_suffix

SHOWN_NAMES = 5


def missing_masks(layout: Layout, records: Sequence[Record]) -> list[Problem]:
    """Return anomalous images without the mask that the download publishes.

    A folder without any mask is a single problem. A user's own images in a published layout may do
    without any.
    """
    images: list[str] = []
    unmasked: list[str] = []
    for record in records:
        if not record.is_anomalous or not record.expects_mask:
            continue
        images.append(record.image)
        if not record.masks:
            unmasked.append(record.image)
    if unmasked == images and not layout.is_published(records):
        return []
    images_in = Counter(map(_folder, images))
    whole_folders: dict[str, Problem] = {}
    for folder, count in Counter(map(_folder, unmasked)).items():
        if count == images_in[folder] > 1:
            detail = f"{count} anomalous images"
            whole_folders[folder] = Problem("no mask at all", folder, detail)
    problems = list(whole_folders.values())
    for image in unmasked:
        if _folder(image) not in whole_folders:
            problems.append(Problem("no mask", image, ""))
    return problems


def require_named_masks(records: Sequence[Record], row: Layout, tree: Tree) -> None:
    """Refuse files of other names where masks belong: all of them would be left out.

    Raises:
        ValueError: No anomalous image has a mask, though there are such files.
    """
    has_anomalous = False
    for record in records:
        if record.is_anomalous and record.masks:
            return
        has_anomalous = has_anomalous or bool(record.is_anomalous)
    if not has_anomalous:
        return
    for source in row.sources:
        if not isinstance(source, Folders):
            continue
        files = source.mask_files(tree)
        if files:
            raise ValueError(_misnamed_masks_text(source, files, tree))


def _misnamed_masks_text(source: Folders, files: Sequence[str], tree: Tree) -> str:
    folder, _, name = (source.mask or "").rpartition("/")
    expected = split_suffix(name.replace("<mask_suffix>", source.mask_suffix))[0]
    suffix = "''" if source.mask_suffix else "_mask"
    return (
        f"{tree.path('')}: {folder} holds {len(files)} files such as {files[0]}, none named "
        f"{expected} after its image; try --mask-suffix {suffix}, or whatever follows <stem> "
        f"there (--allow-missing-masks does without them)"
    )


def completeness_notes(layout: Layout, tree: Tree, records: Sequence[Record]) -> list[str]:
    """Return the parts that a published download lacks, a sentence each.

    They stop nothing: a part of a dataset is useful, too.
    """
    notes = _masks_without_image(layout, tree)
    unlabelled = sum(record.is_anomalous is None for record in records)
    if unlabelled:
        notes.append(
            f"{unlabelled} images have no published label: they can be predicted, not tested"
        )
    if not layout.is_published(records):
        return notes
    found = {record.category for record in records}
    absent = [category for category in layout.categories if category not in found]
    if absent:
        notes.append(f"no images of {', '.join(absent)}")
    if layout.images is not None and layout.images != len(records):
        notes.append(f"{len(records)} images, but {layout.title} is published with {layout.images}")
    return notes


def label_notes(records: Sequence[Record]) -> list[str]:
    """Return a sentence about tested images of one label alone: no image metric can be computed."""
    tested = [record for record in records if record.phase == "test"] or records
    labels = {record.is_anomalous for record in tested}
    if labels == {True}:
        missing = "normal"
    elif labels == {False}:
        missing = "anomalous"
    else:
        return []
    return [
        f"none of the {len(tested)} tested images is {missing}: image metrics and thresholds need "
        f"both labels"
    ]


def _masks_without_image(layout: Layout, tree: Tree) -> list[str]:
    stems_in: dict[str, list[str]] = {}
    for source in layout.sources:
        if not isinstance(source, Folders):
            continue
        for mask in source.masks_without_image(tree):
            folder, _, name = (tree.base + mask).rpartition("/")
            stems_in.setdefault(folder, []).append(split_suffix(name)[0])
    notes: list[str] = []
    for folder, stems in stems_in.items():
        notes.append(f"{folder} has masks without an image: {_shortened(stems)}")
    return notes


def _shortened(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    text = ", ".join(names[:SHOWN_NAMES])
    more = len(names) - SHOWN_NAMES
    return f"{text} and {more} more" if more > 0 else text


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
