"""Few-shot tests as a user types them, on a dataset that keeps no normal images apart."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.end_to_end.conftest import RunScript
from tests.end_to_end.small_datasets import write_tiles

COMMON = [
    "model=winclip",
    "backbone=pocket",
    "image_size=64",
    "dataset=mtd",
    "trainer=cpu",
    "dataset.num_workers=0",
    "~callbacks.heatmaps",
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three normal and two defective tiles, all in the test phase."""
    write_tiles(tmp_path, [(64, 64)] * 5, (3, 4), ["tile"] * 5)
    return tmp_path


@pytest.fixture
def run(place: Path, run_script: RunScript) -> RunScript:
    def run(script: str, *given: str) -> None:
        data = [f"dataset.index={place}/index.json", f"dataset.root={place}"]
        run_script(f"{script}.py", *COMMON, *data, *given)

    return run


def test_each_table_of_a_sweep_over_shots_names_its_references(run: RunScript, place: Path) -> None:
    run("test", "k_shot=0,2", f"hydra.sweep.dir={place}/runs", "-m")
    tables = {}
    for folder in (place / "runs").iterdir():
        if folder.is_dir():
            tables[folder.name] = list(csv.DictReader((folder / "results.csv").open()))[-1]
    zero, two = (
        tables[f"winclip_mtd_from_nothing_{ending}"] for ending in ("k_shot0", "2shot_seed111")
    )
    assert (zero["normal"], two["normal"]) == ("3", "1")
    assert zero["remarks"] == ""
    assert two["remarks"].startswith(
        "2-shot, not zero-shot: 2 normal images of each category, drawn with seed 111"
    )
    assert two["remarks"].endswith(
        "those of tile come from the tested images, which are tested without them"
    )
    assert float(two["pixel_auroc"]) > 90  # the only dark square beside what it was shown


@pytest.mark.parametrize(
    ("script", "given", "answer"),
    [
        ("test", ["k_shot=4"], "k_shot=4 needs .* tile has 3: choose a smaller k_shot"),
        ("test", ["k_shot=-1"], "k_shot=-1: expected 0"),
        (
            "test",
            ["k_shot=2", "model=clip"],
            "model=clip takes no reference images: leave k_shot=2 out",
        ),
        ("train", [], "nothing to train; run: python test.py model=winclip dataset=mtd"),
        (
            "train",
            ["model=anomalyclip", "k_shot=2"],
            "k_shot=2: references are for few-shot tests .*leave k_shot out in training",
        ),
    ],
)
def test_mistakes_are_answered_before_any_weights_are_read(
    run: RunScript, place: Path, script: str, given: list[str], answer: str
) -> None:
    with pytest.raises(SystemExit, match=f"(?s)error: .*{answer}"):
        run(script, "backbone.pretrained=/nowhere/clip.pt", f"hydra.run.dir={place}/run", *given)
