"""Labels and phases that people give to images by the names of their folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zsad.data.prepare.label_words import ANOMALOUS, SHORT_ANOMALOUS, SHORT_NORMAL, normalise_word
from zsad.data.sources import split_suffix

PHASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class ImageLocation:
    """Location of an image or a mask, its phase taken out.

    Attributes:
        file: The file, relative to the base.
        phase: Of the index; empty where no folder names it.
        folders: The other folders above it, but for that of masks.
        stem: File name without extension.
    """

    file: str
    phase: str
    folders: tuple[str, ...]
    stem: str

    @classmethod
    def from_path(cls, file: str, without: Sequence[str] = ()) -> ImageLocation:
        """Take a path apart; folders named in ``without`` are left out."""
        *folders, name = file.split("/")
        phase = ""
        kept: list[str] = []
        for folder in folders:
            spelling = folder.lower()
            phase = phase or PHASES.get(spelling, "")
            if spelling not in PHASES and spelling not in without:
                kept.append(folder)
        return cls(file, phase, tuple(kept), split_suffix(name)[0])


@dataclass(frozen=True)
class FolderLabel:
    """Label of an image.

    Attributes:
        depth: Number of folders above the one that names the label.
        is_anomalous: The label itself.
    """

    depth: int
    is_anomalous: bool


class FolderLabels:
    """Finds the folder above an image that names its label.

    Short words (``0`` and ``1``, ``no`` and ``yes``) may as well be categories or numbers: they
    count only where no folder has a clear name, and folders of both meanings are there.

    Args:
        images: All images; kinds of defect are recognised by the normal folder beside them.
        normal: Names of normal folders.
    """

    def __init__(self, images: Sequence[ImageLocation], normal: Sequence[str]) -> None:
        self._names = _meanings(normal, ANOMALOUS)
        if not any(self._depth(image, 0) is not None for image in images):
            self._names = _short_meanings(images)
        self._start = self._first_level(images)
        self._normal_only = self._folders_of_normal_only(images)

    def find(self, location: ImageLocation) -> FolderLabel | None:
        """Return the label of an image; ``None`` where no folder names it."""
        depth = self._depth(location, self._start)
        if depth is not None:
            return FolderLabel(depth, self._meaning(location, depth))
        # Kinds of defect beside the normal folder, as in MVTec AD.
        for depth in range(len(location.folders)):
            if location.folders[:depth] in self._normal_only:
                return FolderLabel(depth, is_anomalous=True)
        return None

    def _first_level(self, images: Sequence[ImageLocation]) -> int:
        """Return the level from which folder names are labels.

        A folder around everything says nothing, though it be called ``defects/``.
        """
        common = _common_depth(images)
        is_labelled_below = any(self._depth(image, common) is not None for image in images)
        return common if is_labelled_below else 0

    def _depth(self, location: ImageLocation, start: int) -> int | None:
        """Return the level of the first folder from ``start`` on that names a label."""
        for depth in range(start, len(location.folders)):
            if normalise_word(location.folders[depth]) in self._names:
                return depth
        return None

    def _meaning(self, location: ImageLocation, depth: int) -> bool:
        return self._names[normalise_word(location.folders[depth])]

    def _folders_of_normal_only(self, images: Sequence[ImageLocation]) -> set[tuple[str, ...]]:
        """Return the folders that hold a folder of normal images, but none of anomalous images."""
        parents: dict[bool, set[tuple[str, ...]]] = {False: set(), True: set()}
        for image in images:
            depth = self._depth(image, self._start)
            if depth is not None:
                parents[self._meaning(image, depth)].add(image.folders[:depth])
        return parents[False] - parents[True]


def _meanings(normal: Iterable[str], anomalous: Iterable[str]) -> dict[str, bool]:
    """Return normalised word → whether it means anomalous; a normal word wins."""
    meanings = {normalise_word(word): True for word in anomalous}
    for word in normal:
        meanings[normalise_word(word)] = False
    return meanings


def _short_meanings(images: Sequence[ImageLocation]) -> dict[str, bool]:
    """Return the meanings of the short words, or none unless folders have both."""
    meanings = _meanings(SHORT_NORMAL, SHORT_ANOMALOUS)
    found: set[bool] = set()
    for image in images:
        words = map(normalise_word, image.folders)
        found.update(meanings[word] for word in words if word in meanings)
    return meanings if len(found) == 2 else {}


def _common_depth(images: Sequence[ImageLocation]) -> int:
    """Return how many leading folders all images share."""
    depth = 0
    # As deep as the shallowest image.
    for level in zip(*(image.folders for image in images), strict=False):
        if len(set(level)) > 1:
            break
        depth += 1
    return depth
