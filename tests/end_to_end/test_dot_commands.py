"""DOT-Prompt and restorations as a user types them, on tiny random models of the real classes."""

from __future__ import annotations

import csv
import json
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from typer.testing import CliRunner

from zsad.cli import app

ROOT = Path(__file__).parents[2]
COMMON = ["backbone=grounded_sam_random", "dataset=mtd", "trainer=cpu", "dataset.num_workers=0"]
Run = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three normal and two defective tiles of different sizes, all in the test phase."""
    random, entries = np.random.default_rng(0), []
    for number in range(5):
        size = (48 + 4 * number, 64)
        pixels, mask = (
            random.integers(90, 110, (*size, 3), dtype=np.uint8),
            np.zeros(size, dtype=np.uint8),
        )
        if number > 2:
            mask[16:32, 16:32], pixels[16:32, 16:32] = 255, 0
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / f"{number}_mask.png")
        label = int(number > 2)
        names = {"img_path": f"{number}.png", "mask_path": f"{number}_mask.png" if label else ""}
        entries.append(
            {
                **names,
                "cls_name": "magnetic_tile",
                "specie_name": "hole" if label else "",
                "anomaly": label,
            }
        )
    (tmp_path / "index.json").write_text(
        json.dumps({"train": {}, "test": {"magnetic_tile": entries}})
    )
    return tmp_path


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(name: str, *given: str) -> Path:
        folders = [
            f"dataset.index={place}/index.json",
            f"dataset.root={place}",
            f"hydra.run.dir={place}/{name}",
        ]
        monkeypatch.setattr("sys.argv", ["test.py", *COMMON, *folders, *given])
        GlobalHydra.instance().clear()
        runpy.run_path(str(ROOT / "test.py"), run_name="__main__")
        GlobalHydra.instance().clear()
        return place / name

    return run


def test_a_test_leaves_table_captions_heat_maps_and_restorations_and_twice_the_same(
    run: Run,
) -> None:
    given = [
        "model=dot_no_filter",
        "normal_source=test_good",
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


def test_single_images_are_restored_when_asked(place: Path) -> None:
    given = [
        "predict",
        "dot_base",
        str(place / "3.png"),
        "--backbone",
        "grounded_sam_random",
        "--out",
        str(place / "o"),
    ]
    done = CliRunner().invoke(
        app, [*given, "--category", "magnetic_tile", "--restore", "--set", "trainer=cpu"]
    )
    assert done.exit_code == 0, done.output
    assert done.output.rstrip().endswith(f"{place}/o/restored")
    with Image.open(place / "o" / "restored" / "magnetic_tile" / "plain" / "3.png") as restored:
        assert restored.size == (64, 60)
    assert (
        json.loads((place / "o" / "captions.json").read_text())["magnetic_tile"][0]["caption"]
        == "defect, abnormal."
    )


def test_a_method_without_a_detector_restores_where_its_map_is_high(place: Path) -> None:
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
    done = CliRunner().invoke(
        app, [*given, "--set", "trainer=cpu", "--set", "callbacks.restoration.threshold=0.0"]
    )
    assert done.exit_code == 0, done.output
    with Image.open(place / "o" / "restored" / "object" / "plain" / "3.png") as restored:
        assert len(restored.convert("RGB").getcolors()) == 1  # all of it is at least 0
    assert not (place / "o" / "captions.json").exists()
