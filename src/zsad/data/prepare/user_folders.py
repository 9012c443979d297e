"""Layout of a user's own images: folders ``good/`` and ``bad/``, masks beside them or apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zsad.data.layouts import Layout, find_layout
from zsad.data.prepare.archives import STAMP_FILE
from zsad.data.prepare.folder_labels import FolderLabel, FolderLabels, ImageLocation
from zsad.data.prepare.label_words import ANOMALOUS, NORMAL
from zsad.data.prepare.mask_files import USUAL_MASK_NAMES, MaskFiles, MaskNames
from zsad.data.sources import Record, Tree

SHOWN_LINKS = 5
HIDDEN = (".", "__MACOSX")  # dot-files and the remains of macOS archives


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

    def with_names(
        self,
        normal: tuple[str, ...] = (),
        mask_suffix: str | None = None,
        mask_prefix: str | None = None,
    ) -> Layout:
        """Return a copy that reads other names for normal folders and masks."""
        names = MaskNames(are_chosen=mask_suffix is not None or mask_prefix is not None)
        if mask_suffix is not None:
            names = replace(names, suffixes=(mask_suffix,))
        if mask_prefix is not None:
            names = replace(names, prefixes=(mask_prefix,))
        return replace(self, sources=(UserFolders(normal or NORMAL, names),))


@dataclass(frozen=True)
class UserFolders:
    """Samples labelled by the name of a folder.

    Labels are ``good/``, ``bad/``, ``bad/KIND/``, or ``KIND/`` beside ``good/``. Folders above the
    label are the category, but for those that name a phase (``train``, ``test``). Masks lie below
    ``masks/`` or ``ground_truth/`` in the folders of their images or fewer of them, or beside the
    image with a suffix such as ``_mask``.

    Attributes:
        normal: Names of normal folders.
        mask_names: Names of masks.
    """

    normal: tuple[str, ...] = NORMAL
    mask_names: MaskNames = USUAL_MASK_NAMES

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a tree.

        Raises:
            ValueError: No folder is named after a label, no image is normal though some have no
                label, or no mask is named after an image.
        """
        masks = MaskFiles(tree, self.mask_names)
        records, unlabelled = self._label(masks)
        categories = masks.folders_of_photographs(tree, records)
        if categories:
            folders = [folder for folder in self.mask_names.folders if folder not in categories]
            masks = MaskFiles(tree, replace(self.mask_names, folders=tuple(folders)))
            records, unlabelled = self._label(masks)
        if not records:
            raise ValueError(
                f"{tree.path('')} holds {len(masks.images)} images, none in a folder "
                f"{self.normal[0]}/ or {ANOMALOUS[0]}/. Sort them into such folders (kinds of "
                f"defect into folders of {ANOMALOUS[0]}/), or list them with --table; zsad "
                f"predict needs no labels{_links_text(tree)}"
            )
        _require_normal(tree, records, unlabelled)
        masks.require_pairs(tree, records)
        yield from records

    def _label(self, masks: MaskFiles) -> tuple[list[Record], list[ImageLocation]]:
        """Return the samples, and the images whose folders name no label."""
        labels = FolderLabels(masks.images, self.normal)
        records: list[Record] = []
        unlabelled: list[ImageLocation] = []
        folders_of: dict[str, tuple[str, ...]] = {}
        for image in masks.images:
            label = labels.find(image)
            if label is None:
                unlabelled.append(image)
                continue
            record = _record(image, label, masks)
            folders = image.folders[: label.depth]
            known = folders_of.setdefault(record.category, folders)
            if known != folders:
                raise ValueError(
                    f"{'/'.join(known)} and {'/'.join(folders)} would both be the category "
                    f"{record.category}: rename a folder"
                )
            records.append(record)
        return records, unlabelled


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


def _links_text(tree: Tree) -> str:
    """Return a sentence about links to folders, which are not followed; empty without any."""
    if not tree.linked_folders:
        return ""
    links = ", ".join(tree.linked_folders[:SHOWN_LINKS])
    return (
        f". Links to folders are not followed: {links}. Name the folder that such a link leads to "
        f"as ROOT, or mount or copy the folders here"
    )


def _require_normal(
    tree: Tree, records: Sequence[Record], unlabelled: Sequence[ImageLocation]
) -> None:
    """Raise if no image is normal, though some have no label: their folder may say so.

    Raises:
        ValueError: The message names the folder.
    """
    has_normal = any(not record.is_anomalous for record in records)
    if has_normal or not unlabelled:
        return
    first = unlabelled[0]
    folder = first.folders[-1] if first.folders else "FOLDER"
    raise ValueError(
        f"{tree.path('')} holds {len(records)} defective images and no good one, and "
        f"{len(unlabelled)} in no folder of a known name, such as {first.file}. Are these good? "
        f'--normal "{folder}" says so; otherwise put them elsewhere'
    )


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
USER_FOLDER_NAME = "folder"
USER_LAYOUTS: dict[str, Layout] = {USER_FOLDER_NAME: USER_FOLDER}


def resolve_layout(name: str) -> Layout:
    """Return the layout of a user's images (``folder``) or of a published download."""
    return USER_LAYOUTS[name] if name in USER_LAYOUTS else find_layout(name)
