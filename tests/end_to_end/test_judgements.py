"""Judgements from the commands of a user.

A test or `zsad calibrate` chooses thresholds, `zsad predict` judges images with them, and a test
measures robustness.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from tests.end_to_end.conftest import RunScript, Zsad
from zsad.config import compose, instantiate
from zsad.model_files.exported_prompts import save_prompts

SIZE = 64
POCKET = ["--backbone", "pocket", "--set", f"image_size={SIZE}", "--set", "dataset.num_workers=0"]


@pytest.fixture(scope="module")
def prompts(place: Path) -> Path:
    """Prompts as a training leaves them, though nothing was learned, exported to a file."""
    torch.manual_seed(0)
    config = compose.compose_config("test", ["backbone=pocket", "paths.output_dir=/nowhere"])
    save_prompts(place / "prompts.safetensors", instantiate.build(config.model).method, {})
    return place / "prompts.safetensors"


def pictures(place: Path) -> Path:
    return place / "synthetic_b" / "cork" / "test"


def predicted(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "scores.csv").open()))


def test_a_calibrated_checkpoint_judges_by_itself(
    zsad: Zsad, place: Path, prompts: Path, tmp_path: Path
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


def test_a_model_that_learns_nothing_needs_no_checkpoint(
    zsad: Zsad, place: Path, tmp_path: Path
) -> None:
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


def test_a_model_that_learns_is_not_used_by_its_name(
    zsad: Zsad, place: Path, tmp_path: Path
) -> None:
    done = zsad("predict", "anomalyclip", pictures(place), "--out", tmp_path, *POCKET)
    assert done.exit_code == 1
    assert "python train.py model=anomalyclip" in str(done.exception)
    done = zsad("export", "clip", tmp_path / "clip.safetensors", *POCKET)
    assert "nothing to export" in str(done.exception)


def test_a_rule_that_does_not_fit_the_dataset_is_refused(zsad: Zsad, place: Path) -> None:
    given = ["--data-json", place / "data_json", "--set", "dataset.test_phase=train", *POCKET]
    done = zsad("calibrate", "clip", "synthetic_b", *given)
    assert done.exit_code == 1
    assert "no defective images to choose a threshold from: --rule normal_only" in str(
        done.exception
    )


def test_a_test_leaves_thresholds_and_tells_how_robust_it_is(
    run_script: RunScript, place: Path, tmp_path: Path
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
    run_script("test.py", *common, *where, "robustness=standard", *quick)
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
