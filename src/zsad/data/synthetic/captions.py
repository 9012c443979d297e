"""Words for the images of the generated world."""

from __future__ import annotations

from dataclasses import dataclass

from zsad.data.synthetic.world import find_category

GENERIC_NOUNS = ("object", "surface", "item", "product", "part", "material")
"""Nouns that fit every category."""

GOOD_PHRASES = (
    "flawless",
    "perfect",
    "unblemished",
    "intact",
    "undamaged",
    "without defect",
    "in good condition",
)
"""States of a flawless part."""

DAMAGED_PHRASES = ("damaged", "defective", "broken", "with a flaw", "with a defect", "with damage")
"""States of any defective part."""

DEFECT_PHRASES: dict[str, tuple[str, ...]] = {
    "scratch": ("scratch", "scratched", "with a scratch", "with scratch marks", "with a fine line"),
    "crack": ("crack", "cracked", "with a crack", "with a fracture", "with a split"),
    "hole": ("hole", "with a hole", "with a pit", "with a blowhole", "punctured"),
    "stain": ("stain", "stained", "with a stain", "with a dirty mark", "with a liquid spill"),
    "colour_spot": (
        "color spot",
        "with a color spot",
        "with a paint splash",
        "discolored",
        "with an ink spot",
    ),
    "dent": ("dent", "dented", "with a dent", "with a bump", "pressed in"),
    "fibre": ("fiber", "with a hair", "with a thread on it", "with a foreign fiber"),
    "contamination": (
        "contamination",
        "contaminated",
        "with dust",
        "with dirt particles",
        "with foreign particles",
    ),
    "worn": ("worn", "worn off", "rubbed", "abraded", "with a worn patch"),
    "missing_part": (
        "missing part",
        "with a missing part",
        "chipped",
        "with a broken edge",
        "incomplete",
    ),
    "bent": ("bent", "deformed", "with a bent part", "distorted", "warped"),
    "misprint": (
        "misprint",
        "misprinted",
        "with faulty print",
        "with smeared print",
        "with missing print",
    ),
}
"""States of a part with each kind of defect, the plainest first."""


@dataclass(frozen=True, slots=True)
class Caption:
    """Nouns for the part and phrases for its state."""

    nouns: tuple[str, ...]
    phrases: tuple[str, ...]


def captions(category: str, defect: str | None) -> Caption:
    """Return the words for a category and a defect of it; ``None`` for a flawless part."""
    phrases = GOOD_PHRASES if defect is None else DEFECT_PHRASES[defect]
    return Caption(find_category(category).nouns, phrases)
