"""What a download lacks: categories, images, masks; all of it, folder by folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from zsad.data.index import Problem
from zsad.data.layouts import Layout
from zsad.data.sources import Folders, Record, Tree, split_suffix

SHOWN_NAMES = 5


def missing_masks(layout: Layout, records: Sequence[Record]) -> list[Problem]:
    """Return the anomalous images without the masks that the download publishes; one problem for a whole folder.

    Somebody's own images in a published layout may do without any.
    """
    anomalous = [record for record in records if record.is_anomalous and record.expects_mask]
    if not any(record.masks for record in anomalous) and not layout.is_published(records):
        return []
    images = Counter(_folder(record.image) for record in anomalous)
    bare = Counter(_folder(record.image) for record in anomalous if not record.masks)
    whole = {folder: count for folder, count in bare.items() if count == images[folder] > 1}
    single = [
        record.image
        for record in anomalous
        if not record.masks and _folder(record.image) not in whole
    ]
    return [
        *(
            Problem("no mask at all", folder, f"{count} anomalous images")
            for folder, count in whole.items()
        ),
        *(Problem("no mask", image, "") for image in single),
    ]


def completeness_notes(layout: Layout, tree: Tree, records: Sequence[Record]) -> list[str]:
    """Return what a published download seems to lack, as sentences that stop nothing: parts of it are useful too."""
    sentences = list(_masks_without_image(layout, tree))
    unlabelled = sum(record.is_anomalous is None for record in records)
    if unlabelled:
        sentences.append(
            f"{unlabelled} images have no published label: they can be predicted, not tested"
        )
    if not layout.is_published(records):
        return sentences
    found = {record.category for record in records}
    absent = [category for category in layout.categories if category not in found]
    if absent:
        sentences.append(f"no images of {', '.join(absent)}")
    if layout.images is not None and layout.images != len(records):
        sentences.append(
            f"{len(records)} images, but {layout.title} is published with {layout.images}"
        )
    return sentences


def _masks_without_image(layout: Layout, tree: Tree) -> Iterator[str]:
    folders: dict[str, list[str]] = {}
    for source in layout.sources:
        for mask in source.masks_without_image(tree) if isinstance(source, Folders) else ():
            folders.setdefault(_folder(tree.base + mask), []).append(
                split_suffix(mask.rpartition("/")[2])[0]
            )
    for folder, stems in folders.items():
        yield f"{folder} has masks without an image: {_listed(stems)}"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
