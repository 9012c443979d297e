"""Samples that are found by path templates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from zsad.data.sources.record import Record
from zsad.data.sources.tree import Tree, template_fields, template_pattern

Fields = dict[str, str]  # what a template found in a path, by name


class LabelRule(Enum):
    """What tells an anomalous image from a normal one."""

    FOLDER = "the name of its folder"
    MASK_FILE = "whether there is a mask of its name"
    MASK_PIXELS = "whether its mask has pixels that are not black"
    UNKNOWN = "nothing: the labels are not published"


@dataclass(frozen=True)
class Folders:
    """Samples whose label, category and mask follow from where they lie.

    Attributes:
        image: Path template of the images; see ``template_pattern``. ``<phase>``, ``<category>`` and ``<defect>`` are
            read from it unless they are given here.
        mask: Path template of their masks, sharing fields with the image's; ``<mask_suffix>`` is filled in. A field
            that images do not have stands for several files, to be united. ``None`` without masks.
        phase: Phase of all images; ``test`` where the download knows no split.
        phases: What ``<phase>`` is called in the index, where lower case is not enough.
        category: Category of all images.
        defect: Kind of defect of all images.
        normal: Values of ``<defect>`` that mean "no defect"; such images get the defect ``good``.
        defects: If given, the only defect folders that count, with their names in the index.
        label: What tells anomalous from normal.
        mask_suffix: The end of mask names.
        other_mask_suffixes: Ends that are accepted where a mask with the first is missing.
        masks_of_normal: The download has (black) masks of normal images too.
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

    def with_names(self, normal: Iterable[str], mask_suffix: str | None) -> Folders:
        """Return a copy with other names for the normal folder and the end of mask names, where given."""
        renamed = replace(self, normal=tuple(normal) or self.normal)
        return (
            renamed
            if mask_suffix is None
            else replace(renamed, mask_suffix=mask_suffix, other_mask_suffixes=())
        )

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a tree. Each mask is looked up by name within its defect's folder.

        Raises:
            ValueError: Two masks of one name; folders without the masks that decide about labels, all named.
        """
        masks = _Masks(self, tree.files)
        found = [self._record(tree, file, fields, masks) for file, fields in self._images(tree)]
        if self.label is LabelRule.MASK_FILE and (bare := _folders_without_masks(found)):
            listed = "\n".join(f"  no mask of any image in {folder}" for folder in bare)
            raise ValueError(
                f"{tree.path('')}: masks decide here which images are normal, but there is\n{listed}\nFetch them again"
            )
        yield from found

    def mask_files(self, tree: Tree) -> list[str]:
        """Return the files that lie where masks would, whatever the end of their names."""
        if self.mask is None:
            return []
        pattern = template_pattern(self.mask.replace("<mask_suffix>", ""))
        return [file for file in tree.files if pattern.fullmatch(file)]

    def masks_without_image(self, tree: Tree) -> list[str]:
        """Return the masks that belong to no image: something is missing, or stray."""
        masks = _Masks(self, tree.files)
        return masks.without_image(fields for _, fields in self._images(tree))

    def _images(self, tree: Tree) -> Iterator[tuple[str, Fields]]:
        pattern = template_pattern(self.image)
        known = {*self.defects, *self.normal}
        for file in tree.files:
            match = pattern.fullmatch(file)
            fields = {} if match is None else match.groupdict()
            if match is not None and (
                not self.defects or fields.get("defect", self.defect) in known
            ):
                yield file, fields

    def _record(self, tree: Tree, file: str, fields: Fields, masks: _Masks) -> Record:
        kind = fields.get("defect", self.defect)
        try:
            is_anomalous, label_problem = self._is_anomalous(tree, file, fields, masks), ""
        except UnknownLabelError as error:
            is_anomalous, label_problem = None, str(error)
        phase = fields.get("phase", self.phase)
        is_masked = is_anomalous or (self.masks_of_normal and not label_problem)
        its_masks = masks.for_image(file, fields) if is_masked else []
        return Record(
            phase=self.phases.get(phase, phase.lower()),
            category=fields.get("category", self.category),
            image=tree.base + file,
            masks=tuple(tree.base + mask for mask in its_masks),
            defect={True: self.defects.get(kind, kind), False: "good", None: ""}[is_anomalous],
            is_anomalous=is_anomalous,
            expects_mask=self.mask is not None,
            label_problem=label_problem,
        )

    def _is_anomalous(self, tree: Tree, file: str, fields: Fields, masks: _Masks) -> bool | None:
        match self.label:
            case LabelRule.FOLDER:
                return fields.get("defect", self.defect) not in self.normal
            case LabelRule.MASK_FILE:
                return bool(masks.for_image(file, fields))
            case LabelRule.MASK_PIXELS:
                return _is_any_marked([tree.path(mask) for mask in masks.for_image(file, fields)])
            case LabelRule.UNKNOWN:
                return None


class UnknownLabelError(ValueError):
    """The label of an image depends on a mask that is missing or unreadable."""


class _Masks:
    """The masks of a tree, found by the fields that they share with their image."""

    def __init__(self, source: Folders, files: Sequence[str]) -> None:
        template = source.mask or ""
        fields = template_fields(template)
        self._shared = [name for name in fields if name in template_fields(source.image)]
        self._are_several = len(self._shared) < len(fields)
        suffixes = (source.mask_suffix, *source.other_mask_suffixes) if template else ()
        patterns = [
            template_pattern(template.replace("<mask_suffix>", suffix)) for suffix in suffixes
        ]
        self._by_key = [self._grouped(pattern, files) for pattern in patterns]

    def for_image(self, image: str, fields: Fields) -> list[str]:
        """Return the masks of an image, of the first suffix that there are any of."""
        key = self._key(fields)
        found = next((group[key] for group in self._by_key if key in group), [])
        if len(found) > 1 and not self._are_several:
            raise ValueError(
                f"{image} has more than one mask of its name: {', '.join(found)}. Keep one."
            )
        return found

    def without_image(self, images: Iterable[Fields]) -> list[str]:
        """Return the masks that no image's fields lead to."""
        keys = {self._key(fields) for fields in images}
        found = {
            mask: False for group in self._by_key for masks in group.values() for mask in masks
        }
        for group in self._by_key:
            found |= {mask: True for key in keys & group.keys() for mask in group[key]}
        return [mask for mask, has_image in found.items() if not has_image]

    def _key(self, fields: Mapping[str, str | None]) -> tuple[str | None, ...]:
        return tuple(fields[name] for name in self._shared)

    def _grouped(
        self, pattern: re.Pattern[str], files: Sequence[str]
    ) -> dict[tuple[str | None, ...], list[str]]:
        groups: dict[tuple[str | None, ...], list[str]] = {}
        for file in files:
            match = pattern.fullmatch(file)
            if match is not None:
                groups.setdefault(self._key(match.groupdict()), []).append(file)
        return groups


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


def _folders_without_masks(records: Sequence[Record]) -> list[str]:
    """Return the folders all of whose images would count as normal: rather, their masks are missing."""
    has_mask: dict[str, bool] = {}
    for record in records:
        folder = record.image.rpartition("/")[0]
        has_mask[folder] = has_mask.get(folder, False) or bool(record.masks)
    return [folder for folder, has_any in has_mask.items() if not has_any]
