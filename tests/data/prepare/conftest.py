"""A user's own images, and their preparation."""

import json
from pathlib import Path

import pytest

from zsad.data.prepare.write_index import prepare


@pytest.fixture
def prepare_own(tmp_path):
    """Prepare ``tmp_path/raw`` as images of a user.

    Returns (phase, category, image) → (label, defect, mask).
    """

    def call(**options):
        made = prepare(
            "mine",
            tmp_path / "raw",
            "folder",
            data_json=tmp_path / "dj",
            conf=tmp_path / "conf",
            **options,
        )
        index = json.loads(made.index.read_text())
        return {
            (phase, category, entry["img_path"]): (
                entry["anomaly"],
                entry["specie_name"],
                entry["mask_path"],
            )
            for phase, part in index.items()
            for category, entries in part.items()
            for entry in entries
        }

    return call


@pytest.fixture
def raw_tree(tmp_path, save, save_mask):
    """Write a tree below ``raw``; names with "mask", "gt" or "truth" in them are masks."""

    def write(*names: str) -> Path:
        for name in names:
            is_mask = any(word in name.lower() for word in ("mask", "gt", "truth"))
            (save_mask if is_mask else save)(tmp_path / "raw" / name)
        return tmp_path / "raw"

    return write
