"""The table of raw folder layouts: structure, origin and mask rule of every known download."""

from __future__ import annotations

from zsad.data.layouts.industrial import INDUSTRIAL
from zsad.data.layouts.layout import Layout
from zsad.data.layouts.medical import MEDICAL
from zsad.data.layouts.mvtec_like import MVTEC_LIKE
from zsad.data.layouts.visa import VISA
from zsad.data.locations import did_you_mean

__all__ = ["LAYOUTS", "Layout", "find_layout"]

LAYOUTS: dict[str, Layout] = {**MVTEC_LIKE, **VISA, **INDUSTRIAL, **MEDICAL}


def find_layout(name: str) -> Layout:
    """Return a row of the table; the error names the nearest one."""
    if name in LAYOUTS:
        return LAYOUTS[name]
    raise ValueError(
        f"no layout {name}. Known: {', '.join(LAYOUTS)}.{did_you_mean(name, LAYOUTS)} "
        f"For folders CATEGORY/test/good and CATEGORY/test/DEFECT use --layout mvtec."
    )
