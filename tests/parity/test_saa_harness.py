"""The SAA+ parity tests try parts of files, and notice a single wrong number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
STORED = HERE.parent / "golden" / "saa"


def write(path: Path, source: str, *, without: str = "nothing", wrong: str | None = None) -> None:
    with np.load(STORED / f"{source}.npz") as archive:
        arrays = {key: archive[key] for key in archive.files if not key.startswith(without)}
    if wrong is not None:
        arrays[wrong] = arrays[wrong].copy()
        arrays[wrong].flat[-1] += 1e-3 if arrays[wrong].dtype.kind == "f" else 1
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("golden")
    write(folder / "wrong_map.npz", "forward_0", wrong="out_anomaly_map")
    write(folder / "boxes_alone.npz", "forward_1", without="out_anomaly")
    write(folder / "wrong_weight.npz", "fusion_0", without="selected", wrong="rescored")
    write(folder / "wrong_box.npz", "box_suppression_1", wrong="kept_boxes")
    write(folder / "wrong_mask.npz", "proposals_0", wrong="out_masks")
    write(folder / "wrong_share.npz", "property_table", wrong="defect_area_threshold")
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
    tests = str(HERE / "test_saa_parity.py")
    done = subprocess.run(
        [*command, tests], cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_only_the_wrong_numbers_fail(outcome: str) -> None:
    failed = [
        line.split()[1].partition("::")[2]
        for line in outcome.splitlines()
        if line.startswith("FAILED")
    ]
    assert sorted(failed) == [
        "test_boxes_and_masks_of_several_captions[wrong_mask.npz]",
        "test_the_published_numbers_of_every_category[wrong_share.npz]",
        "test_the_whole_way_from_an_image_to_its_map[wrong_map.npz]",
        "test_weights_choice_and_fusion_of_given_masks[wrong_weight.npz]",
        "test_which_boxes_are_believed_and_what_they_are_called[wrong_box.npz]",
    ], outcome


def test_every_part_is_tried(outcome: str) -> None:
    # The sentence of the table; the chain without its map; for both chains that the weights are
    # bounded.
    assert "5 failed, 4 passed" in outcome, outcome
