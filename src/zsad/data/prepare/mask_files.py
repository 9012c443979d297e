"""Masks among a user's own images, and the images that they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from zsad.data.image_files import natural_key
from zsad.data.prepare.folder_labels import ImageLocation
from zsad.data.prepare.label_words import read_label
from zsad.data.prepare.mask_content import Content, contents
from zsad.data.sources import Record, Tree, split_suffix

MASK_FOLDERS = ("masks", "mask", "ground_truth", "ground truth", "groundtruth", "gt")
MASK_SUFFIXES = ("_mask", "-mask", "_masks", "_gt", "_label")
FILES_TRIED = 8  # of a folder, to see whether it holds photographs

Key = tuple[str, ...]


@dataclass(frozen=True)
class MaskNames:
    """Names by which masks are recognised.

    Attributes:
        suffixes: Endings of mask names.
        prefixes: Beginnings of mask names.
        folders: Folders of masks, in lower case.
        are_chosen: The user named suffix or prefix, so that content is not asked.
    """

    suffixes: tuple[str, ...] = MASK_SUFFIXES
    prefixes: tuple[str, ...] = ()
    folders: tuple[str, ...] = MASK_FOLDERS
    are_chosen: bool = False

    def image_stem(self, stem: str) -> str:
        """Return the stem of a mask's image; its own where it has neither suffix nor prefix."""
        for prefix in self.prefixes:
            if prefix and stem.lower().startswith(prefix.lower()):
                stem = stem[len(prefix) :]
                break
        for suffix in self.suffixes:
            if suffix and stem.lower().endswith(suffix.lower()):
                return stem[: -len(suffix)]
        return stem

    def folders_of(self, file: str) -> list[str]:
        """Return the mask folders above a file, in lower case."""
        lowered = file.lower().split("/")[:-1]
        return [folder for folder in lowered if folder in self.folders]


USUAL_MASK_NAMES = MaskNames()


class MaskFiles:
    """Masks of a tree, by the folders that they share with their images, and their stem.

    Below a folder of masks, the folder says that a file is a mask. A file beside an image of the
    same stem is one if it looks like one, or if the user named its suffix or prefix.

    Args:
        tree: Images and masks.
        names: Names of masks.

    Raises:
        ValueError: A file beside an image may be its mask or another image.
    """

    def __init__(self, tree: Tree, names: MaskNames) -> None:
        self.base = tree.base
        self.names = names
        in_folders = [file for file in tree.files if names.folders_of(file)]
        self.files: set[str] = {*in_folders, *_masks_beside(tree, names)}
        images = [file for file in tree.files if file not in self.files]
        self.images = [ImageLocation.from_path(file) for file in images]
        image_stems = {image.stem for image in self.images}
        self._by_key: dict[Key, list[ImageLocation]] = {}
        self._by_folded_key: dict[Key, list[ImageLocation]] = {}
        for file in tree.files:
            if file not in self.files:
                continue
            mask = ImageLocation.from_path(file, without=names.folders)
            # A photograph may itself be called x_label: then its mask is, too.
            stem = mask.stem if mask.stem in image_stems else names.image_stem(mask.stem)
            key = (*mask.folders, stem)
            self._by_key.setdefault(key, []).append(mask)
            self._by_folded_key.setdefault(_folded(key), []).append(mask)
        self._images_of_folded = Counter(
            (image.phase, *_folded((*image.folders, image.stem))) for image in self.images
        )

    def find(
        self, image: ImageLocation, category: tuple[str, ...], label: str, kinds: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the mask of an image that shares most of its folders, or none.

        A mask whose name differs in case alone is taken where no other image differs likewise.

        Raises:
            ValueError: Two masks share as many of them.
        """
        shared_folders = (
            (*category, label, *kinds),
            (*category, *kinds),
            (*category, label),
            category,
        )
        keys = [(*folders, image.stem) for folders in shared_folders]
        mask = _first_mask(image, keys, self._by_key)
        is_only_one = self._images_of_folded[image.phase, *_folded((*image.folders, image.stem))]
        if mask is None and is_only_one == 1:
            mask = _first_mask(image, [_folded(key) for key in keys], self._by_folded_key)
        return () if mask is None else (self.base + mask.file,)

    def folders_of_photographs(self, tree: Tree, records: Sequence[Record]) -> set[str]:
        """Return names of mask folders that are categories: photographs, sorted into normal ones.

        A product may be called ``mask``. A folder with a single mask of an image is none.
        """
        paired: set[str] = set()
        for record in records:
            paired.update(record.masks)
        files: dict[str, list[str]] = {}
        for file in self.files:
            folders = self.names.folders_of(file)
            if len(folders) == 1:
                files.setdefault(folders[0], []).append(file)
        found: set[str] = set()
        for folder, inside in files.items():
            if any(self.base + file in paired for file in inside):
                continue
            if any(_is_in_normal_folder(file) for file in inside):
                stride = max(1, len(inside) // FILES_TRIED)
                tried = contents(tree.path(file) for file in sorted(inside)[::stride])
                if all(content is Content.PHOTOGRAPH for content in tried):
                    found.add(folder)
        return found

    def require_pairs(self, tree: Tree, records: Sequence[Record]) -> None:
        """Raise if there are masks, none of them named after an image: all would be left out."""
        anomalous = [record for record in records if record.is_anomalous]
        has_pairs = any(record.masks for record in records)
        if has_pairs or not (self.files and anomalous):
            return
        masks = sorted(self.files, key=natural_key)
        raise ValueError(
            f"{tree.path('')} holds {len(masks)} masks such as {masks[0]}, none of them named "
            f"after a defective image; {self._advice(masks, anomalous)}"
        )

    def _advice(self, masks: Sequence[str], anomalous: Sequence[Record]) -> str:
        """Return the option that pairs the first mask, as its name differs from an image's."""
        stems: set[str] = set()
        for record in anomalous:
            stems.add(_stem(record.image).lower())
        for mask in masks:
            stem = _stem(mask)
            image_stem = self.names.image_stem(stem).lower()
            if image_stem in stems:
                return (
                    f"{mask} has the name of an image, but lies in other folders: below the "
                    f"folder of masks, use the folders of the images"
                )
            for length in range(len(stem) - 1, 0, -1):
                if stem[-length:].lower() in stems:
                    return f"--mask-prefix {_quoted(stem[:-length])} says what stands before it"
                if stem[:length].lower() in stems:
                    return f"--mask-suffix {_quoted(stem[length:])} says what stands after it"
        return "try --mask-suffix or --mask-prefix with what stands after or before its name"


def _masks_beside(tree: Tree, names: MaskNames) -> list[str]:
    """Return the masks that lie beside their images."""
    stems = {split_suffix(file)[0].lower() for file in tree.files}
    candidates: list[str] = []
    for file in tree.files:
        folder, slash, _ = file.rpartition("/")
        stem = _stem(file)
        image_stem = names.image_stem(stem)
        has_image = f"{folder}{slash}{image_stem}".lower() in stems
        if has_image and image_stem != stem and not names.folders_of(file):
            candidates.append(file)
    if names.are_chosen:
        return candidates
    masks: list[str] = []
    kinds = contents(tree.path(file) for file in candidates)
    for file, kind in zip(candidates, kinds, strict=True):
        if kind is Content.UNCLEAR:
            raise ValueError(_question(file, names))
        if kind is Content.MASK:
            masks.append(file)
    return masks


def _question(file: str, names: MaskNames) -> str:
    stem = _stem(file)
    suffix = stem.removeprefix(names.image_stem(stem))
    return (
        f"{file} may be a mask of the image beside it, or an image of its own: its pixels are "
        f"neither those of a mask nor of a photograph. --mask-suffix {_quoted(suffix)} says that "
        f"such files are masks, --mask-suffix '' that they are images"
    )


def _first_mask(
    image: ImageLocation, keys: Sequence[Key], masks_by_key: dict[Key, list[ImageLocation]]
) -> ImageLocation | None:
    phases = ("", image.phase or "test")
    for key in keys:
        candidates = masks_by_key.get(key, [])
        masks = [mask for mask in candidates if mask.phase in phases]
        if len(masks) > 1:
            names = ", ".join(mask.file for mask in masks)
            raise ValueError(f"{image.file} has more than one mask of its name: {names}. Keep one.")
        if masks:
            return masks[0]
    return None


def _is_in_normal_folder(file: str) -> bool:
    return any(read_label(folder) is False for folder in file.split("/")[:-1])


def _folded(key: Key) -> Key:
    return tuple(part.casefold() for part in key)


def _stem(file: str) -> str:
    return split_suffix(file.rpartition("/")[2])[0]


def _quoted(text: str) -> str:
    """Return an argument of the command line, quoted where the shell would cut it."""
    is_plain = bool(text) and all(char.isalnum() or char in "_-." for char in text)
    return text if is_plain else f"'{text}'"
