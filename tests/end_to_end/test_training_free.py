"""Commands with SAA and SAA+ on tiny random networks of the real classes.

Their numbers mean nothing.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import RunScript, Zsad
from tests.end_to_end.small_datasets import write_image, write_tiles

ROOT = Path(__file__).parents[2]
MTD = ROOT / ".." / "shared" / "data" / "mtd"
COMMON = ["backbone=grounded_sam_random", "trainer=cpu", "dataset=mtd", "dataset.num_workers=0"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two normal and two defective images of different sizes, and their index."""
    sizes = [(48, 64), (64, 48), (40, 40), (56, 72)]
    write_tiles(tmp_path, sizes, (1, 3), ["washer"] * 4)
    return tmp_path


@pytest.fixture
def run(run_script: RunScript) -> RunScript:
    def run(script: str, *given: str) -> None:
        run_script(f"{script}.py", *COMMON, *given)

    return run


def dataset_at(place: Path) -> list[str]:
    return [f"dataset.index={place}/index.json", f"dataset.root={place}"]


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "results.csv").open()))


def test_the_table_is_the_same_whatever_the_hash_seed(place: Path) -> None:
    started = []
    for seed in ("1", "2"):
        given = [
            "model=saa_plus",
            *COMMON,
            *dataset_at(place),
            "~callbacks.heatmaps",
            f"hydra.run.dir={place}/{seed}",
        ]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        started.append(
            subprocess.Popen(
                [sys.executable, "test.py", *given],
                cwd=ROOT,
                env=environment,
                stderr=subprocess.PIPE,
            )
        )
    for one in started:
        _, errors = one.communicate()
        assert one.returncode == 0, errors.decode()
    first, second = ((place / seed / "test_scores.csv").read_bytes() for seed in ("1", "2"))
    assert first == second
    assert len(first.splitlines()) == 5
    assert table(place / "1") == table(place / "2")
    assert (place / "1" / "test.log").read_text().count(
        "no expert words for washer of mtd: general prompts"
    ) == 1


@pytest.mark.parametrize("model", ["saa", "saa_plus_general"])
def test_a_test_leaves_a_table_heat_maps_and_a_report(
    run: RunScript, place: Path, model: str
) -> None:
    run(
        "test",
        f"model={model}",
        "metrics=saa",
        "metrics.side_px=40",
        *dataset_at(place),
        f"hydra.run.dir={place}/run",
    )
    mean = table(place / "run")[-1]
    assert (mean["normal"], mean["defective"]) == ("2", "2")
    assert all(0 <= float(mean[name]) <= 100 for name in ("image_auroc", "pixel_f1max"))
    assert mean["region_f1"] != ""
    assert len(list((place / "run" / "heatmaps").rglob("*.png"))) == 5
    assert "saa" in (place / "run" / "report.html").read_text().lower()


@pytest.mark.skipif(not MTD.is_dir(), reason="the magnetic tiles are not beside the repository")
def test_real_images_get_the_words_of_their_dataset(run: RunScript, tmp_path: Path) -> None:
    run(
        "test",
        "model=saa_plus",
        f"dataset.root={MTD}",
        "dataset.max_images=4",
        f"hydra.run.dir={tmp_path}/run",
    )
    assert "no expert words" not in (tmp_path / "run" / "test.log").read_text()
    assert table(tmp_path / "run")[-1]["category"] == "mean"
    assert (tmp_path / "run" / "report.html").is_file()


def test_images_without_a_dataset_are_predicted_by_category(zsad: Zsad, tmp_path: Path) -> None:
    picture = write_image(tmp_path / "nut.png", (50, 60), 0)
    given = ["--category", "metal nut", "--backbone", "grounded_sam_random", "--set", "trainer=cpu"]
    out = tmp_path / "out"
    done = zsad("predict", "saa_plus", picture, *given, "--out", out)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((out / "scores.csv").open()))
    assert len(rows) == 1
    assert list((out / "heatmaps").rglob("*.png"))


@pytest.mark.parametrize(
    ("script", "given", "answer"),
    [
        ("test", ["k_shot=2"], "model=saa_plus takes no reference images: leave k_shot=2 out"),
        ("test", ["tiling=native"], "model=saa_plus does not take tiling"),
        ("test", ["tiling=none"], "model=saa_plus does not take tiling"),
        (
            "test",
            ["dataset.test_batch_size=4"],
            "cannot share a batch: set image_size, or a batch size of 1",
        ),
        ("test", ["ckpt_path=x.ckpt"], "model=saa_plus is training-free, it takes no checkpoint"),
        (
            "train",
            [],
            "model=saa_plus has nothing to train; run: python test.py model=saa_plus dataset=mtd",
        ),
        ("test", ["model.method.fusion=mean"], "fusion='mean': expected one of code, paper"),
        (
            "test",
            ["model.method.prompts.dataset=mvtc"],
            "no words for dataset=mvtc. Known: brainmri",
        ),
    ],
)
def test_mistakes_are_answered_in_a_sentence(
    run: RunScript, place: Path, script: str, given: list[str], answer: str
) -> None:
    with pytest.raises(SystemExit, match=f"(?s)error: .*{answer}"):
        run(script, "model=saa_plus", *dataset_at(place), f"hydra.run.dir={place}/run", *given)
