"""Categories of the generated world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator

from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.scene import Scene

Painter = Callable[[int, Appearance, Generator], Scene]

SURFACE_DEFECTS = "scratch, stain, hole, fibre, contamination, colour_spot"


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of part that a painter can paint.

    Attributes:
        paint: Draws a clean scene of ``size`` pixels for an appearance, from a random stream.
        appearance: As designed.
        nouns: Names for captions, the plainest first.
        defects: Defects that make sense on it.
        wild: Appearances vary freely instead of as on an inspection line.
    """

    paint: Painter
    appearance: Appearance
    nouns: tuple[str, ...]
    defects: tuple[str, ...]
    wild: bool = False

    @classmethod
    def from_lists(
        cls, paint: Painter, appearance: Appearance, nouns: str, defects: str, wild: bool = False
    ) -> Category:
        """Return a category; nouns and defects are separated by commas."""
        return cls(paint, appearance, _items(nouns), _items(defects), wild)


def _items(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))
