"""DOT-Prompt and restorations as a user types them, on tiny random models of the real classes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.conftest import RunScript, Zsad
from tests.end_to_end.small_datasets import write_tiles

COMMON = ["backbone=grounded_sam_random", "dataset=mtd", "trainer=cpu", "dataset.num_workers=0"]
Run = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three normal and two defective tiles of different sizes, all in the test phase."""
    sizes = [(48 + 4 * number, 64) for number in range(5)]
    write_tiles(tmp_path, sizes, (3, 4), ["magnetic_tile"] * 5, "hole")
    return tmp_path


@pytest.fixture
def run(place: Path, run_script: RunScript) -> Run:
    def run(name: str, *given: str) -> Path:
        data = [f"dataset.index={place}/index.json", f"dataset.root={place}"]
        run_script("test.py", *COMMON, *data, f"hydra.run.dir={place}/{name}", *given)
        return place / name

    return run


def test_dot_writes_all_files_and_twice_the_same(run: Run) -> None:
    """A test writes table, captions, heat maps and restorations, and twice the same."""
    given = [
        "model=dot_no_filter",
        "dataset.reference_phase=test",
        "k_shot=1",
        "callbacks.restoration.enabled=true",
    ]
    one, two = run("one", *given), run("two", *given)
    *_, row = csv.DictReader((one / "results.csv").open())
    assert (row["normal"], row["defective"]) == ("2", "2")  # the third normal tile was shown
    assert row["remarks"].startswith("1-shot, not zero-shot")
    (subject,) = json.loads((one / "captions.json").read_text())["magnetic_tile"]
    assert subject["caption"].startswith("blowhole. crack. ")
    assert len(list((one / "restored" / "magnetic_tile" / "plain").glob("*.png"))) == 2
    assert len(list((one / "heatmaps").rglob("*.png"))) > 2
    assert "Restored to normal" in (one / "report.html").read_text()
    for name in ("results.csv", "captions.json", "test_scores.csv"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_single_images_are_restored_when_asked(zsad: Zsad, place: Path) -> None:
    given = [
        "predict",
        "dot_base",
        str(place / "3.png"),
        "--backbone",
        "grounded_sam_random",
        "--out",
        str(place / "o"),
    ]
    done = zsad(*given, "--category", "magnetic_tile", "--restore", "--set", "trainer=cpu")
    assert done.exit_code == 0, done.output
    assert done.output.rstrip().endswith(f"{place}/o/restored")
    with Image.open(place / "o" / "restored" / "magnetic_tile" / "plain" / "3.png") as restored:
        assert restored.size == (64, 60)
    assert (
        json.loads((place / "o" / "captions.json").read_text())["magnetic_tile"][0]["caption"]
        == "defect, abnormal."
    )


def test_a_method_without_detector_restores_by_its_map(zsad: Zsad, place: Path) -> None:
    given = [
        "predict",
        "clip",
        str(place / "3.png"),
        "--backbone",
        "pocket",
        "--out",
        str(place / "o"),
        "--restore",
    ]
    done = zsad(*given, "--set", "trainer=cpu", "--set", "callbacks.restoration.threshold=0.0")
    assert done.exit_code == 0, done.output
    with Image.open(place / "o" / "restored" / "object" / "plain" / "3.png") as restored:
        assert len(restored.convert("RGB").getcolors()) == 1  # all of it is at least 0
    assert not (place / "o" / "captions.json").exists()
