"""As a user meets it: a test or `zsad calibrate` chooses thresholds, `zsad predict` judges; robustness with a test."""

from __future__ import annotations

import csv
import json
import runpy
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from typer.testing import CliRunner, Result

from zsad.cli import app
from zsad.config import compose, instantiate
from zsad.data import synthetic
from zsad.model_files.learned import save_prompts

ROOT = Path(__file__).parents[2]
SIZE = 64
POCKET = ["--backbone", "pocket", "--set", f"image_size={SIZE}", "--set", "dataset.num_workers=0"]


def zsad(*given: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in given])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generated dataset, a small one."""
    place = tmp_path_factory.mktemp("place")
    small = partial(
        synthetic.write_synthetic, size=SIZE, train_good=1, good=2, defective=2, grades=("easy",)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "write_synthetic", small)
        assert (
            zsad("prepare", "synthetic", place, "--data-json", place / "data_json").exit_code == 0
        )
    return place


@pytest.fixture(scope="module")
def prompts(place: Path) -> Path:
    """Prompts as a training leaves them, though nothing was learned, exported to a file."""
    torch.manual_seed(0)
    config = compose.compose_config("test", ["backbone=pocket", "paths.output_dir=/nowhere"])
    save_prompts(place / "prompts.safetensors", instantiate.build(config.model).method, {})
    return place / "prompts.safetensors"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()


def pictures(place: Path) -> Path:
    return place / "synthetic_b" / "cork" / "test"


def predicted(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "scores.csv").open()))


def test_a_calibrated_checkpoint_judges_by_itself(
    place: Path, prompts: Path, tmp_path: Path
) -> None:
    given = ["--model", "anomalyclip", *POCKET]
    done = zsad("calibrate", prompts, "synthetic_b", "--data-json", place / "data_json", *given)
    assert done.exit_code == 0, done.output
    assert "image threshold" in done.output
    assert "optimistic" in done.output
    file = prompts.with_name("prompts.safetensors.thresholds.json")
    value = json.loads(file.read_text())["image"]["value"]
    done = zsad("predict", prompts, pictures(place), "--out", tmp_path, *given)
    assert done.exit_code == 0, done.output
    rows = predicted(tmp_path)
    assert [row["verdict"] for row in rows] == [
        "defective" if float(r["score"]) >= value else "good" for r in rows
    ]
    defective = sum(row["verdict"] == "defective" for row in rows)
    assert (
        f"{len(rows)} images, {defective} defective and {len(rows) - defective} good" in done.output
    )
    assert "f1_max on synthetic_b" in done.output

    done = zsad(
        "predict",
        prompts,
        pictures(place),
        "--out",
        tmp_path,
        *given,
        "--set",
        f"image_size={SIZE + 8}",
    )
    assert done.exit_code == 0, done.output
    assert "image_size is 72, was 64" in done.output
    assert "verdict" not in predicted(tmp_path)[0]


def test_a_model_that_learns_nothing_needs_no_checkpoint(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "winclip" / "thresholds.json"
    given = ["--data-json", place / "data_json", "--rule", "normal_only", "--out", file]
    done = zsad("calibrate", "winclip", "synthetic_b", *given, *POCKET)
    assert done.exit_code == 0, done.output
    there = json.loads(file.read_text())["image"]["decisions_on_calibration"]
    assert (there["normal"], there["anomalous"]) == (16, 0)
    named = ["--category", "cork", "--thresholds", file.parent]
    done = zsad("predict", "winclip", pictures(place), "--out", tmp_path / "cork", *named, *POCKET)
    assert done.exit_code == 0, done.output
    assert {row["verdict"] for row in predicted(tmp_path / "cork")} <= {"good", "defective"}
    done = zsad(
        "predict",
        "winclip",
        pictures(place),
        "--out",
        tmp_path / "nut",
        "--category",
        "nut",
        *POCKET,
    )
    assert done.exit_code == 0, done.output
    scores = [[row["score"] for row in predicted(tmp_path / name)] for name in ("cork", "nut")]
    assert scores[0] != scores[1]  # the sentences name the category


def test_a_model_that_learns_is_not_used_by_its_name(place: Path, tmp_path: Path) -> None:
    done = zsad("predict", "anomalyclip", pictures(place), "--out", tmp_path, *POCKET)
    assert done.exit_code == 1
    assert "python train.py model=anomalyclip" in str(done.exception)
    done = zsad("export", "clip", tmp_path / "clip.safetensors", *POCKET)
    assert "nothing to export" in str(done.exception)


def test_a_rule_that_the_dataset_does_not_allow_is_refused_before_anything_runs(
    place: Path,
) -> None:
    given = ["--data-json", place / "data_json", "--set", "dataset.test_phase=train", *POCKET]
    done = zsad("calibrate", "clip", "synthetic_b", *given)
    assert done.exit_code == 1
    assert "no defective images to choose a threshold from: --rule normal_only" in str(
        done.exception
    )


@pytest.mark.usefixtures("script")
def test_a_test_leaves_thresholds_and_tells_how_robust_it_is(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = ["dataset.max_images=16", "robustness.severities=[5]", "robustness.wordings.normal=[]"]
    quick += [
        "~robustness.corruptions.jpeg",
        "~robustness.corruptions.blur",
        "~robustness.corruptions.scale",
    ]
    common = [
        "backbone=pocket",
        f"image_size={SIZE}",
        "dataset.num_workers=0",
        "trainer=cpu",
        "model=clip",
    ]
    where = [
        "dataset=synthetic_b",
        f"paths.data_json={place}/data_json",
        f"hydra.run.dir={tmp_path}",
    ]
    monkeypatch.setattr("sys.argv", ["test.py", *common, *where, "robustness=standard", *quick])
    runpy.run_path(str(ROOT / "test.py"), run_name="__main__")
    assert json.loads((tmp_path / "thresholds.json").read_text())["pixel"]["rule"] == "f1_max"
    rows = list(csv.DictReader((tmp_path / "robustness.csv").open()))
    assert [row["change"] for row in rows] == [
        "clean",
        "noise",
        "brightness",
        "contrast",
        "rotation",
        *["anomalous"] * 6,
    ]
    tested = list(csv.DictReader((tmp_path / "results.csv").open()))[-1]
    assert float(rows[0]["image_auroc"]) == pytest.approx(float(tested["image_auroc"]))
    assert float(rows[0]["pixel_auroc"]) == pytest.approx(float(tested["pixel_auroc"]))
    assert "Robustness" in (tmp_path / "report.html").read_text()
