"""What a category of the procedural world is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from zsad.data.synthetic.scene import Appearance, Scene

Painter = Callable[[int, Appearance, np.random.Generator], Scene]

SURFACE_DEFECTS = ("scratch", "stain", "hole", "fibre", "contamination", "colour_spot")


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of part, which a generator can paint.

    Attributes:
        paint: Draws a clean scene of ``size`` pixels for an appearance, from a random stream.
        appearance: As designed.
        nouns: Names for captions, the plainest first.
        defects: The defects that make sense on it.
        wild: Looks vary freely instead of as on an inspection line.
    """

    paint: Painter
    appearance: Appearance
    nouns: tuple[str, ...]
    defects: tuple[str, ...] = field(default=SURFACE_DEFECTS)
    wild: bool = False
