"""``zsad cache``: looks once, for the trainings that follow; shows and clears what is kept."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.end_to_end.conftest import RunScript, Zsad
from zsad.backbones.clip.model import CLIP

IMAGES, SIZE = 6, 64
SMALL = (
    "backbone=pocket",
    f"image_size={SIZE}",
    f"dataset.max_images={IMAGES}",
    "dataset.num_workers=0",
    "trainer=cpu",
)


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSAD_FEATURE_CACHE", str(tmp_path / "cache"))


def cache(zsad: Zsad, place: Path, *given: str) -> str:
    settings = [part for one in (*SMALL, *given) for part in ("--set", one)]
    done = zsad("cache", "synthetic_a", "--data-json", str(place / "data_json"), *settings)
    assert done.exit_code == 0, done.output
    return done.output


def losses(run_script: RunScript, place: Path, folder: Path, *given: str) -> list[str]:
    common = [
        *SMALL,
        "dataset=synthetic_a",
        f"paths.data_json={place}/data_json",
        f"hydra.run.dir={folder}",
        "epochs=1",
    ]
    run_script("train.py", *common, *given)
    rows = list(csv.DictReader((folder / "log" / "version_0" / "metrics.csv").open()))
    return [row["train/total"] for row in rows if row["train/total"]]


def test_training_from_the_cache_encodes_nothing_and_learns_same(
    run_script: RunScript, zsad: Zsad, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = losses(run_script, place, tmp_path / "without")
    assert f"0 of {IMAGES} images were cached, {IMAGES} are encoded now" in cache(zsad, place)
    assert f"{IMAGES} of {IMAGES} images were cached, 0 are encoded now" in cache(zsad, place)
    monkeypatch.setattr(CLIP, "encode_image", lambda *_, **__: pytest.fail("it looked"))
    cached = losses(run_script, place, tmp_path / "cached", "feature_cache=disk")
    assert [float(loss) for loss in cached] == pytest.approx(
        [float(loss) for loss in without], abs=1e-5
    )


def test_every_view_of_changing_images_is_looked_at(zsad: Zsad, place: Path) -> None:
    assert f"{2 * IMAGES} are encoded now" in cache(
        zsad, place, "augmentation=synthetic_defects", "dataset.views=2"
    )


def test_what_is_kept_is_shown_and_cleared(zsad: Zsad, place: Path, tmp_path: Path) -> None:
    assert "holds 0.000 GB" in zsad("cache").output
    cache(zsad, place)
    shown = zsad("cache").output
    assert "AnomalyCLIP, weights " in shown
    assert "32-true, float32" in shown
    assert "GB removed" in zsad("cache", "--clear").output
    assert not list((tmp_path / "cache").rglob("*"))


def test_changing_images_need_a_number_of_views(zsad: Zsad, place: Path) -> None:
    done = zsad("cache", "synthetic_a", "--data-json", str(place / "data_json"),
                "--set", "augmentation=standard", "--set", "backbone=pocket")  # fmt: skip
    assert done.exit_code == 1
    assert "dataset.views=4" in str(done.exception) + done.output


def test_a_model_that_learns_nothing_is_refused(zsad: Zsad) -> None:
    assert "nothing to train" in str(zsad("cache", "synthetic_a", "--model", "winclip").exception)
