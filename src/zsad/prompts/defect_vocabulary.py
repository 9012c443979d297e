"""Words for the defects of an object, and the table that gives them.

An *object tag* is the name of the object: ``leather``, ``metal nut``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ALWAYS = ("abnormal", "defect")  # looked for on every object


@dataclass(frozen=True, slots=True)
class Words:
    """Words to look for.

    Attributes:
        words: In order, without duplicates, lower case.
        source: Their origin: ``table``, or the name of the language model.
        answer: Full answer of the model; empty for a table.
    """

    words: tuple[str, ...]
    source: str
    answer: str = ""


def to_phrase(name: str) -> str:
    """Return a category, or the phrase of a detector, in spoken form.

    It is ``object`` where nothing is left.

    >>> to_phrase("metal_nut"), to_phrase("pcb1"), to_phrase("[CLS] Leather. [SEP]")
    ('metal nut', 'pcb', 'leather')
    >>> to_phrase("01")
    'object'
    """
    text = re.sub(r"\[(?:cls|sep|pad|unk)\]", " ", name.lower())
    words = re.sub(r"[^\w\-]|_", " ", text).split()
    without_number = re.sub(r"\s*\d+$", "", " ".join(words))
    return without_number.strip(" -") or "object"


def with_always(words: Iterable[str]) -> tuple[str, ...]:
    """Add the words for every object, and drop duplicates; the order stays."""
    return tuple(dict.fromkeys([*words, *ALWAYS]))


class WordTable:
    """The words of an object from a table.

    Args:
        general: Words for objects that are not in it.
        objects: Object → its words. An object serves for longer names that hold it as a whole word,
            too.
        always: Add *abnormal* and *defect*.

    Raises:
        ValueError: If ``general``, or the words of an object, are empty or a single text.
    """

    def __init__(
        self,
        general: Sequence[str],
        objects: Mapping[str, Sequence[str]] | None = None,
        *,
        always: bool = True,
    ) -> None:
        self.general = _checked("general", general)
        self.objects = {}
        for name, words in (objects or {}).items():
            self.objects[to_phrase(name)] = _checked(f"objects.{name}", words)
        self.always = always

    def words(self, tag: str, category: str = "") -> Words:
        """Return the words of an object tag.

        Where the tag is not in the table they are those of its category; else general ones.
        """
        found = self._entry(tag) or self._entry(category) or self.general
        return Words(with_always(found) if self.always else found, "table")

    def _entry(self, name: str) -> tuple[str, ...] | None:
        phrase = to_phrase(name)
        within = [known for known in self.objects if re.search(rf"\b{re.escape(known)}\b", phrase)]
        if not within:
            return None
        return self.objects[max(within, key=len)]


def _checked(name: str, words: Sequence[str]) -> tuple[str, ...]:
    if not words or isinstance(words, str):
        raise ValueError(
            f"{name}={words!r}: expected a list of one word or more, such as [scratch, crack]"
        )
    return tuple(dict.fromkeys(word.strip().lower() for word in words))
