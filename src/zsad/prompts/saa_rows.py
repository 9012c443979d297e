"""Rows of the tables of SAA's words: the words and numbers of a category, read and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

BLANK = "{}"

# Types of the values of each key; only where the default of ``Row`` is None a value may be null.
_KINDS: dict[str, tuple[type, ...]] = {
    "captions": (list, tuple),
    "filter_word": (str, type(None)),
    "object_prompt": (str,),
    "object_count": (int,),
    "k_mask": (int, type(None)),
    "defect_area_threshold": (int, float, type(None)),
    "name": (str,),
    "aliases": (list, tuple),
    "property": (str,),
}


@dataclass(frozen=True, slots=True)
class Row:
    """The words and numbers of a category. ``{}`` in a word stands for its name.

    Attributes:
        name: Name of the category in captions.
        captions: Questions to the detector, a pass each.
        filter_word: A box is dropped whose phrase contains it, for it shows the background;
            ``None`` drops none.
        object_prompt: Caption for the object itself.
        object_count: Number of objects in an image: one covers at most the inverse of it.
        k_mask: Number of masks that make the map; ``None`` for all.
        defect_area_threshold: A defect is smaller than this share of the largest object's box;
            ``None`` for any size, and then the object is not looked for.
        aliases: Other names of the category.
    """

    name: str = BLANK
    captions: tuple[str, ...] = ()
    filter_word: str | None = None
    object_prompt: str = BLANK
    object_count: int = 1
    k_mask: int | None = None
    defect_area_threshold: float | None = None
    aliases: tuple[str, ...] = ()

    def named(self, name: str) -> Row:
        """Return the row with a name in place of every ``{}``."""
        filter_word = self.filter_word
        if filter_word is not None:
            filter_word = filter_word.replace(BLANK, name)
        return replace(
            self,
            name=name,
            captions=tuple(caption.replace(BLANK, name) for caption in self.captions),
            filter_word=filter_word,
            object_prompt=self.object_prompt.replace(BLANK, name),
        )


@dataclass(frozen=True, slots=True)
class Property:
    """The numbers of a category in its published property sentence, as ``Row`` has them."""

    object_prompt: str
    object_count: int
    k_mask: int
    defect_area_threshold: float


def read_property(sentence: str) -> Property:
    """Read the published sentence with the numbers of a category, by the places of its words.

    >>> read_property(
    ...     "the image of candle have 4 similar candle, with a maximum of 1 anomaly. "
    ...     "The anomaly would not exceed 0.3 object area."
    ... )
    Property(object_prompt='candle,', object_count=4, k_mask=1, defect_area_threshold=0.3)

    Raises:
        ValueError: If a word is not the number expected in its place.
    """
    words = sentence.split(" ")
    try:
        return Property(words[7], int(words[5]), int(words[12]), float(words[19]))
    except (IndexError, ValueError):
        raise ValueError(
            f"{sentence!r} is not a property sentence: expected the number of objects as its 6th "
            "word, the object as its 8th, the number of masks as its 13th, the share of its area "
            "as its 20th, as in 'the image of candle have 4 similar candle, with a maximum of "
            "1 anomaly. The anomaly would not exceed 0.3 object area.'"
        ) from None


def read_table(name: str, rows: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Row]:
    """Return the rows of a dataset by category and by alias, spelt as ``key_of`` does.

    Args:
        name: Dataset, for messages.
        rows: Category → its keys and values.
        inherited: Values of keys that a row leaves out.

    Raises:
        ValueError: If a row has an unknown key or a value of another kind; it names the place.
    """
    table: dict[str, Row] = {}
    for category, row_values in require_mapping(name, rows).items():
        place = f"{name}.{category}"
        values = {"name": category, **inherited, **require_mapping(place, row_values)}
        row = read_row(place, values)
        for spelling in (category, *row.aliases):
            table[key_of(spelling)] = row
    return table


def read_row(place: str, given: Mapping[str, Any]) -> Row:
    """Return a row from its keys and values.

    Raises:
        ValueError: If a key is unknown or a value is of another kind; it names the place.
    """
    values: dict[str, Any] = dict(require_mapping(place, given))
    for key, value in values.items():
        _check_value(f"{place}.{key}", key, value)
    if "property" in values:
        numbers = read_property(values.pop("property"))
        values.update(dataclasses.asdict(numbers))
    if values.get("defect_area_threshold") is not None:
        values["defect_area_threshold"] = float(values["defect_area_threshold"])
    for key in ("captions", "aliases"):
        if key in values:
            values[key] = tuple(values[key])
    return Row(**values)


def require_mapping(place: str, given: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, and refuse everything else.

    Raises:
        ValueError: If it is none; it names the place.
    """
    if not isinstance(given, Mapping):
        raise ValueError(
            f"{place}={given!r}: expected words by their keys, such as "
            "{captions: [rust, bent thread]}"
        )
    return given


def read_file(file: Path) -> dict[str, Any]:
    """Return the rows in a YAML file, by category.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not hold categories, and below each its words.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no such file of defect words: {file}")
    rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise ValueError(
            f"{file}: expected categories, and below each its words: 'screw: {{captions: [rust]}}'"
        )
    return {str(category): row for category, row in rows.items()}


def key_of(category: str) -> str:
    """Return the spelling of a category in tables: ``metal_nut`` for ``Metal nut``."""
    return "_".join(category.lower().replace("-", " ").replace("_", " ").split())


def _check_value(place: str, key: str, value: Any) -> None:
    if key not in _KINDS:
        raise ValueError(f"{place} is not known. Expected: {', '.join(_KINDS)}")
    kinds = _KINDS[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        names = ["null" if kind is type(None) else kind.__name__ for kind in kinds]
        raise ValueError(f"{place}={value!r}: expected {' or '.join(names)}")
    if isinstance(value, (list, tuple)):
        for text in value:
            if not isinstance(text, str) or not text.strip():
                raise ValueError(
                    f"{place}={list(value)!r}: expected a list of texts, none of them empty"
                )
    if isinstance(value, (int, float)) and value <= 0:
        raise ValueError(f"{place}={value}: expected more than 0")
