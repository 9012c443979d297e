"""Checkpoints and run folders of version 0.1 give the numbers of version 0.1.

The files lie in tests/version_0_1; its README says how they were made.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.end_to_end.conftest import RunScript, Zsad
from zsad.cli.load_model import build_task, config_of_checkpoint
from zsad.runs.predict import image_loader

ROOT = Path(__file__).parents[2]
STORED = ROOT / "tests" / "version_0_1"
RUN = Path("runs/train/anomalyclip")
DATA = [
    "dataset=mtd",
    "dataset.index=data/index.json",
    "dataset.root=data",
    "dataset.num_workers=0",
]
QUIET = ["trainer=cpu", "callbacks.heatmaps.max_per_category=0", "~callbacks.progress"]
# The command line of the stored training, in today's names.
ANOMALYCLIP = [
    "model=anomalyclip",
    "backbone=pocket",
    "model.method.prompts.context_tokens=4",
    "model.method.prompts.deep_blocks=5",
    "model.method.sigma_px=2.0",
]
# Checkpoint -> overrides that no checkpoint keeps, those of its backbone.
CHECKPOINTS = {
    str(RUN): [],
    "dhrclip.ckpt": [],
    "dhrclip_plus.ckpt": ["backbone.input_size=32"],
    "sam3_vectors.ckpt": ["backbone.input_size=56"],
}
# Checkpoint -> its settings, under present names, that are no defaults.
ADOPTED: dict[str, dict[str, Any]] = {
    str(RUN): {"sigma_px": 2, "prompts.deep_blocks": 5},
    "dhrclip.ckpt": {"global_px": 64, "global_weight": 0.4},
    "dhrclip_plus.ckpt": {"tiling.skip_share": 0.5, "tiling.global_weight": 0.4},
    "sam3_vectors.ckpt": {"train_head": True, "prompts.num_prompts": 2},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stored files, in which commands run."""
    shutil.copytree(STORED, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(run_script: RunScript) -> RunScript:
    """Run a script on the stored images."""
    return lambda script, *arguments: run_script(script, *DATA, *QUIET, *arguments)


def predict(checkpoint: Path, overrides: list[str]) -> dict[str, np.ndarray]:
    """Scores and maps of the two images that the reference was made with."""
    config, _ = config_of_checkpoint(checkpoint, None, None, overrides)
    task = build_task(config, checkpoint).eval()
    images = [STORED / "data" / "6.png", STORED / "data" / "7.png"]
    maps, scores = [], []
    with torch.no_grad():
        for batch in image_loader(images, config.image_size, "wheel"):
            prediction = task.method(batch.image, batch.category)
            maps.append(prediction.map[0, ::6, ::6].numpy())
            scores.append(float(prediction.score[0]))
    return {"map": np.stack(maps), "score": np.array(scores)}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_gives_the_same_scores_and_maps(name: str) -> None:
    reference = np.load(STORED / f"{Path(name).stem}.npz")
    predicted = predict(STORED / name, CHECKPOINTS[name])
    for kind in ("score", "map"):
        np.testing.assert_allclose(predicted[kind], reference[kind], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_stored_settings_are_no_defaults_and_count(name: str) -> None:
    """Or the test above would hold, too, if stored settings were left out."""
    config, learned = config_of_checkpoint(STORED / name, None, None, CHECKPOINTS[name])
    for key, value in ADOPTED[name].items():
        assert learned["settings"][key] == value
        node = config.model.method
        for part in key.split("."):
            node = node[part]
        assert node == value


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("dhrclip.ckpt", "global_px=null"),
        ("dhrclip.ckpt", "global_weight=0.75"),
        ("dhrclip_plus.ckpt", "tiling.skip_share=0.0"),
        ("dhrclip_plus.ckpt", "tiling.global_weight=0.25"),
    ],
)
def test_the_default_of_a_renamed_key_gives_other_maps(name: str, default: str) -> None:
    predicted = predict(STORED / name, [*CHECKPOINTS[name], f"model.method.{default}"])
    reference = np.load(STORED / f"{Path(name).stem}.npz")
    assert abs(predicted["map"] - reference["map"]).max() > 1e-3


def test_sam3_without_its_trained_head_is_refused() -> None:
    own = [*CHECKPOINTS["sam3_vectors.ckpt"], "model.method.train_head=false"]
    with pytest.raises(ValueError, match=r"does not fit this run: unknown backbone\.head"):
        predict(STORED / "sam3_vectors.ckpt", own)


def test_a_stopped_training_comes_to_the_same_prompts(run: RunScript, place: Path) -> None:
    run("train.py", *ANOMALYCLIP, "epochs=2", "name=anomalyclip", "resume=auto")
    content = torch.load(place / RUN / "checkpoints" / "last.ckpt", weights_only=True)
    reference = load_file(place / "anomalyclip_2.safetensors")
    assert content["epoch"] == 1
    assert {f"method.{name}" for name in reference} == set(content["state_dict"])
    for name, tensor in reference.items():
        torch.testing.assert_close(
            content["state_dict"][f"method.{name}"], tensor, rtol=0, atol=1e-6
        )


def test_a_finished_training_is_recognised(run: RunScript, place: Path) -> None:
    run("train.py", *ANOMALYCLIP, "epochs=1", "name=anomalyclip", "resume=auto")
    log = (place / RUN / "train.log").read_text()
    assert "already holds a training, finished" in log


def test_another_setting_is_still_told_from_the_stored_one(run: RunScript, place: Path) -> None:
    changed = [*ANOMALYCLIP[:-1], "model.method.sigma_px=3.0"]
    with pytest.raises(SystemExit, match=r"model.method.sigma_px=2 then, .*=3.0 now"):
        run("train.py", *changed, "epochs=2", "name=anomalyclip", "resume=auto")


def test_a_test_repeats_the_stored_table(run: RunScript, place: Path) -> None:
    run("test.py", *ANOMALYCLIP, f"ckpt_path={RUN}", "name=again")
    again = rows(place / "runs/test/again/results.csv")
    stored = rows(place / "runs/test/of_anomalyclip/results.csv")
    for row in (*again, *stored):
        del row["remarks"]  # names a file by its folder, which is a copy here
    assert again == stored


def test_a_finished_test_is_recognised(run: RunScript, place: Path) -> None:
    run("test.py", *ANOMALYCLIP, f"ckpt_path={RUN}", "name=of_anomalyclip", "resume=auto")
    log = (place / "runs/test/of_anomalyclip/test.log").read_text()
    assert "already holds a test, finished" in log


def test_a_stopped_test_of_several_datasets_goes_on(run: RunScript, place: Path) -> None:
    folder = place / "runs/test/several"
    shutil.rmtree(folder / "visa")
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"state": "stopped"}))
    stored = rows(folder / "results.csv")
    several = ["dataset=[mtd,visa]", "name=several"]
    run("test.py", *ANOMALYCLIP, f"ckpt_path={RUN}", *several)
    assert "tested before: runs/test/several/mtd" in (folder / "test.log").read_text()
    again = rows(folder / "results.csv")
    for row in (*again, *stored):
        del row["remarks"]
    assert again == stored


@pytest.mark.parametrize("command", ["average", "compare"])
def test_stored_tests_are_joined_to_the_same_table(zsad: Zsad, place: Path, command: str) -> None:
    stored = (place / command / f"{command}.csv").read_text()
    folders = ["runs/test/of_anomalyclip", "runs/test/of_anomalyclip_2"]
    done = zsad(command, *folders, "--out", "new")
    assert done.exit_code == 0, done.output
    assert (place / "new" / f"{command}.csv").read_text() == stored


def test_thresholds_of_a_stored_test_give_verdicts(zsad: Zsad, place: Path) -> None:
    done = zsad(
        "predict", RUN, "data/6.png", "data/7.png", "--thresholds", "runs/test/of_anomalyclip"
    )
    assert done.exit_code == 0, done.output
    assert "was chosen for other scores" not in done.output
    assert "2 images, " in done.output


def test_a_checkpoint_with_an_unknown_setting_is_refused(
    run: RunScript, zsad: Zsad, place: Path
) -> None:
    """Neither known nor renamed: left out, it would mean some default."""
    checkpoint = place / "dhrclip.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    content["zsad"]["settings"]["whole_pixels"] = 64
    torch.save(content, checkpoint)
    reason = "was trained with settings that are not known here: whole_pixels=64"
    way = "Use it with the zsad that wrote it (0.1.0), or train anew"
    done = zsad("predict", checkpoint, "data/6.png")
    assert done.exit_code == 1
    assert reason in str(done.exception)
    assert way in str(done.exception)
    with pytest.raises(SystemExit, match=reason):
        run("test.py", "model=dhrclip", "backbone=pocket", f"ckpt_path={checkpoint}")
