"""An earlier run keeps its files unless overwritten on request, and resumes from the right one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zsad.config import compose
from zsad.runs import run_folder
from zsad.runs.resume import Run

OUTPUT = "paths.output_dir=/nowhere"


def test_an_earlier_training_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.write_bytes(b"earlier")
    config = compose.compose_config("train", [f"paths.output_dir={tmp_path}"])
    with pytest.raises(ValueError, match=r"already holds a training.*overwrite=true"):
        run_folder.resume_path(config, Run(config, "training"))
    run_folder.clear_run_folder(config, Run(config, "training"))  # nobody asked for it
    assert last.read_bytes() == b"earlier"


def test_overwriting_removes_files_once_the_new_run_is_ready(tmp_path: Path) -> None:
    last, results = (
        tmp_path / "MyRun" / "checkpoints" / "last.ckpt",
        tmp_path / "MyRun" / "results.csv",
    )
    last.parent.mkdir(parents=True)
    last.write_bytes(b"earlier")
    results.write_text("earlier")
    config = compose.compose_config(
        "train", [f"paths.output_dir={tmp_path}/MyRun", "overwrite=true"]
    )
    assert run_folder.resume_path(config, Run(config, "training")) is None
    assert last.exists()
    run_folder.clear_run_folder(
        config, Run(config, "training"), resume_from=str(last)
    )  # it goes on in this very folder
    run_folder.clear_run_folder(config, Run(config, "test"))
    assert last.exists()
    assert not results.exists()
    run_folder.clear_run_folder(config, Run(config, "training"))
    assert not last.exists()


def test_the_resume_hint_names_the_folder_letter_by_letter(tmp_path: Path) -> None:
    last = tmp_path / "MyRun" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(b"")
    config = compose.compose_config("train", [f"paths.output_dir={tmp_path}/MyRun"])
    with pytest.raises(ValueError, match=r"To resume it: ckpt_path=\S*/MyRun\. To keep both"):
        run_folder.resume_path(config, Run(config, "training"))


def test_a_run_folder_stands_for_its_last_checkpoint(tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    torch.save({"state_dict": {}, "zsad": {}}, last)
    config = compose.compose_config(
        "train", [f"ckpt_path={tmp_path}", f"paths.output_dir={tmp_path}"]
    )
    assert run_folder.resume_path(config, Run(config, "training")) == str(last)


def test_resuming_into_the_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    for run in ("one", "other"):
        (tmp_path / run / "checkpoints").mkdir(parents=True)
        torch.save({"state_dict": {}, "zsad": {}}, tmp_path / run / "checkpoints" / "last.ckpt")
    config = compose.compose_config(
        "train", [f"ckpt_path={tmp_path}/one", f"paths.output_dir={tmp_path}/other"]
    )
    with pytest.raises(ValueError, match="other already holds a training"):
        run_folder.resume_path(config, Run(config, "training"))


def test_a_training_is_not_resumed_from_exported_prompts(tmp_path: Path) -> None:
    (tmp_path / "prompts.safetensors").write_bytes(b"")
    config = compose.compose_config("train", [f"ckpt_path={tmp_path}/prompts.safetensors", OUTPUT])
    with pytest.raises(
        ValueError, match=r"prompts.safetensors holds prompts alone.*resume from a .ckpt"
    ):
        run_folder.resume_path(config, Run(config, "training"))


def test_a_damaged_checkpoint_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "bad.ckpt").write_bytes(b"not a checkpoint")
    config = compose.compose_config(
        "train", [f"ckpt_path={tmp_path}/bad.ckpt", f"paths.output_dir={tmp_path}/out"]
    )
    with pytest.raises(ValueError, match=r"bad.ckpt was refused"):
        run_folder.resume_path(config, Run(config, "training"))
