"""The list of datasets."""

import pytest

from zsad.data.layouts import LAYOUTS
from zsad.data.prepare.catalogue import describe_dataset, format_table, list_datasets
from zsad.data.prepare.write_index import prepare


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No dataset of this machine is found."""
    monkeypatch.delenv("ZSAD_DATASETS", raising=False)
    monkeypatch.chdir(tmp_path)


def test_every_dataset_has_a_line_that_fits_into_eighty_columns(tmp_path):
    lines = format_table(list_datasets(tmp_path), 80).splitlines()
    assert lines[0].split() == ["dataset", "group", "images", "size", "licence", "here"]
    assert [line.split()[0] for line in lines[1:-2]] == [
        row.name for row in list_datasets(tmp_path)
    ]
    assert {row.name for row in list_datasets(tmp_path)} == set(LAYOUTS)
    assert max(len(line) for line in lines[:-1]) <= 80


def test_a_wide_table_has_the_pages(tmp_path):
    text = format_table(list_datasets(tmp_path), 1000)
    assert all(layout.homepage in text for layout in LAYOUTS.values())


def test_a_group_can_be_chosen(tmp_path):
    assert {row.group for row in list_datasets(tmp_path, "medical")} == {"medical"}
    assert list_datasets(tmp_path, "own") == []
    with pytest.raises(ValueError, match=r"no group medcal\. .* Did you mean medical\?"):
        list_datasets(tmp_path, "medcal")


def test_the_facts_are_those_of_the_table(tmp_path):
    (visa,) = (row for row in list_datasets(tmp_path) if row.name == "visa")
    assert (visa.images, visa.size, visa.licence, visa.here) == (
        "10,821",
        "1.9 GB",
        "CC BY 4.0",
        "",
    )


def test_what_is_here_is_said(tmp_path, visa_tree, save):
    data_json = tmp_path / "dj"
    prepare("visa", visa_tree, data_json=data_json, conf=tmp_path / "conf")
    save(tmp_path / "own/good/1.png")
    prepare("mine", tmp_path / "own", "folder", data_json=data_json, conf=tmp_path / "conf")
    (tmp_path / "datasets/mtd").mkdir(parents=True)
    here = {row.name: row.here for row in list_datasets(data_json)}
    assert (here["visa"], here["mine"], here["mtd"], here["mvtec"]) == (
        "4 images",
        "1 images",
        "folder, no index",
        "",
    )
    assert [row.name for row in list_datasets(data_json, "own")] == ["mine"]
    visa_tree.rename(tmp_path / "moved")
    assert {row.name: row.here for row in list_datasets(data_json)}["visa"] == "index only"


def test_the_details_say_where_to_get_it_and_what_is_here(tmp_path):
    text = describe_dataset("visa", tmp_path)
    for fact in (
        LAYOUTS["visa"].homepage,
        LAYOUTS["visa"].instructions,
        LAYOUTS["visa"].sha256,
        "10,821",
        "split_csv/1cls.csv",
    ):
        assert fact in text
    assert "zsad prepare folder ROOT --name NAME" in describe_dataset("folder", tmp_path)
    with pytest.raises(ValueError, match="Did you mean visa"):
        describe_dataset("vsia", tmp_path)
