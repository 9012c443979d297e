"""What SAA and SAA+ look for, in words: captions for the categories of datasets, as data that YAML files hold."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

BLANK = "{}"
log = logging.getLogger("zsad")

# The kinds of values that the keys of a row may have; only what is None in ``Row`` may be null.
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
_INHERITED = ("filter_word", "object_prompt", "object_count", "k_mask", "defect_area_threshold")


@dataclass(frozen=True, slots=True)
class Row:
    """The words and numbers of a category. ``{}`` in a word stands for its name.

    Attributes:
        name: What captions call the category.
        captions: What the detector is asked for, a pass each.
        filter_word: A box is dropped whose phrase contains it, for it shows the background; ``None`` drops none.
        object_prompt: What the detector is asked for to find the object itself.
        object_count: How many objects an image shows: one covers at most the inverse of it.
        k_mask: How many masks make the map; ``None`` for all.
        defect_area_threshold: A defect is smaller than this share of the largest object's box; ``None`` for any size,
            and then the object is not looked for.
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

    def of(self, name: str) -> "Row":
        """Return the row with a name in place of every ``{}``."""
        word = self.filter_word
        return replace(
            self,
            name=name,
            captions=tuple(one.replace(BLANK, name) for one in self.captions),
            filter_word=None if word is None else word.replace(BLANK, name),
            object_prompt=self.object_prompt.replace(BLANK, name),
        )


@dataclass(frozen=True, slots=True)
class DefectPrompts:
    """What is asked about an image.

    Attributes:
        captions: Each with its filter word, in the order of the detector's passes.
        object_prompt: For the object itself.
        object_count, k_mask, defect_area_threshold: As in ``Row``.
    """

    captions: tuple[tuple[str, str | None], ...]
    object_prompt: str
    object_count: int
    k_mask: int | None
    defect_area_threshold: float | None


class DefectWords:
    """General captions, which serve any category, and tables of expert ones, which somebody wrote for one.

    Args:
        general: The row that every category has. Its captions come first; the rest serves categories without a row of
            their own, and rows that leave something out.
        tables: Dataset → category → the keys of ``Row``. In place of its four numbers a row may have ``property``, the
            sentence that carries them in the published code (``read_property``).
        files: Dataset → a YAML file with the rows of its categories, for words of one's own.
        datasets: Dataset → the table that serves it, where that has another name: ``visa_1cls: visa``.
        dataset: The table to use whatever is tested; ``None`` for that of the tested dataset (``set_dataset``).

    Raises:
        ValueError: If a row has an unknown key or a value of another kind, or there is no table for ``dataset``.
        FileNotFoundError: If one of the files does not exist.
    """

    def __init__(
        self,
        general: Mapping[str, Any],
        tables: Mapping[str, Mapping[str, Mapping[str, Any]]] = {},
        *,
        files: Mapping[str, str] = {},
        datasets: Mapping[str, str] = {},
        dataset: str | None = None,
    ) -> None:
        self.general = _row("general", general)
        inherited = {key: general[key] for key in _INHERITED if key in general}
        read = {**tables, **{name: _read(Path(file)) for name, file in files.items()}}
        self.tables = {name: _table(name, rows, inherited) for name, rows in read.items()}
        self.datasets = dict(datasets)
        self._chosen, self._entered = dataset, dataset
        self._told: set[tuple[str | None, str]] = set()
        if dataset is not None and self._here() is None:
            raise ValueError(
                f"no words for dataset={dataset}. Known: {', '.join(sorted(self.tables)) or 'none'}"
            )

    def set_dataset(self, dataset: str) -> None:
        """Use the table of a dataset from now on, or general words if it has none; unless one was chosen for all."""
        self._entered = self._chosen or dataset

    def prompts(self, category: str) -> DefectPrompts:
        """Return what is asked about an image of a category. Once for each that has no row, it says so."""
        row = (self._here() or {}).get(_key(category))
        if row is None and self.tables:
            self._tell(category)
        general = self.general.of(category if row is None else row.name)
        asked = [general] if row is None else [general, row.of(row.name)]
        own = asked[-1]
        return DefectPrompts(
            tuple((caption, one.filter_word) for one in asked for caption in one.captions),
            own.object_prompt,
            own.object_count,
            own.k_mask,
            own.defect_area_threshold,
        )

    def _here(self) -> dict[str, Row] | None:
        return (
            None
            if self._entered is None
            else self.tables.get(self.datasets.get(self._entered, self._entered))
        )

    def _tell(self, category: str) -> None:
        if (self._entered, category) in self._told:
            return
        self._told.add((self._entered, category))
        elsewhere = [name for name, rows in self.tables.items() if _key(category) in rows]
        hint = (
            f" Those of {elsewhere[0]}: model.method.prompts.dataset={elsewhere[0]}."
            if elsewhere
            else ""
        )
        name = self._entered or "NAME"
        place = f" of {self._entered}" if self._entered else ""
        log.warning(
            f"no expert words for {category}{place}: general prompts alone.{hint} To add some: "
            f"conf/prompts/saa/tables/{name}.yaml, or any file with +model.method.prompts.files.{name}=FILE.yaml"
        )


@dataclass(frozen=True, slots=True)
class Property:
    """What the published property sentence says of a category, as ``Row`` has it."""

    object_prompt: str
    object_count: int
    k_mask: int
    defect_area_threshold: float


def read_property(sentence: str) -> Property:
    """Read the sentence that carries the numbers of a category in the published code, by the places of its words.

    >>> read_property(
    ...     "the image of candle have 4 similar candle, with a maximum of 1 anomaly. "
    ...     "The anomaly would not exceed 0.3 object area."
    ... )
    Property(object_prompt='candle,', object_count=4, k_mask=1, defect_area_threshold=0.3)

    Raises:
        ValueError: If what stands there cannot be meant.
    """
    words = sentence.split(" ")
    try:
        return Property(words[7], int(words[5]), int(words[12]), float(words[19]))
    except (IndexError, ValueError):
        raise ValueError(
            f"{sentence!r} is not a property sentence: expected the number of objects as its 6th word, the object "
            "as its 8th, the number of masks as its 13th, the share of its area as its 20th, as in 'the image of "
            "candle have 4 similar candle, with a maximum of 1 anomaly. The anomaly would not exceed 0.3 object area.'"
        ) from None


def _table(
    name: str, rows: Mapping[str, Mapping[str, Any]], inherited: Mapping[str, Any]
) -> dict[str, Row]:
    """Return the rows of a dataset by category and by alias, spelt as ``_key`` does."""
    table: dict[str, Row] = {}
    for category, given in _mapping(name, rows).items():
        row = _row(
            f"{name}.{category}",
            {"name": category, **inherited, **_mapping(f"{name}.{category}", given)},
        )
        table |= {_key(one): row for one in (category, *row.aliases)}
    return table


def _row(place: str, given: Mapping[str, Any]) -> Row:
    values: dict[str, Any] = dict(_mapping(place, given))
    for key, value in values.items():
        _check(f"{place}.{key}", key, value)
    if "property" in values:
        values |= dataclasses.asdict(read_property(values.pop("property")))
    if values.get("defect_area_threshold") is not None:
        values["defect_area_threshold"] = float(values["defect_area_threshold"])
    listed: dict[str, Any] = {
        key: tuple(values[key]) for key in ("captions", "aliases") if key in values
    }
    return Row(**{**values, **listed})


def _mapping(place: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(
            f"{place}={given!r}: expected words by their keys, such as {{captions: [rust, bent thread]}}"
        )
    return given


def _check(place: str, key: str, value: Any) -> None:
    if key not in _KINDS:
        raise ValueError(f"{place} is not known. Expected: {', '.join(_KINDS)}")
    if not isinstance(value, _KINDS[key]) or isinstance(value, bool):
        expected = " or ".join(
            "null" if kind is type(None) else kind.__name__ for kind in _KINDS[key]
        )
        raise ValueError(f"{place}={value!r}: expected {expected}")
    if isinstance(value, (list, tuple)) and not all(
        isinstance(one, str) and one.strip() for one in value
    ):
        raise ValueError(f"{place}={list(value)!r}: expected a list of texts, none of them empty")
    if isinstance(value, (int, float)) and value <= 0:
        raise ValueError(f"{place}={value}: expected more than 0")


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"no such file of defect words: {file}")
    rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise ValueError(
            f"{file}: expected categories, and below each its words: 'screw: {{captions: [rust]}}'"
        )
    return {str(category): row for category, row in rows.items()}


def _key(category: str) -> str:
    """Spell a category as tables are searched: ``Metal nut`` as ``metal_nut``."""
    return "_".join(category.lower().replace("-", " ").replace("_", " ").split())
