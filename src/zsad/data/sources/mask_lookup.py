"""Find the masks of an image by the template fields that both paths share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from zsad.data.sources.tree import template_fields, template_pattern

Fields = dict[str, str]  # values of a template's fields in a path, by name
_Key = tuple[str | None, ...]  # values of the shared fields


class MaskLookup:
    """The masks of a tree, found by the fields that they share with their image.

    Args:
        image: Path template of the images.
        mask: Path template of the masks, with ``<mask_suffix>``. A field that images do not have
            stands for several files.
        suffixes: Ends of mask names, the first with any masks of an image counts.
        files: All files of the tree.
    """

    def __init__(
        self, image: str, mask: str, suffixes: Sequence[str], files: Sequence[str]
    ) -> None:
        image_fields = template_fields(image)
        mask_fields = template_fields(mask)
        self._shared = [name for name in mask_fields if name in image_fields]
        self._allows_several = len(self._shared) < len(mask_fields)
        self._groups: list[dict[_Key, list[str]]] = []  # one for each suffix
        for suffix in suffixes:
            template = mask.replace("<mask_suffix>", suffix)
            self._groups.append(self._group_files(template, files))

    def for_image(self, image: str, fields: Fields) -> list[str]:
        """Return the masks of an image, of the first suffix that has any.

        Raises:
            ValueError: Two masks of one name.
        """
        key = self._key(fields)
        for group in self._groups:
            if key in group:
                masks = group[key]
                if len(masks) > 1 and not self._allows_several:
                    raise ValueError(
                        f"{image} has more than one mask of its name: {', '.join(masks)}. Keep one."
                    )
                return masks
        return []

    def without_image(self, images: Iterable[Fields]) -> list[str]:
        """Return the masks that belong to no image."""
        keys = {self._key(fields) for fields in images}
        has_image: dict[str, bool] = {}
        for group in self._groups:
            for key, masks in group.items():
                for mask in masks:
                    has_image[mask] = has_image.get(mask, False) or key in keys
        return [mask for mask, is_used in has_image.items() if not is_used]

    def _key(self, fields: Mapping[str, str | None]) -> _Key:
        return tuple(fields[name] for name in self._shared)

    def _group_files(self, template: str, files: Sequence[str]) -> dict[_Key, list[str]]:
        pattern = template_pattern(template)
        groups: dict[_Key, list[str]] = {}
        for file in files:
            match = pattern.fullmatch(file)
            if match is not None:
                key = self._key(match.groupdict())
                groups.setdefault(key, []).append(file)
        return groups
