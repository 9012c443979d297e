"""Layout of a user's own images: folders ``good/`` and ``bad/``, masks beside them or apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zsad.data.image_files import natural_key
from zsad.data.layouts import Layout, find_layout
from zsad.data.prepare.archives import STAMP_FILE
from zsad.data.prepare.folder_labels import (
    ANOMALOUS,
    NORMAL,
    FolderLabel,
    FolderLabels,
    ImageLocation,
)
from zsad.data.sources import Record, Tree, split_suffix

HIDDEN = (".", "__MACOSX")  # dot-files and the remains of macOS archives
MASK_FOLDERS = ("masks", "mask", "ground_truth", "ground truth", "groundtruth", "gt")
MASK_SUFFIXES = ("_mask", "-mask", "_masks", "_gt", "_label")


@dataclass(frozen=True)
class UserImages(Layout):
    """A layout that is read whatever the folders are; its source reports missing labels."""

    def scan(self, root: Path) -> Tree:
        """List the images of a folder; an archive's single top folder is taken for the folder."""
        base = ""
        if (root / STAMP_FILE).exists():
            visible = [path for path in root.iterdir() if not path.name.startswith(HIDDEN)]
            if len(visible) == 1 and visible[0].is_dir():
                base = f"{visible[0].name}/"
        return Tree.scan(root, base)

    def is_published(self, records: Iterable[Record]) -> bool:  # noqa: ARG002 - whatever they are
        """Return ``False``: no published list says that something is missing."""
        return False

    def with_names(self, normal: tuple[str, ...] = (), mask_suffix: str | None = None) -> Layout:
        """Return a copy that reads other names for normal folders and masks."""
        suffixes = MASK_SUFFIXES if mask_suffix is None else (mask_suffix,)
        return replace(self, sources=(UserFolders(normal or NORMAL, suffixes),))


@dataclass(frozen=True)
class UserFolders:
    """Samples labelled by the name of a folder.

    Labels are ``good/``, ``bad/``, ``bad/KIND/``, or ``KIND/`` beside ``good/``. Folders above the
    label are the category, but for those that name a phase (``train``, ``test``). Masks lie below
    ``masks/`` or ``ground_truth/`` in the folders of their images or fewer of them, or beside the
    image with a suffix such as ``_mask``.

    Attributes:
        normal: Names of normal folders.
        mask_suffixes: Suffixes of mask names.
    """

    normal: tuple[str, ...] = NORMAL
    mask_suffixes: tuple[str, ...] = MASK_SUFFIXES

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a tree.

        Raises:
            ValueError: No folder is named after a label, or no mask is named after an image.
        """
        masks = MaskFiles(tree, self.mask_suffixes)
        files = [file for file in tree.files if file not in masks.files]
        images = list(map(ImageLocation.from_path, files))
        labels = FolderLabels(images, self.normal)
        records: list[Record] = []
        for image in images:
            label = labels.find(image)
            if label is not None:
                records.append(_record(image, label, masks))
        if not records:
            raise ValueError(
                f"{tree.path('')} holds {len(images)} images, none in a folder {self.normal[0]}/ "
                f"or {ANOMALOUS[0]}/. Sort them into such folders (kinds of defect into folders "
                f"of {ANOMALOUS[0]}/), or list them with --table; zsad predict needs no labels"
            )
        masks.require_pairs(tree, records)
        yield from records


def _record(image: ImageLocation, label: FolderLabel, masks: MaskFiles) -> Record:
    category = image.folders[: label.depth]
    label_folder = image.folders[label.depth]
    kinds = image.folders[label.depth + 1 :]
    own_masks: tuple[str, ...] = ()
    defect = "good"
    if label.is_anomalous:
        own_masks = masks.find(image, category, label_folder, kinds)
        defect = "_".join(kinds) or label_folder
    return Record(
        phase=image.phase or "test",
        category="_".join(category),
        image=masks.base + image.file,
        masks=own_masks,
        defect=defect,
        is_anomalous=label.is_anomalous,
    )


class MaskFiles:
    """Masks of a tree, by the folders that they share with their images, and their stem.

    Args:
        tree: Images and masks.
        suffixes: Suffixes of mask names.
    """

    def __init__(self, tree: Tree, suffixes: Sequence[str]) -> None:
        self.base = tree.base
        self._suffixes = tuple(suffix for suffix in suffixes if suffix)
        stems = {split_suffix(file)[0] for file in tree.files}
        self.files: set[str] = set()
        self._by_key: dict[tuple[str, ...], list[ImageLocation]] = {}
        for file in tree.files:
            if not self._is_mask(file, stems):
                continue
            self.files.add(file)
            mask = ImageLocation.from_path(file, without=MASK_FOLDERS)
            key = (*mask.folders, self._without_suffix(mask.stem))
            self._by_key.setdefault(key, []).append(mask)

    def find(
        self, image: ImageLocation, category: tuple[str, ...], label: str, kinds: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the mask of an image that shares most of its folders, or none.

        Raises:
            ValueError: Two masks share as many of them.
        """
        shared_folders = (
            (*category, label, *kinds),
            (*category, *kinds),
            (*category, label),
            category,
        )
        phases = ("", image.phase or "test")
        for folders in shared_folders:
            candidates = self._by_key.get((*folders, image.stem), [])
            masks = [mask.file for mask in candidates if mask.phase in phases]
            if len(masks) > 1:
                names = ", ".join(masks)
                raise ValueError(
                    f"{image.file} has more than one mask of its name: {names}. Keep one."
                )
            if masks:
                return (self.base + masks[0],)
        return ()

    def require_pairs(self, tree: Tree, records: Sequence[Record]) -> None:
        """Raise if there are masks, none of them named after an image: all would be left out."""
        has_anomalous = any(record.is_anomalous for record in records)
        has_pairs = any(record.masks for record in records)
        if has_pairs or not (self.files and has_anomalous):
            return
        first = min(self.files, key=natural_key)
        raise ValueError(
            f"{tree.path('')} holds {len(self.files)} masks such as {first}, none of them named "
            f"after a defective image; try --mask-suffix with the ending after the image's name"
        )

    def _is_mask(self, file: str, stems: set[str]) -> bool:
        """Tell a mask by its folder, or by a suffix beside an image of the same stem."""
        *folders, _ = file.split("/")
        if any(folder.lower() in MASK_FOLDERS for folder in folders):
            return True
        stem = split_suffix(file)[0]
        for suffix in self._suffixes:
            if stem.endswith(suffix) and stem.removesuffix(suffix) in stems:
                return True
        return False

    def _without_suffix(self, stem: str) -> str:
        for suffix in self._suffixes:
            if stem.endswith(suffix):
                return stem.removesuffix(suffix)
        return stem


USER_FOLDER = UserImages(
    title="images of your own",
    homepage="",
    licence="yours",
    sources=(UserFolders(),),
    mask_threshold=127,
    group="own",
    instructions=(
        "put good images into ROOT/good and defective ones into ROOT/bad (kinds of defect in "
        "folders below it), and masks of the same names into ROOT/masks, if there are any: zsad "
        "prepare folder ROOT --name NAME; or list them: zsad prepare folder ROOT --name NAME "
        "--table labels.csv"
    ),
)
USER_LAYOUTS: dict[str, Layout] = {"folder": USER_FOLDER}


def resolve_layout(name: str) -> Layout:
    """Return the layout of a user's images (``folder``) or of a published download."""
    return USER_LAYOUTS[name] if name in USER_LAYOUTS else find_layout(name)
