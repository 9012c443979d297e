"""The commands as a user types them, on generated pictures: prepare, verify, train, test, predict, export."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from typer.testing import CliRunner, Result

from zsad import build
from zsad.cli import app
from zsad.data.synthetic import write_synthetic

ROOT = Path(__file__).parents[2]
SIZE = 64
POCKET = ["backbone=pocket", f"image_size={SIZE}", "dataset.num_workers=0", "trainer=cpu"]
Run = Callable[..., Path]


@contextmanager
def arguments(script: str, *given: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [script, *given])
        GlobalHydra.instance().clear()
        yield
        GlobalHydra.instance().clear()


def zsad(*given: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in given])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small generated datasets, prepared."""
    place = tmp_path_factory.mktemp("place")
    for world in ("a", "b"):
        name = f"synthetic_{world}"
        write_synthetic(place / name, world=world, size=SIZE, train_good=1, good=2, defective=2, grades=("easy",))
        done = zsad("prepare", name, place / name, "--layout", "mvtec", "--data-json", place / "data_json")
        assert done.exit_code == 0, done.output
        assert f"wrote {place}/data_json/{name}.json" in done.output
    return place


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    """Run train.py or test.py with the pocket backbone and return the folder that it wrote."""

    def run(script: str, *given: str) -> Path:
        folder = place / f"{script}_{len(list(place.iterdir()))}"
        common = [*POCKET, f"paths.data_json={place}/data_json", f"hydra.run.dir={folder}"]
        with arguments(f"{script}.py", *common, *given):
            runpy.run_path(str(ROOT / f"{script}.py"), run_name="__main__")
        return folder

    return run


@pytest.fixture(scope="module")
def trained(run: Run) -> Path:
    return run("train", "dataset=synthetic_a", "epochs=1")


@pytest.fixture(scope="module")
def tested(run: Run, trained: Path) -> Path:
    return run("test", "dataset=synthetic_b", f"ckpt_path={trained}")


def test_training_leaves_checkpoints_a_log_and_a_run_card(trained: Path) -> None:
    names = {path.name for path in (trained / "checkpoints").iterdir()}
    assert names == {"epoch_00.ckpt", "last.ckpt"}
    card = json.loads((trained / "run_card.json").read_text())
    assert card["trained_on"] == {
        "dataset": "synthetic_a",
        "phase": "test",
        "categories": sorted(card["trained_on"]["categories"]),
        "images": 32,
        "anomalous": 16,
    }
    rows = list(csv.DictReader((trained / "log" / "metrics.csv").open()))
    assert float(rows[-1]["train/total"]) > 0


def test_testing_leaves_a_table_heat_maps_a_sheet_per_category_and_a_run_card(tested: Path) -> None:
    rows = list(csv.DictReader((tested / "results.csv").open()))
    assert len(rows) == 8 + 1
    assert rows[-1]["category"] == "mean"
    for row in rows:
        for metric in ("image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_aupro"):
            assert 0 <= float(row[metric]) <= 100
    assert rows[-1]["remarks"] == ""  # other categories, same weights, same settings: zero-shot
    for category in (row["category"] for row in rows[:-1]):
        Image.open(tested / "heatmaps" / f"{category}.png").verify()
        assert len(list((tested / "heatmaps" / category).rglob("*.png"))) == 4
    assert "| weights | backbone " in (tested / "run_card.md").read_text()


def test_testing_on_what_was_learned_from_says_not_zero_shot(run: Run, trained: Path) -> None:
    folder = run("test", "dataset=synthetic_a", f"ckpt_path={trained}", "dataset.max_images=4")
    assert "not zero-shot: the prompts were learned on synthetic_a" in (folder / "results.md").read_text()


def test_prediction_needs_nothing_but_the_checkpoint_and_pictures(trained: Path, place: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(place / "synthetic_b" / "cork" / "test" / "good", pictures / "inner")
    Image.fromarray(np.zeros((20, 300), dtype=np.uint16)).save(pictures / "deep.PNG")
    (pictures / "notes.txt").write_text("no picture")
    out = tmp_path / "out"
    done = zsad("predict", trained, pictures, pictures / "deep.PNG", "--out", out)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((out / "scores.csv").open()))
    assert [Path(row["path"]).name for row in rows] == ["deep.PNG", "000.png", "001.png"]
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)
    assert len(list((out / "heatmaps").rglob("*.png"))) == 3


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_exported_prompts_predict_like_the_checkpoint(trained: Path, place: Path, tmp_path: Path, suffix: str) -> None:
    exported = tmp_path / f"prompts{suffix}"
    assert zsad("export", trained, exported).exit_code == 0
    picture = next((place / "synthetic_b" / "cork" / "test" / "good").iterdir())
    scores = []
    for checkpoint in (trained, exported):
        out = tmp_path / f"out_{checkpoint.suffix}"
        choice = ["--model", "anomalyclip", "--backbone", "pocket", "--set", f"image_size={SIZE}"]
        done = zsad("predict", checkpoint, picture, "--out", out, *choice)
        assert done.exit_code == 0, done.output
        scores.append(next(csv.DictReader((out / "scores.csv").open()))["score"])
    assert scores[0] == scores[1]


def test_a_second_training_into_the_same_folder_is_refused_and_harms_nothing(run: Run, trained: Path) -> None:
    before = (trained / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(SystemExit, match="already holds a training"):
        run("train", "dataset=synthetic_a", "epochs=1", f"hydra.run.dir={trained}")
    assert (trained / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_training_goes_on_from_its_checkpoint(run: Run, trained: Path) -> None:
    folder = run("train", "dataset=synthetic_a", "epochs=2", f"ckpt_path={trained}")
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (["dataset=synthetic_a", "dataset.root=/nowhere"], "/nowhere.*dataset.root="),
        (["dataset=mvtec"], "no .*mvtec.json.*zsad prepare mvtec"),
        (["dataset=synthetic_a", "dataset.categories=[gaer]"], "gaer.*gear"),
        (["dataset=synthetic_a", "dataset.train_phase=training"], "training.*test"),
        (["dataset=synthetic_a", "image_size=60"], "multiple of 8"),
        (["dataset=synthetic_a", "backbone.pretrained=/nowhere/clip.pt"], "no weight file /nowhere/clip.pt"),
        (["dataset=synthetic_a", "model._target_=zsad.tasks.evaluation.ZeroShotEvaluation"], "python test.py"),
        (["dataset=synthetic_a", "ckpt_path=/nowhere"], "no checkpoint at /nowhere"),
    ],
)
def test_mistakes_in_a_training_are_answered_with_the_fix(run: Run, given: list[str], answer: str) -> None:
    with pytest.raises(SystemExit, match=f"(?s)error: .*{answer}"):
        run("train", "epochs=1", *given)


def test_a_mask_of_another_size_and_a_truncated_picture_stop_with_their_names(
    run: Run, trained: Path, place: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "synthetic_b"
    shutil.copytree(place / "synthetic_b", broken)
    mask = next((broken / "cork" / "ground_truth").rglob("*.png"))
    Image.new("L", (SIZE, SIZE + 1)).save(mask)
    test = ["dataset=synthetic_b", f"ckpt_path={trained}", f"dataset.root={broken}"]
    with pytest.raises(SystemExit, match=mask.name):
        run("test", *test)
    Image.new("L", (SIZE, SIZE)).save(mask)
    picture = next((broken / "cork" / "test" / "good").iterdir())
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(SystemExit, match=f"{picture.name}"):
        run("test", *test)
    done = zsad("verify", "synthetic_b", "--root", broken, "--data-json", place / "data_json")
    assert done.exit_code == 1
    assert picture.name in done.output


def test_pictures_that_are_not_there_are_named(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, answer in ((tmp_path / "missing.png", "no such image"), (tmp_path / "empty", "no images below")):
        done = zsad("predict", trained, path, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert answer in str(done.exception)


def test_the_configuration_of_a_prepared_dataset_is_known(place: Path) -> None:
    assert {"synthetic_a", "synthetic_b"} <= set(build.choices("dataset"))
    assert json.loads((place / "data_json" / "roots.json").read_text())["synthetic_a"] == str(place / "synthetic_a")
