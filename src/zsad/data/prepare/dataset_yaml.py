"""Configuration of a prepared dataset."""

from __future__ import annotations

import json
import re
from pathlib import Path

from zsad.atomic_write import write_whole


def write_dataset_yaml(
    path: Path, name: str, mask_threshold: int, wanted: int | None
) -> tuple[Path, list[str]]:
    """Write a missing configuration, or another threshold into an untouched one.

    A configuration that a user has edited is kept.

    Args:
        path: The file.
        name: Name of the dataset.
        mask_threshold: A mask pixel is defective above this value (0-255).
        wanted: The threshold if the user chose it; ``None`` if it is the layout's.

    Returns:
        The path, and a note if a kept configuration contradicts the chosen threshold.
    """
    quoted = json.dumps(name, ensure_ascii=False)  # 01, null, on and 1e3 are no strings to YAML
    head = f"defaults: [_json, _self_]\nname: {quoted}\nmask_threshold: "
    content = f"{head}{mask_threshold}\n"
    if not path.exists():
        return write_whole(path, content), []
    current = path.read_text(encoding="utf-8")
    if wanted is None:
        return path, []
    if re.fullmatch(re.escape(head) + r"[0-9]+\n", current):
        return write_whole(path, content), []
    if f"mask_threshold: {mask_threshold}\n" in current:
        return path, []
    note = (
        f"{path} is there and was kept: the mask_threshold in it counts, not {wanted}; "
        f"change it there"
    )
    return path, [note]
