"""Samples found by path templates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from zsad.data.sources.mask_lookup import Fields, MaskLookup
from zsad.data.sources.record import Record
from zsad.data.sources.tree import Tree, template_pattern


class LabelRule(Enum):
    """The criterion that tells an anomalous image from a normal one."""

    FOLDER = "the name of its folder"
    MASK_FILE = "whether there is a mask of its name"
    MASK_PIXELS = "whether its mask has pixels that are not black"
    UNKNOWN = "nothing: the labels are not published"


class UnknownLabelError(ValueError):
    """The label of an image depends on a mask that is missing or unreadable."""


@dataclass(frozen=True)
class Folders:
    """Samples whose paths tell their label, category and mask.

    Attributes:
        image: Path template of the images; see ``template_pattern``. ``<phase>``, ``<category>``
            and ``<defect>`` are read from it unless they are given here.
        mask: Path template of their masks, sharing fields with the image's; ``<mask_suffix>`` is
            filled in. A field that images do not have stands for several files, to be united.
            ``None`` without masks.
        phase: Phase of all images; ``test`` where the download knows no split.
        phases: Names of ``<phase>`` in the index, where lower case does not suffice.
        category: Category of all images.
        defect: Kind of defect of all images.
        normal: Values of ``<defect>`` that mean "no defect"; such images get the defect ``good``.
        defects: If given, the only defect folders that count, with their names in the index.
        label: Criterion of anomalous images.
        mask_suffix: The end of mask names.
        other_mask_suffixes: Ends that are accepted where a mask with the first is missing.
        masks_of_normal: The download has (black) masks of normal images, too.
    """

    image: str
    mask: str | None = None
    phase: str = "test"
    phases: Mapping[str, str] = field(default_factory=dict)
    category: str = ""
    defect: str = ""
    normal: tuple[str, ...] = ("good",)
    defects: Mapping[str, str] = field(default_factory=dict)
    label: LabelRule = LabelRule.FOLDER
    mask_suffix: str = ""
    other_mask_suffixes: tuple[str, ...] = ()
    masks_of_normal: bool = False

    def with_names(
        self, normal: Iterable[str], mask_suffix: str | None, mask_prefix: str | None = None
    ) -> Folders:
        """Return a copy with another normal folder, and another end or beginning of mask names."""
        renamed = replace(self, normal=tuple(normal) or self.normal)
        if mask_prefix and self.mask is not None:
            folder, slash, name = self.mask.rpartition("/")
            renamed = replace(renamed, mask=f"{folder}{slash}{mask_prefix}{name}")
        if mask_suffix is None:
            return renamed
        return replace(renamed, mask_suffix=mask_suffix, other_mask_suffixes=())

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a tree. Each mask is looked up by name within its defect's folder.

        Raises:
            ValueError: Two masks of one name; folders without the masks that decide about labels,
                all named.
        """
        masks = self._masks(tree)
        records: list[Record] = []
        for file, fields in self._images(tree):
            records.append(self._record(tree, file, fields, masks))
        if self.label is LabelRule.MASK_FILE:
            _require_masks_in_every_folder(records, tree)
        yield from records

    def mask_files(self, tree: Tree) -> list[str]:
        """Return the files in the place of masks, whatever the end of their names."""
        if self.mask is None:
            return []
        pattern = template_pattern(self.mask.replace("<mask_suffix>", ""))
        return [file for file in tree.files if pattern.fullmatch(file)]

    def masks_without_image(self, tree: Tree) -> list[str]:
        """Return the masks that belong to no image: an image is missing, or the mask is stray."""
        images = [fields for _, fields in self._images(tree)]
        return self._masks(tree).without_image(images)

    def _masks(self, tree: Tree) -> MaskLookup:
        if self.mask is None:
            return MaskLookup(self.image, "", (), tree.files)
        suffixes = (self.mask_suffix, *self.other_mask_suffixes)
        return MaskLookup(self.image, self.mask, suffixes, tree.files)

    def _images(self, tree: Tree) -> Iterator[tuple[str, Fields]]:
        pattern = template_pattern(self.image)
        known_kinds = {*self.defects, *self.normal}
        for file in tree.files:
            match = pattern.fullmatch(file)
            if match is None:
                continue
            fields = match.groupdict()
            if not self.defects or self._kind(fields) in known_kinds:
                yield file, fields

    def _kind(self, fields: Fields) -> str:
        return fields.get("defect", self.defect)

    def _record(self, tree: Tree, file: str, fields: Fields, masks: MaskLookup) -> Record:
        label_problem = ""
        try:
            is_anomalous = self._is_anomalous(tree, file, fields, masks)
        except UnknownLabelError as error:
            is_anomalous = None
            label_problem = str(error)
        mask_paths: list[str] = []
        if is_anomalous or (self.masks_of_normal and not label_problem):
            mask_paths = [tree.base + mask for mask in masks.for_image(file, fields)]
        phase = fields.get("phase", self.phase)
        return Record(
            phase=self.phases.get(phase, phase.lower()),
            category=fields.get("category", self.category),
            image=tree.base + file,
            masks=tuple(mask_paths),
            defect=self._defect(self._kind(fields), is_anomalous),
            is_anomalous=is_anomalous,
            expects_mask=self.mask is not None,
            label_problem=label_problem,
        )

    def _defect(self, kind: str, is_anomalous: bool | None) -> str:
        if is_anomalous is None:
            return ""
        return self.defects.get(kind, kind) if is_anomalous else "good"

    def _is_anomalous(
        self, tree: Tree, file: str, fields: Fields, masks: MaskLookup
    ) -> bool | None:
        match self.label:
            case LabelRule.FOLDER:
                return self._kind(fields) not in self.normal
            case LabelRule.MASK_FILE:
                return bool(masks.for_image(file, fields))
            case LabelRule.MASK_PIXELS:
                return _is_any_marked([tree.path(mask) for mask in masks.for_image(file, fields)])
            case LabelRule.UNKNOWN:
                return None


def _is_any_marked(masks: Sequence[Path]) -> bool:
    # PyTorch is slow to import, and rarely needed here.
    from zsad.data.decoding import UnreadableImageError
    from zsad.data.masks import mask_values

    if not masks:
        raise UnknownLabelError("its mask is missing")
    try:
        return any(bool(mask_values(mask).any()) for mask in masks)
    except UnreadableImageError as error:
        raise UnknownLabelError(str(error)) from error


def _require_masks_in_every_folder(records: Sequence[Record], tree: Tree) -> None:
    """Refuse folders without any mask: all of their images would count as normal."""
    has_mask: dict[str, bool] = {}
    for record in records:
        folder = record.image.rpartition("/")[0]
        has_mask[folder] = has_mask.get(folder, False) or bool(record.masks)
    bare = [folder for folder, has_any in has_mask.items() if not has_any]
    if bare:
        lines = "\n".join(f"  no mask of any image in {folder}" for folder in bare)
        raise ValueError(
            f"{tree.path('')}: masks decide here which images are normal, but there is\n{lines}\n"
            "Fetch them again"
        )
