"""The DHR-CLIP parity tests try parts of files, find the pictures beside them, and notice a single
wrong number.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
STORED = HERE.parent / "golden" / "dhrclip"


def write_part(path: Path, source: str, *keys: str, wrong: str | None = None) -> None:
    with np.load(STORED / f"{source}.npz") as archive:
        arrays = {key: archive[key] for key in ("config", *keys)}
    if wrong is not None:
        arrays[wrong] = arrays[wrong].copy()
        arrays[wrong].flat[0] += 1e-3
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("golden")
    with np.load(STORED / "images_s0.npz") as pictures:  # labels are not needed to know them
        np.savez(
            folder / "pictures.npz",
            **{key: pictures[key] for key in pictures.files if "label" not in key},
        )
    write_part(
        folder / "wrong.npz",
        "test_equal_s0",
        "img1_map_sum",
        "img1_score_logits",
        wrong="img1_map_sum",
    )
    write_part(folder / "loss_alone.npz", "train_equal_s0", "step0_gt", "step0_loss")
    alone = folder / "without_pictures"
    alone.mkdir()
    write_part(alone / "own_tiles.npz", "test_equal_s0", "img0_tile_input", "img0_score_logits")
    write_part(alone / "text.npz", "test_native_s0", "text_features", "img1_map_sum")
    write_part(alone / "nothing.npz", "test_native_s0", "img1_map_sum")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-rf",
        "--golden",
        str(folder),
    ]
    tests = str(HERE / "test_dhrclip_parity.py")
    done = subprocess.run(
        [*command, tests], cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_only_a_wrong_number_and_missing_pictures_fail(outcome: str) -> None:
    """Only the wrong number and the file without its pictures fail."""
    failed = [
        line.split()[1].partition("::")[2]
        for line in outcome.splitlines()
        if line.startswith("FAILED")
    ]
    assert sorted(failed) == [
        "test_maps_of_the_whole_view_the_tiles_and_both[wrong.npz]",
        "test_the_file_holds_something_that_is_compared[without_pictures/nothing.npz]",
    ], outcome


def test_every_number_that_a_part_holds_is_tried(outcome: str) -> None:
    # That something is compared: 4. Besides, the wrong file's score; gt and loss; views and score;
    # text.
    assert "2 failed, 10 passed" in outcome, outcome
