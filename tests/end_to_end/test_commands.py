"""The commands of a user on generated images: prepare, verify, train, test, predict, export."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.end_to_end.conftest import RunScript, Zsad
from zsad.config import compose

SIZE = 64
POCKET = ["backbone=pocket", f"image_size={SIZE}", "dataset.num_workers=0", "trainer=cpu"]
Run = Callable[..., Path]


@pytest.fixture(scope="module")
def run(place: Path, run_script: RunScript) -> Run:
    """Run train.py or test.py with the pocket backbone and return the folder that it wrote."""

    def run(script: str, *given: str) -> Path:
        folder = place / f"{script}_{len(list(place.iterdir()))}"
        common = [*POCKET, f"paths.data_json={place}/data_json", f"hydra.run.dir={folder}"]
        run_script(f"{script}.py", *common, *given)
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
        "drawn": 0.0,
    }
    rows = list(csv.DictReader((trained / "log" / "version_0" / "metrics.csv").open()))
    assert float(rows[-1]["train/total"]) > 0


def test_testing_writes_table_heat_maps_sheets_and_run_card(tested: Path) -> None:
    rows = list(csv.DictReader((tested / "results.csv").open()))
    assert len(rows) == 8 + 1
    assert rows[-1]["category"] == "mean"
    for row in rows:
        for metric in (
            "image_auroc",
            "image_ap",
            "image_f1max",
            "pixel_auroc",
            "pixel_ap",
            "pixel_aupro",
        ):
            assert 0 <= float(row[metric]) <= 100
    assert rows[-1]["remarks"] == ""  # other categories, same weights, same settings: zero-shot
    for category in (row["category"] for row in rows[:-1]):
        Image.open(tested / "heatmaps" / f"{category}.png").verify()
        assert len(list((tested / "heatmaps" / category).rglob("*.png"))) == 4
    assert "| weights | backbone " in (tested / "run_card.md").read_text()


def test_testing_on_what_was_learned_from_says_not_zero_shot(run: Run, trained: Path) -> None:
    folder = run("test", "dataset=synthetic_a", f"ckpt_path={trained}", "dataset.max_images=4")
    assert (
        "not zero-shot: 4 of 4 tested images were learned from"
        in (folder / "results.md").read_text()
    )


def test_copies_of_learned_images_are_found_in_another_dataset(
    run: Run, trained: Path, place: Path, tmp_path: Path
) -> None:
    index = tmp_path / "renamed.json"
    index.write_text(
        (place / "data_json" / "synthetic_a.json").read_text().replace('"cable"', '"cord"')
    )
    copied = shutil.copytree(place / "synthetic_a", tmp_path / "images")
    for path in (copied / "cable").rglob(
        "*.png"
    ):  # saved anew, which changes every byte of the file
        Image.open(path).save(path, compress_level=1)
    given = (
        "dataset=synthetic_b",
        f"dataset.index={index}",
        f"dataset.root={copied}",
        "dataset.categories=[cord]",
    )
    remarks = (run("test", f"ckpt_path={trained}", *given) / "results.md").read_text()
    assert (
        "not zero-shot: 4 of 4 tested images look like copies of images that were learned from"
        in remarks
    )


def test_several_datasets_are_tested_in_one_run_with_one_table(run: Run, trained: Path) -> None:
    folder = run(
        "test", "dataset=[synthetic_b,synthetic_a]", f"ckpt_path={trained}", "dataset.max_images=16"
    )
    rows = {row["dataset"]: row for row in csv.DictReader((folder / "results.csv").open())}
    assert list(rows) == ["synthetic_a", "synthetic_b", "mean"]
    for name in ("synthetic_a", "synthetic_b"):
        own = list(csv.DictReader((folder / name / "results.csv").open()))[-1]
        assert own["image_ap"] == rows[name]["image_ap"]
        assert (folder / name / "run_card.json").is_file()
    mean = sum(float(rows[name]["image_ap"]) for name in ("synthetic_a", "synthetic_b")) / 2
    assert float(rows["mean"]["image_ap"]) == pytest.approx(mean, abs=1e-4)
    assert "synthetic_a: not zero-shot" in rows["mean"]["remarks"]


def test_all_missing_datasets_are_named_and_can_be_left_out(
    run: Run, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("dataset=[btad,synthetic_b,mpdd]", f"ckpt_path={trained}", "dataset.max_images=16")
    with pytest.raises(
        SystemExit,
        match=r"2 of 3 datasets are not here(.|\n)*btad(.|\n)*mpdd(.|\n)*skip_missing=true",
    ):
        run("test", *given)
    folder = run("test", *given, "skip_missing=true")
    assert [row["dataset"] for row in csv.DictReader((folder / "results.csv").open())] == [
        "synthetic_b",
        "mean",
    ]


def test_prediction_needs_only_the_checkpoint_and_images(
    zsad: Zsad, trained: Path, place: Path, tmp_path: Path
) -> None:
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
def test_exported_prompts_predict_like_the_checkpoint(
    zsad: Zsad, trained: Path, place: Path, tmp_path: Path, suffix: str
) -> None:
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


def test_a_second_training_into_the_same_folder_is_refused(run: Run, trained: Path) -> None:
    before = (trained / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(SystemExit, match="already holds a training"):
        run("train", "dataset=synthetic_a", "epochs=1", f"hydra.run.dir={trained}")
    with pytest.raises(
        SystemExit, match="/nowhere"
    ):  # a mistake beside overwrite=true costs nothing either
        run(
            "train",
            "dataset=synthetic_a",
            f"hydra.run.dir={trained}",
            "overwrite=true",
            "dataset.root=/nowhere",
        )
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
        (
            ["dataset=synthetic_a", "backbone.pretrained=/nowhere/clip.pt"],
            "no weight file /nowhere/clip.pt",
        ),
        (
            ["dataset=synthetic_a", "model._target_=zsad.tasks.evaluation.ZeroShotEvaluation"],
            "python test.py",
        ),
        (["dataset=synthetic_a", "ckpt_path=/nowhere"], "no checkpoint at /nowhere"),
    ],
)
def test_mistakes_in_a_training_are_answered_with_the_fix(
    run: Run, given: list[str], answer: str
) -> None:
    with pytest.raises(SystemExit, match=f"(?s)error: .*{answer}"):
        run("train", "epochs=1", *given)


def test_a_wrong_mask_and_a_cut_image_are_named(
    zsad: Zsad, run: Run, trained: Path, place: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "synthetic_b"
    shutil.copytree(place / "synthetic_b", broken)
    mask = next((broken / "cork" / "ground_truth").rglob("*.png"))
    Image.new("L", (SIZE, SIZE + 1)).save(mask)
    # One worker, as in most runs: what went wrong in another process is still one message.
    test = [
        "dataset=synthetic_b",
        f"ckpt_path={trained}",
        f"dataset.root={broken}",
        "dataset.num_workers=1",
    ]
    with pytest.raises(SystemExit, match=mask.name) as size:
        run("test", *test)
    Image.new("L", (SIZE, SIZE)).save(mask)
    picture = next((broken / "cork" / "test" / "good").iterdir())
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(SystemExit, match=picture.name) as truncated:
        run("test", *test)
    for answer in (size, truncated):
        assert "Traceback" not in str(answer.value)
        assert len(str(answer.value).strip().splitlines()) == 2
    done = zsad("verify", "synthetic_b", "--root", broken, "--data-json", place / "data_json")
    assert done.exit_code == 1
    assert picture.name in done.output


def test_pictures_that_are_not_there_are_named(zsad: Zsad, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, answer in (
        (tmp_path / "missing.png", "no such image"),
        (tmp_path / "empty", "no images below"),
    ):
        done = zsad("predict", trained, path, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert answer in str(done.exception)


def test_an_own_dataset_is_prepared_once_and_then_a_choice(
    zsad: Zsad,
    run: Run,
    trained: Path,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(compose.CONF, conf)
    given = ["--layout", "mvtec", "--data-json", place / "data_json", "--conf", conf / "dataset"]
    done = zsad("prepare", "my_parts", place / "synthetic_b", *given)
    assert done.exit_code == 0, done.output
    assert json.loads((place / "data_json" / "roots.json").read_text())["my_parts"] == str(
        place / "synthetic_b"
    )
    monkeypatch.setattr(compose, "CONF", conf)
    folder = run("test", "dataset=my_parts", f"ckpt_path={trained}", "dataset.max_images=8")
    assert "AnomalyCLIP on my_parts" in (folder / "results.md").read_text()


def test_a_second_test_of_the_same_name_is_refused(run: Run, trained: Path, tested: Path) -> None:
    before = (tested / "results.csv").read_bytes()
    again = [
        "dataset=synthetic_b",
        f"ckpt_path={trained}",
        f"hydra.run.dir={tested}",
        "dataset.max_images=4",
    ]
    with pytest.raises(SystemExit, match=r"already holds a test.*overwrite=true"):
        run("test", *again)
    assert (tested / "results.csv").read_bytes() == before


def test_last_checkpoint_is_never_older_than_another(run: Run, tmp_path: Path) -> None:
    folder, small = tmp_path / "run", ["dataset=synthetic_a", "dataset.max_images=4"]
    run("train", *small, "epochs=2", f"hydra.run.dir={folder}")
    first = folder / "checkpoints" / "epoch_00.ckpt"
    run("train", *small, "epochs=3", f"hydra.run.dir={folder}", f"ckpt_path={first}")
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        "epoch_00.ckpt",
        "epoch_01.ckpt",
        "epoch_02.ckpt",
        "last.ckpt",
    }
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 2


def test_training_cannot_go_on_with_other_data(run: Run, trained: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"cannot resume from ckpt_path: its trained_on.*synthetic_a.*synthetic_b"
    ):
        run("train", "dataset=synthetic_b", "epochs=2", f"ckpt_path={trained}")


def test_the_backbone_of_a_checkpoint_is_named_before_loading(run: Run, trained: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"learned with backbone=pocket, this run has backbone=clip_vit_b16: add"
    ):
        run("test", "dataset=synthetic_b", f"ckpt_path={trained}", "backbone=clip_vit_b16")


def test_an_output_folder_may_have_any_name(
    zsad: Zsad, trained: Path, place: Path, tmp_path: Path
) -> None:
    picture = next((place / "synthetic_b" / "cork" / "test" / "good").iterdir())
    out = tmp_path / "heat maps (1), a=b"
    assert zsad("predict", trained, picture, "--out", out).exit_code == 0
    assert (out / "scores.csv").is_file()


def test_a_misspelt_override_of_a_prediction_is_one_message(
    zsad: Zsad, trained: Path, place: Path
) -> None:
    picture = next((place / "synthetic_b" / "cork" / "test" / "good").iterdir())
    done = zsad("predict", trained, picture, "--set", "model.method.sgma=3")
    assert done.exit_code == 1
    assert "error: Could not override 'model.method.sgma'" in str(done.exception)
