"""Commands with a tiny random SAM 3: test, train, test with learned weights, predict."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.end_to_end.conftest import RunScript, Zsad
from tests.end_to_end.small_datasets import write_tiles
from zsad.config import compose, instantiate

TINY = [
    "model=sam3",
    "backbone=sam3_random",
    "backbone.input_size=56",
    "model.method.prompts.num_prompts=2",
    "dataset.num_workers=0",
    "trainer=cpu",
]
Run = Callable[..., Path]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images that are not square, of a known and an unknown category.

    Every second image has a dark patch.
    """
    place = tmp_path_factory.mktemp("place")
    (place / "pictures").mkdir()
    categories = ["magnetic_tile"] * 6 + ["wheel"] * 4
    write_tiles(place / "pictures", [(40, 60)] * 10, range(1, 10, 2), categories, "spot")
    return place


@pytest.fixture(scope="module")
def run(place: Path, run_script: RunScript) -> Run:
    def run(script: str, *given: str) -> Path:
        folder = place / f"{script}_{len(list(place.iterdir()))}"
        root = place / "pictures"
        data = ["dataset=mtd", f"dataset.index={root}/index.json", f"dataset.root={root}"]
        run_script(f"{script}.py", *TINY, *data, f"hydra.run.dir={folder}", *given)
        return folder

    return run


@pytest.fixture(scope="module")
def zero_shot(run: Run) -> Path:
    return run("test")


@pytest.fixture(scope="module")
def trained(run: Run) -> Path:
    return run("train", "epochs=1", "model.optimizer.lr=1e-3", "model.method.learned_vectors=2")


def test_sam3_is_tested_untrained_and_writes_its_report(zero_shot: Path) -> None:
    rows = list(csv.DictReader((zero_shot / "results.csv").open()))
    assert {row["category"] for row in rows} >= {"magnetic_tile", "wheel"}
    assert (zero_shot / "report.html").is_file()
    assert any((zero_shot / "heatmaps").rglob("*.png"))
    assert "not zero-shot" not in (zero_shot / "results.md").read_text()


def test_the_same_command_gives_the_same_table(run: Run, zero_shot: Path) -> None:
    assert (run("test") / "results.csv").read_bytes() == (zero_shot / "results.csv").read_bytes()


def test_a_checkpoint_holds_trained_parts_and_fingerprints(trained: Path) -> None:
    """A checkpoint holds the trained parts, and of the frozen ones their fingerprints."""
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    names = set(content["state_dict"])
    assert "method.learned" in names
    assert not any("towers" in name for name in names)
    assert list(content["zsad"]["weights"]) == ["backbone.towers"]
    assert "no words for wheel of mtd" in (trained / "train.log").read_text(), (
        "it was not told what it learns from"
    )


def test_what_it_learned_changes_its_results(run: Run, trained: Path, zero_shot: Path) -> None:
    tested = run("test", f"ckpt_path={trained}", "model.method.learned_vectors=2")
    assert (tested / "results.csv").read_bytes() != (zero_shot / "results.csv").read_bytes()
    assert "other weights" not in (tested / "results.md").read_text()


def test_a_checkpoint_of_other_settings_is_refused_readably(run: Run, trained: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("test", f"ckpt_path={trained}")
    assert "unknown learned" in str(stopped.value)
    with pytest.raises(SystemExit) as stopped:
        run("test", f"ckpt_path={trained}", "model.method.train_head=false")
    assert "more" in str(stopped.value)


def test_predicting_needs_no_checkpoint_and_takes_one(
    zsad: Zsad, place: Path, trained: Path, tmp_path: Path
) -> None:
    images = [place / "pictures" / "1.png", place / "pictures" / "2.png"]
    tiny = [part for setting in TINY[2:4] for part in ("--set", setting)]
    done = zsad(
        "predict", "sam3", *images, "--backbone", "sam3_random", "--out", tmp_path / "plain", *tiny
    )
    assert done.exit_code == 0, done.output
    assert len(list(csv.DictReader((tmp_path / "plain" / "scores.csv").open()))) == 2
    done = zsad(
        "predict",
        trained,
        *images,
        "--out",
        tmp_path / "learned",
        "--set",
        "backbone.input_size=56",
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "learned" / "scores.csv").read_text() != (
        tmp_path / "plain" / "scores.csv"
    ).read_text()


def test_what_was_learned_is_exported_and_the_untrained_is_not(
    zsad: Zsad, trained: Path, tmp_path: Path
) -> None:
    given = ("--set", "backbone.input_size=56")
    done = zsad("export", trained, tmp_path / "tuned.safetensors", *given)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "tuned.safetensors").is_file()
    refused = zsad("export", trained, tmp_path / "tuned.pth", *given)
    assert "export to .safetensors" in str(refused.exception)
    refused = zsad("export", "sam3", tmp_path / "nothing.safetensors", "--backbone", "sam3_random")
    assert "nothing to export" in str(refused.exception)


@pytest.mark.parametrize("model", ["sam3", "sam3_gated", "sam3_vectors"])
@pytest.mark.parametrize("script", ["train", "test"])
def test_the_documented_choices_build(script: str, model: str) -> None:
    given = [f"model={model}", "backbone=sam3_random", "dataset=visa", "paths.output_dir=/nowhere"]
    method = instantiate.build(compose.compose_config(script, given).model).method
    method.set_dataset("visa")
    assert "burn mark" in method.concepts.phrases("pcb1")
