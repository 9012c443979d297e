"""Image files: their suffixes, and their order."""

from __future__ import annotations

import re
from typing import Any

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key under which ``2.png`` comes before ``10.png``.

    >>> sorted(["10.png", "2.png", "1.png"], key=natural_key)
    ['1.png', '2.png', '10.png']
    """
    parts: list[Any] = re.split(r"([0-9]+)", text.casefold())
    parts[1::2] = map(int, parts[1::2])
    return parts, text
