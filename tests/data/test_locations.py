"""Where indexes and images are looked for."""

import json
import subprocess
import sys

import pytest

from zsad.data.locations import (
    dataset_names,
    find_index,
    find_root,
    save_root,
    saved_roots,
    write_json,
)


def test_a_misspelt_dataset_gets_the_nearest_name(tmp_path):
    for name in ("visa", "mtd", "roots"):
        (tmp_path / f"{name}.json").write_text("{}")
    with pytest.raises(FileNotFoundError) as caught:
        find_index("vsia", tmp_path)
    assert (
        "vsia.json. Known: mtd, visa. Did you mean visa? To add one: zsad prepare vsia ROOT"
        in str(caught.value)
    )


def test_a_known_download_without_an_index_needs_prepare(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"Known: none yet\. It is a known download: zsad prepare visa ROOT"
    ):
        find_index("visa", tmp_path, ["visa"])


def test_the_file_of_roots_is_no_dataset(tmp_path):
    save_root("visa", tmp_path, tmp_path)
    assert dataset_names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        find_index("roots", tmp_path)


def test_roots_are_explicit_then_saved_then_shared_then_local(tmp_path, monkeypatch):
    places = [tmp_path / place for place in ("explicit", "remembered", "shared/x", "datasets/x")]
    for place in places:
        place.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSAD_DATASETS", str(tmp_path / "shared"))
    save_root("x", places[1], tmp_path)
    found = [find_root("x", places[0], tmp_path)]
    for place in places[1:]:
        found.append(find_root("x", None, tmp_path))
        place.rmdir()
    assert found == places


def test_a_missing_root_says_where_it_looked_and_both_fixes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSAD_DATASETS", "/nowhere")
    save_root("x", tmp_path / "gone", tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        find_root("x", None, tmp_path)
    places = (f"{tmp_path}/gone", "/nowhere/x", "datasets/x")
    for part in (*places, "zsad prepare x /path/to/x", "dataset.root=/path/to/x"):
        assert part in str(caught.value)


def test_a_missing_explicit_root_is_not_replaced_silently(tmp_path):
    save_root("x", tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError, match="wrong"):
        find_root("x", tmp_path / "wrong", tmp_path)


def test_remembering_one_root_keeps_the_others(tmp_path):
    save_root("a", tmp_path, tmp_path)
    save_root("b", tmp_path, tmp_path)
    assert saved_roots(tmp_path) == {"a": str(tmp_path.resolve()), "b": str(tmp_path.resolve())}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"new": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}


def test_names_and_roots_are_found_without_torch():
    """A misspelt dataset must be answered before anything slow is imported."""
    code = "import sys, zsad.data.locations, zsad.data.layouts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
