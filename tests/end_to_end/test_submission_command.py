"""The files of the VisA challenge, by the command, from images without labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.end_to_end.conftest import Zsad
from zsad.backbones.clip.model import CLIP
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.model_files.exported_prompts import save_prompts


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    file = tmp_path / "prompts.safetensors"
    save_prompts(
        file, AnomalyCLIP(CLIP(pretrained="pocket")), {"model": "anomalyclip", "backbone": "pocket"}
    )
    return file


def test_a_challenge_download_becomes_a_submission(
    zsad: Zsad, tmp_path: Path, prompts: Path
) -> None:
    rng, names = np.random.default_rng(0), ("candle", "pcb1")
    for category in names:
        folder = tmp_path / "download" / "vand_0shot" / "Test" / category / "Images"
        folder.mkdir(parents=True)
        for i in range(2):
            Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(
                folder / f"{i:03d}.JPG"
            )
    shutil.copytree(
        tmp_path / "download" / "vand_0shot", tmp_path / "download" / "vand_kshot"
    )  # equal names
    data_json, out = tmp_path / "data_json", tmp_path / "out"
    for arguments in (
        ["prepare", "visa_challenge", tmp_path / "download", "--data-json", data_json],
        [
            "submission",
            prompts,
            "--out",
            out,
            "--data-json",
            data_json,
            "--size-px",
            40,
            "--set",
            "image_size=64",
        ],
    ):
        done = zsad(*arguments)
        assert done.exit_code == 0, done.output
    assert "4 images of 2 classes" in done.output
    for category in names:
        kinds = out / "0shot" / "0" / category / "Unknown"
        scores = [
            float(path.read_text()) for path in sorted((kinds / "classification").glob("*.txt"))
        ]
        assert sorted(scores) == [0.0, 1.0]
        maps = [np.load(path)["img"] for path in sorted((kinds / "segmentation").glob("*.npz"))]
        assert [one.shape for one in maps] == [(40, 40)] * 2
        assert (min(one.min() for one in maps), max(one.max() for one in maps)) == (0, 255)
