"""Choices, run folders, and what a stranger's checkpoint may and may not change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from zsad import build

OUTPUT = "paths.output_dir=/nowhere"


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("dataset=vsia", "no dataset=vsia. Known: .*Did you mean dataset=visa.*zsad prepare vsia ROOT"),
        ("model=anomaliclip", "no model=anomaliclip. Known: anomalyclip.*Did you mean model=anomalyclip"),
        ("backbone=poket", "no backbone=poket. .*Did you mean backbone=pocket"),
        ("dataset=visa,mvtex", "no dataset=mvtex. .*Did you mean dataset=mvtec"),
    ],
)
def test_a_misspelt_choice_is_answered_with_the_known_and_the_nearest(argument: str, answer: str) -> None:
    with pytest.raises(SystemExit, match=answer):
        build.check_choices(["-m", argument])


def test_right_choices_and_plain_numbers_pass() -> None:
    build.check_choices(["dataset=visa,mvtec", "seed=1,2", "experiment=null", "model.method.sigma_px=2", "--help"])


@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_help_answers_without_importing_torch(script: str) -> None:
    code = (
        f"import runpy, sys; sys.argv = ['{script}', '--help']\n"
        f"try: runpy.run_path('{script}', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'torch', 'lightning', 'open_clip', 'albumentations'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=build.CONF.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "anomalyclip" in done.stdout


def test_a_training_free_model_is_not_trained_and_the_right_command_is_given() -> None:
    config = build.compose("train", ["model._target_=zsad.tasks.evaluation.ZeroShotEvaluation", "dataset=mtd", OUTPUT])
    with pytest.raises(ValueError, match=r"nothing to train; run: python test.py model=anomalyclip dataset=mtd"):
        build.require_trainable(config)


def test_prompts_are_not_learned_in_half_precision() -> None:
    config = build.compose("train", ["trainer.precision=bf16-true", OUTPUT])
    with pytest.raises(ValueError, match=r"precision=bf16-true would keep the learned prompts.*trainer=bf16"):
        build.require_trainable(config)
    build.require_trainable(build.compose("train", ["trainer=bf16", OUTPUT]))


def test_a_model_that_learns_is_not_tested_without_what_it_learned() -> None:
    config = build.compose("test", ["backbone=pocket", OUTPUT])
    with pytest.raises(ValueError, match=r"needs learned prompts: pass ckpt_path=.*python train.py model=anomalyclip"):
        build.require_prompts(config)


def test_a_missing_checkpoint_is_said_before_anything_is_loaded() -> None:
    config = build.compose("test", ["ckpt_path=/nowhere/last.ckpt", OUTPUT])
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at /nowhere/last.ckpt.*python train.py"):
        build.require_prompts(config)


def test_an_earlier_training_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.write_bytes(b"earlier")
    config = build.compose("train", [f"paths.output_dir={tmp_path}"])
    with pytest.raises(ValueError, match=r"already holds a training.*overwrite=true"):
        build.resume_path(config)
    build.clear_run_folder(config, "training")  # nobody asked for it
    assert last.read_bytes() == b"earlier"


def test_overwriting_removes_the_earlier_run_only_once_the_new_one_is_known_to_be_in_order(tmp_path: Path) -> None:
    last, results = tmp_path / "MyRun" / "checkpoints" / "last.ckpt", tmp_path / "MyRun" / "results.csv"
    last.parent.mkdir(parents=True)
    last.write_bytes(b"earlier")
    results.write_text("earlier")
    config = build.compose("train", [f"paths.output_dir={tmp_path}/MyRun", "overwrite=true"])
    assert build.resume_path(config) is None
    assert last.exists()
    build.clear_run_folder(config, "training", resume_from=str(last))  # it goes on in this very folder
    build.clear_run_folder(config, "test")
    assert last.exists()
    assert not results.exists()
    build.clear_run_folder(config, "training")
    assert not last.exists()


def test_the_way_on_from_an_earlier_training_names_its_folder_letter_by_letter(tmp_path: Path) -> None:
    last = tmp_path / "MyRun" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(b"")
    with pytest.raises(ValueError, match=r"To go on with it: ckpt_path=\S*/MyRun\. To keep both"):
        build.resume_path(build.compose("train", [f"paths.output_dir={tmp_path}/MyRun"]))


def test_a_run_folder_stands_for_its_last_checkpoint(tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    torch.save({"state_dict": {}, "zsad": {}}, last)
    config = build.compose("train", [f"ckpt_path={tmp_path}", f"paths.output_dir={tmp_path}"])
    assert build.resume_path(config) == str(last)


def test_resuming_into_the_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    for run in ("one", "other"):
        (tmp_path / run / "checkpoints").mkdir(parents=True)
        torch.save({"state_dict": {}, "zsad": {}}, tmp_path / run / "checkpoints" / "last.ckpt")
    config = build.compose("train", [f"ckpt_path={tmp_path}/one", f"paths.output_dir={tmp_path}/other"])
    with pytest.raises(ValueError, match="other already holds a training"):
        build.resume_path(config)


def test_exported_prompts_are_not_taken_for_a_training_to_go_on_with(tmp_path: Path) -> None:
    (tmp_path / "prompts.safetensors").write_bytes(b"")
    config = build.compose("train", [f"ckpt_path={tmp_path}/prompts.safetensors", OUTPUT])
    with pytest.raises(ValueError, match=r"prompts.safetensors holds prompts alone.*resume from a .ckpt"):
        build.resume_path(config)


def test_a_damaged_checkpoint_is_refused_before_a_trainer_touches_it(tmp_path: Path) -> None:
    (tmp_path / "bad.ckpt").write_bytes(b"not a checkpoint")
    config = build.compose("train", [f"ckpt_path={tmp_path}/bad.ckpt", f"paths.output_dir={tmp_path}/out"])
    with pytest.raises(ValueError, match=r"bad.ckpt was refused"):
        build.resume_path(config)


def test_prediction_takes_over_the_settings_that_prompts_were_learned_with() -> None:
    config = build.compose("test", ["backbone=pocket", OUTPUT])
    learned = {
        "settings": {
            "sigma_px": 2,
            "prompts.deep_blocks": 5,
            "feature_blocks": [6, 24],
            "image_size": 128,
            "value_attention_from": None,
        }
    }
    assert build.adopt_settings(config, learned) == []
    method = config.model.method
    assert (method.sigma_px, method.prompts.deep_blocks, list(method.feature_blocks)) == (2, 5, [6, 24])
    assert method.value_attention_from is None
    assert config.image_size == 128


@pytest.mark.parametrize(
    "settings",
    [
        {"_target_": "os.system"},
        {"prompts._target_": "os.system"},
        {"prompts": {"_target_": "os.system"}},
        {"feature_blocks": [{"_target_": "os.system"}]},
        {"image_score": "${oc.env:HOME}"},
        {"backbone.pretrained": "/etc/passwd"},
        {"sigma_px": "9.0"},
        {"sigma_px": True},
        {"unknown": 1},
    ],
)
def test_a_strangers_checkpoint_cannot_say_what_is_built_or_looked_up(settings: dict) -> None:
    config = build.compose("test", ["backbone=pocket", OUTPUT])
    before = OmegaConf.to_yaml(config)
    assert build.adopt_settings(config, {"settings": settings}) == list(settings)
    assert OmegaConf.to_yaml(config) == before


def test_a_checkpoint_may_only_name_choices_that_exist() -> None:
    learned = {"model": "anomalyclip", "backbone": "../../evil"}
    with pytest.raises(ValueError, match=r"names an unknown backbone, '../../evil'.*--backbone"):
        build.known_choices(learned, model=None, backbone=None)
    assert build.known_choices(learned, model=None, backbone="pocket") == ["model=anomalyclip", "backbone=pocket"]
    with pytest.raises(ValueError, match="does not say its model: pass --model with one of anomalyclip"):
        build.known_choices({}, model=None, backbone="pocket")


def test_errors_of_users_are_one_message_and_the_traceback_is_a_wish_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit, match="error: got 3, expected 2"), build.clear_errors():
        raise ValueError("got 3, expected 2")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="got 3"), build.clear_errors():
        raise ValueError("got 3, expected 2")


def test_mistakes_of_ours_keep_their_traceback() -> None:
    with pytest.raises(AttributeError), build.clear_errors():
        raise AttributeError("a bug")
