"""``zsad datasets`` and ``zsad prepare`` as a user types them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from zsad.cli import app

Zsad = Callable[..., Result]


@pytest.fixture
def zsad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zsad:
    """Run a command in an empty folder, nothing of this machine in sight."""
    monkeypatch.delenv("ZSAD_DATASETS", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*given: str | Path) -> Result:
        where = ["--data-json", "dj", *(["--conf", "conf"] if given[0] == "prepare" else [])]
        return CliRunner().invoke(app, [str(argument) for argument in (*given, *where)])

    return run


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for name in ("good/1.png", "bad/scratch/2.png", "masks/scratch/2.png"):
        file = tmp_path / "raw" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 255).save(file)
    return tmp_path / "raw"


def test_the_list_names_what_is_known(zsad: Zsad) -> None:
    done = zsad("datasets", "--group", "medical")
    assert done.exit_code == 0
    assert "headct" in done.output
    assert "mvtec" not in done.output


def test_one_dataset_is_told_in_full(zsad: Zsad) -> None:
    done = zsad("datasets", "mvtec")
    assert done.exit_code == 0
    assert "https://www.mvtec.com/company/research/datasets/mvtec-ad" in done.output


def test_preparing_without_data_fails_and_says_where_to_get_it(zsad: Zsad) -> None:
    done = zsad("prepare", "mpdd")
    assert done.exit_code == 1
    assert "https://github.com/stepanje/MPDD" in done.output
    assert "zsad prepare mpdd /path/to/it" in done.output


def test_ones_own_images_become_a_dataset(zsad: Zsad, mine: Path, tmp_path: Path) -> None:
    done = zsad("prepare", "folder", mine, "--name", "mypart")
    assert done.exit_code == 0, done.output
    assert "test   mypart    1       1          1" in done.output
    assert (tmp_path / "conf/mypart.yaml").is_file()
    index = json.loads((tmp_path / "dj/mypart.json").read_text())
    assert [entry["mask_path"] for entry in index["test"]["mypart"]] == ["masks/scratch/2.png", ""]


def test_a_name_is_asked_for(zsad: Zsad, mine: Path) -> None:
    done = zsad("prepare", "folder", mine)
    assert done.exit_code == 1
    assert "--name NAME" in done.output


def test_an_archive_and_a_table_will_do(zsad: Zsad, mine: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for file in mine.rglob("*.png"):
            archive.write(file, file.relative_to(tmp_path))
    (tmp_path / "labels.csv").write_text("image,label\ngood/1.png,ok\nbad/scratch/2.png,ng\n")
    done = zsad("prepare", "folder", "raw.zip", "--name", "mypart", "--table", "labels.csv")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "dj/roots.json").read_text()) == {
        "mypart": str(tmp_path / "datasets/mypart")
    }
    index = json.loads((tmp_path / "dj/mypart.json").read_text())
    assert [entry["img_path"] for entry in index["test"]["mypart"]] == [
        "raw/good/1.png",
        "raw/bad/scratch/2.png",
    ]


def test_bad_images_stop_it_unless_they_are_to_be_skipped(
    zsad: Zsad, mine: Path, tmp_path: Path
) -> None:
    (mine / "good/broken.png").write_bytes(b"no image")
    refused = zsad("prepare", "folder", mine, "--name", "mypart")
    assert refused.exit_code == 1
    assert "unreadable: good/broken.png" in refused.output
    assert not (tmp_path / "dj/mypart.json").exists()
    skipped = zsad("prepare", "folder", mine, "--name", "mypart", "--on-bad-image", "skip")
    assert skipped.exit_code == 0
    assert (
        (tmp_path / "dj/mypart.skipped.txt").read_text().startswith("unreadable: good/broken.png")
    )
