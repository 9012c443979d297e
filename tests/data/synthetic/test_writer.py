"""The generated world on disk."""

import json

import numpy as np
import pytest
from PIL import Image

from zsad.data.synthetic import GRADES, WORLDS, random_stream, render, write_synthetic

SMALL = {"size": 48, "train_good": 1, "good": 2, "defective": 3}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_synthetic(tmp_path_factory.mktemp("synthetic") / "b", world="b", **SMALL)


def test_the_folders_are_those_of_mvtec_ad(dataset):
    assert {path.name for path in dataset.iterdir()} == {*WORLDS["b"], "synthetic.json"}
    for name, category in WORLDS["b"].items():
        first = category.defects[0]
        files = {str(path.relative_to(dataset / name)) for path in (dataset / name).rglob("*.png")}
        expected = {"train/good/000.png", "test/good/000.png", "test/good/001.png"}
        for grade in GRADES:
            expected |= {
                f"test/{first}_{grade}/000.png",
                f"ground_truth/{first}_{grade}/000_mask.png",
            }
        assert files == expected


def test_a_file_is_the_picture_of_its_own_stream(dataset):
    # The third defective picture of a category has the third grade.
    defect = WORLDS["b"]["screw"].defects[0]
    image, mask = render(
        "screw", random_stream(0, "screw", "test/defective", 2), 48, defect, "hard"
    )
    np.testing.assert_array_equal(
        np.asarray(Image.open(dataset / f"screw/test/{defect}_hard/000.png")), image
    )
    stored = np.asarray(Image.open(dataset / f"screw/ground_truth/{defect}_hard/000_mask.png"))
    np.testing.assert_array_equal(stored, mask * 255)


def test_writing_again_changes_nothing(dataset):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    write_synthetic(dataset, world="b", **SMALL)
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


def test_an_interrupted_run_is_continued(tmp_path):
    root = write_synthetic(tmp_path / "a", world="a", **SMALL)
    complete = {path: path.read_bytes() for path in root.rglob("*.png")}
    (root / "cable").rename(root / ".cable.partial")
    (root / ".cable.partial/test/good/000.png").write_bytes(b"half a file")
    write_synthetic(root, world="a", **SMALL)
    assert {path: path.read_bytes() for path in root.rglob("*.png")} == complete


def test_a_folder_keeps_one_recipe(dataset, tmp_path):
    assert json.loads((dataset / "synthetic.json").read_text())["world"] == "b"
    with pytest.raises(ValueError, match="made with other parameters"):
        write_synthetic(dataset, world="b", **{**SMALL, "good": 3})
    (tmp_path / "holiday.png").touch()
    with pytest.raises(ValueError, match="not empty"):
        write_synthetic(tmp_path, world="b", **SMALL)


def test_only_the_grades_asked_for_are_written(tmp_path):
    root = write_synthetic(tmp_path / "b", world="b", grades=("medium",), **SMALL)
    folders = {path.name for path in root.glob("*/test/*")}
    assert folders - {"good"}
    assert all(folder.endswith("_medium") for folder in folders - {"good"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"world": "c"}, "wild, a, b"),
        ({"grades": ("tough",)}, "easy, medium, hard"),
        ({"size": 8}, "at least 32"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_is_written(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        write_synthetic(tmp_path / "new", **{"world": "a", **SMALL, **wrong})
    assert not (tmp_path / "new").exists()
