"""A run card repeats what was given, finds out the rest, and keeps secrets."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from zsad import __version__
from zsad.reports import run_card as module
from zsad.reports.run_card import git_state, run_card, write_run_card

GIVEN = {
    "config": {
        "model": {"sigma": 4.0, "tokens": 77},
        "logger": {"api_key": "s3cret", "url": "https://me:s3cret@host/x"},
    },
    "seed": 111,
    "weights": {"clip_vit_l14_336": "3035c92b", "pocket": None},
    "trained_on": {"dataset": "visa"},
    "device": "cpu",
    "precision": "32-true",
}


def test_what_is_given_is_repeated_and_the_rest_is_found():
    card = run_card(**GIVEN, world_size=2, notes=["not zero-shot"])
    assert card["config"]["model"] == GIVEN["config"]["model"]
    assert (card["seed"], card["world_size"], card["notes"]) == (111, 2, ["not zero-shot"])
    assert card["packages"]["zsad"] == __version__
    assert card["packages"]["torch"] == torch.__version__.split("+")[0]
    assert card["packages"][
        "open-clip-torch" if "open-clip-torch" in card["packages"] else "open_clip_torch"
    ]
    assert card["peak_memory_mib"]["process"] > 50
    assert card["device"].startswith("cpu")


def test_no_secret_and_nothing_of_the_environment_gets_in(monkeypatch):
    monkeypatch.setenv("ZSAD_TEST_VARIABLE", "s3cret")
    monkeypatch.setattr(
        sys, "argv", ["test.py", "logger.api_key=s3cret", "root=ftp://me:s3cret@host", "seed=1"]
    )
    card = run_card(**GIVEN)
    assert "s3cret" not in json.dumps(card)
    assert card["command"] == "test.py logger.api_key=(hidden) root=ftp://(hidden)@host seed=1"


def test_the_commit_is_that_of_the_clone(tmp_path):
    package = tmp_path / "src" / "reports"
    package.mkdir(parents=True)
    (package.parent / "types.py").write_text("")
    assert git_state(package) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert git_state(package) == {"commit": head, "dirty": False}
    (package.parent / "types.py").write_text("changed")
    assert git_state(package) == {"commit": head, "dirty": True}


def test_a_copy_inside_another_clone_has_no_commit(tmp_path):
    package = tmp_path / "site-packages" / "zsad" / "reports"
    package.mkdir(parents=True)
    (package.parent / "types.py").write_text("")
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    assert git_state(package) is None


def test_without_git_the_card_is_still_written(monkeypatch, tmp_path):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    _, page = write_run_card(run_card(**GIVEN), tmp_path)
    assert "| commit | not a clone |" in page.read_text()


def test_the_files_hold_the_card(tmp_path):
    timing = {"images": 30, "seconds": 12.0, "images_per_second": 2.5}
    given = GIVEN | {"config": {"root": Path("data")}}
    card = run_card(**given, timing=timing, notes=["not zero-shot"])
    as_json, page = write_run_card(card, tmp_path)
    assert json.loads(as_json.read_text()) == card | {"config": {"root": "data"}}
    assert "> not zero-shot" in page.read_text()
    assert "| timing | 30 images in 12.0 s (2.50 a second) |" in page.read_text()
    assert "clip_vit_l14_336 3035c92b, pocket random" in page.read_text()
