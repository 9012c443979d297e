"""Checking an index against the disk again."""

import json

import pytest

from zsad.data.prepare.verify import verify
from zsad.data.prepare.write_index import prepare


@pytest.fixture
def tiles(tmp_path, mvtec_tree):
    """A prepared dataset; the function verifies it."""
    prepare("tiles", mvtec_tree, "mvtec", data_json=tmp_path / "dj", conf=tmp_path / "conf")

    def check(**options):
        return verify("tiles", data_json=tmp_path / "dj", **{"mask_threshold": 127, **options})

    return check


def test_a_sound_dataset_has_no_problems(tiles):
    report = tiles()
    assert report.images == {"train": 4, "test": 8}
    assert (report.problems, report.notes) == ([], [])


def test_everything_that_changed_since_is_reported_at_once(tiles, mvtec_tree, save, save_mask):
    truncated = mvtec_tree / "tile/test/good/001.png"
    truncated.write_bytes(truncated.read_bytes()[:300])
    (mvtec_tree / "tile/test/good/000.png").unlink()
    (mvtec_tree / "tile/ground_truth/crack/000_mask.png").unlink()
    save_mask(mvtec_tree / "tile/ground_truth/crack/001_mask.png", size=(24, 17))
    save_mask(mvtec_tree / "metal_nut/ground_truth/crack/000_mask.png", value=0)
    save_mask(mvtec_tree / "metal_nut/ground_truth/crack/001_mask.png", value=3)
    save(mvtec_tree / "metal_nut/test/good/new.png")
    report = tiles()
    assert [problem.kind for problem in report.problems].count("missing file") == 2
    assert {problem.kind for problem in report.problems} == {
        "missing file",
        "unreadable",
        "sizes differ",
    }
    assert {note.kind: note.path.removeprefix(f"{mvtec_tree}/") for note in report.notes} == {
        "empty mask of an anomalous image": "metal_nut/ground_truth/crack/000_mask.png",
        "mask without a value above the threshold": "metal_nut/ground_truth/crack/001_mask.png",
        "not in the index": "metal_nut/test/good/new.png",
    }
    assert report.kinds["missing file"] == 2
    assert len(str(report).splitlines()) == len(report.problems) + len(report.notes) + 1
    assert str(report).endswith("tiles.json: 4 problems, 3 notes; images: 4 in train, 6 in test")


def test_soft_edges_under_the_rule_for_class_numbers_are_noted(tiles, mvtec_tree, save):
    save(mvtec_tree / "tile/ground_truth/crack/000_mask.png", mode="L")  # noise: hundreds of values
    assert [note.kind for note in tiles(mask_threshold=0).notes] == ["mask with soft edges"]
    assert tiles(mask_threshold=127).notes == []


def test_an_image_in_two_phases_is_a_problem(tiles, tmp_path):
    path = tmp_path / "dj/tiles.json"
    index = json.loads(path.read_text())
    index["train"]["tile"] += index["test"]["tile"][-1:]
    path.write_text(json.dumps(index))
    (problem,) = tiles().problems
    assert problem.kind == "in two phases"


def test_the_mask_of_a_normal_image_should_be_empty(tiles, tmp_path):
    path = tmp_path / "dj/tiles.json"
    index = json.loads(path.read_text())
    index["test"]["tile"][-1]["mask_path"] = index["test"]["tile"][0]["mask_path"]
    path.write_text(json.dumps(index))
    (note,) = tiles().notes
    assert note.kind == "mask of a normal image is not empty"


def test_an_anomalous_image_without_a_mask_is_noted(tiles, tmp_path):
    path = tmp_path / "dj/tiles.json"
    index = json.loads(path.read_text())
    index["test"]["tile"][0]["mask_path"] = ""
    path.write_text(json.dumps(index))
    assert tiles().kinds["no mask"] == 1


def test_an_unknown_dataset_gets_the_nearest_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="Did you mean visa"):
        verify("vsia", data_json=tmp_path)
