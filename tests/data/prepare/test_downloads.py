"""Where a download lies, and what to tell who has none."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from zsad.data.layouts import LAYOUTS, find_layout
from zsad.data.prepare.downloads import download_instructions, find_download
from zsad.data.prepare.write_index import prepare

VISA = find_layout("visa")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No dataset of this machine is found, and archives are unpacked below ``tmp_path/shared``."""
    monkeypatch.setenv("ZSAD_DATASETS", str(tmp_path / "shared"))
    monkeypatch.chdir(tmp_path)


def zipped(path: Path, tree: Path, top: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(tree.rglob("*")):
            archive.write(file, f"{top}{file.relative_to(tree)}")
    return path


def test_a_folder_is_taken_as_it_is(tmp_path, mvtec_tree):
    assert find_download("mvtec", find_layout("mvtec"), mvtec_tree) == (mvtec_tree, [])


@pytest.mark.parametrize("name", ["mvtec", "visa", "mtd", "isic2016"])
def test_missing_data_is_answered_with_the_way_to_get_it(tmp_path, name):
    """The message also says what files are expected."""
    layout = find_layout(name)
    with pytest.raises(FileNotFoundError) as caught:
        find_download(name, layout, None, data_json=tmp_path / "dj")
    text = str(caught.value)
    for fact in (
        f"{tmp_path}/shared/{name}",
        layout.homepage,
        layout.licence,
        layout.instructions,
        f"zsad prepare {name} ",
    ):
        assert fact in text


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_dataset_says_how_to_get_it(name):
    text = download_instructions(name, LAYOUTS[name])
    assert f"get it from  {LAYOUTS[name].homepage}" in text
    assert f"how          {LAYOUTS[name].instructions}" in text


def test_data_that_lies_where_a_run_looks_needs_no_root(tmp_path, visa_tree):
    (tmp_path / "shared").mkdir()
    visa_tree.rename(tmp_path / "shared/visa")
    assert (
        prepare("visa", data_json=tmp_path / "dj", conf=tmp_path / "conf").counts[0][1] == "candle"
    )


@pytest.mark.parametrize("top", ["", "VisA_20220922/"])
def test_an_archive_is_unpacked_where_a_run_looks(tmp_path, visa_tree, top):
    archive = zipped(tmp_path / "VisA.zip", visa_tree, top)
    made = prepare("visa", archive, data_json=tmp_path / "dj", conf=tmp_path / "conf")
    assert made.counts == [("test", "candle", 1, 2, 2), ("train", "candle", 1, 0, 0)]
    assert (tmp_path / "shared/visa" / top / "split_csv").is_dir()
    assert any("unpacked from VisA.zip" in note for note in made.notes)
    again = prepare("visa", archive, data_json=tmp_path / "dj", conf=tmp_path / "conf")
    assert again.counts == made.counts


def test_a_folder_of_archives_is_unpacked_into_one(tmp_path, mvtec_tree):
    for category in ("tile", "metal_nut"):
        zipped(tmp_path / "down" / f"{category}.zip", mvtec_tree / category, f"{category}/")
    made = prepare(
        "parts", tmp_path / "down", "mvtec", data_json=tmp_path / "dj", conf=tmp_path / "conf"
    )
    assert {category for _, category, *_ in made.counts} == {"tile", "metal_nut"}
    assert sorted(path.name for path in (tmp_path / "down").iterdir()) == [
        "metal_nut.zip",
        "tile.zip",
    ]


def test_archives_beside_their_unpacked_images_are_left_alone(tmp_path, mvtec_tree):
    (mvtec_tree / "old.zip").write_bytes(b"no archive at all")
    assert find_download("mvtec", find_layout("mvtec"), mvtec_tree) == (mvtec_tree, [])


def test_archives_that_lie_where_a_run_looks_are_unpacked_beside(tmp_path, visa_tree):
    zipped(tmp_path / "shared/visa/a.zip", visa_tree)
    folder, _ = find_download("visa", VISA, None, data_json=tmp_path / "dj")
    assert folder == tmp_path / "shared/visa_unpacked"


def test_the_published_checksum_is_compared(tmp_path, visa_tree):
    archive = zipped(tmp_path / "VisA.zip", visa_tree)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    right = replace(VISA, archive="VisA.zip", sha256=digest)
    _, remarks = find_download("visa", right, archive)
    assert "the sha256 of VisA.zip is the published one" in remarks
    wrong = replace(right, sha256=digest[::-1])
    with pytest.raises(ValueError, match="not the published file"):
        find_download("other", wrong, archive)
    assert not (tmp_path / "shared/other").exists()
    assert find_download("other", wrong, archive, compare=False)[0] == tmp_path / "shared/other"


def test_md5_is_compared_where_that_is_what_is_published(tmp_path, visa_tree):
    archive = zipped(tmp_path / "VisA.zip", visa_tree)
    with pytest.raises(ValueError, match="its md5 is"):
        find_download("visa", replace(VISA, archive="VisA.zip", sha256="", md5="00"), archive)


def test_an_archive_of_another_name_is_not_compared_and_said_so(tmp_path, visa_tree):
    _, remarks = find_download("visa", VISA, zipped(tmp_path / "mine.zip", visa_tree))
    assert (
        remarks[0]
        == "mine.zip was not compared: the published checksum is that of VisA_20220922.tar"
    )


def test_a_file_that_is_no_archive_is_told(tmp_path):
    (tmp_path / "a.rar").write_bytes(b"")
    with pytest.raises(ValueError, match=r"neither a folder nor one of \.zip"):
        find_download("visa", VISA, tmp_path / "a.rar")
