"""Which files are images, and in which order."""

from __future__ import annotations

import re

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key under which ``2.png`` comes before ``10.png``.

    >>> sorted(["10.png", "2.png", "1.png"], key=natural_key)
    ['1.png', '2.png', '10.png']
    """
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], text
