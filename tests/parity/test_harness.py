"""The parity tests try what a folder holds, in any mixture and in parts, and notice a single wrong
number.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from zsad.backbones.clip.build import OPENAI_MEAN, OPENAI_STD
from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.tokenizer import tokenize
from zsad.data.images import to_tensor
from zsad.data.masks import resize_mask
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.metrics import curves
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.types import Batch

HERE = Path(__file__).parent
GEOMETRY = {
    "vision_width": 64,
    "vision_layers": 3,
    "embed_dim": 32,
    "text_width": 64,
    "text_layers": 2,
}
# The corners: no deep prompts, no value path, taps in no order of which the first does not take
# part.
CONFIG = GEOMETRY | {
    "seed": 3,
    "native_size": 28,
    "input_size": 42,
    "depth": 1,
    "dpam_layer": 1,
    "features_list": [3, 1, 2],
    "feature_map_layer": [1, 2, 3],
    "sigma": 2,
}


def run_parity(golden: Path, *names: str) -> tuple[int, str]:
    files = [str(HERE / f"test_{name}_parity.py") for name in names]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-rfs",
        "--golden",
        str(golden),
        *files,
    ]
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def our_method(folder: Path) -> AnomalyCLIP:
    state = tiny_clip.tiny_clip_state_dict(3, image_size=28, **GEOMETRY)
    path = folder / "weights.safetensors"
    save_file({name: torch.from_numpy(array) for name, array in state.items()}, path)
    method = AnomalyCLIP(
        CLIP(pretrained=str(path), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        prompts=functools.partial(ObjectAgnosticPrompts, deep_blocks=1),
        feature_blocks=(2, 3),
        value_attention_from=None,
        tower_depth=3,
        sigma_px=2.0,
    )
    learned = tiny_clip.tiny_prompt_parameters(3, ctx_dim=64, depth=1)
    with torch.no_grad():
        method.prompts.normal.copy_(torch.from_numpy(learned["ctx_pos"])[0, 0])
        method.prompts.anomalous.copy_(torch.from_numpy(learned["ctx_neg"])[0, 0])
    return method


def our_golden(method: AnomalyCLIP) -> dict[str, Tensor]:
    images = torch.randn(2, 3, 42, 42, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 42, 42, dtype=torch.bool)
    masks[1, 5:20, 10:30] = True
    labels = torch.tensor([False, True])
    batch = Batch(
        images, masks, torch.tensor([True, True]), labels, ("x", "x"), ("x", "x"), ("x", "x")
    )
    text = method.text_features()
    tapped = method.backbone.encode_image(images, blocks=[1, 2, 3], norm_image=False)
    terms = method.loss(batch)
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    return {
        "images": images,
        "masks": masks.to(torch.uint8),
        "labels": labels.long(),
        "tokenized_prompts": method.prompts.tokens.int(),
        "text_features_raw": text,
        "patch_features": torch.stack(tapped.tokens),
        "image_logits": method.image_logits(tapped, text),
        "anomaly_map_smoothed": method(images, ("x", "x")).map * 2,
        "loss_total": total.detach(),
        "loss_trajectory": torch.stack([total - terms["image"], terms["image"]]).detach()[None],
        "grad.ctx_pos": method.prompts.normal.grad[None, None],
    }


def write_model_cases(folder: Path) -> None:
    golden = our_golden(our_method(folder))
    config = np.array(json.dumps(CONFIG))
    np.savez(
        folder / "right.npz",
        config=config,
        **{name: tensor.numpy() for name, tensor in golden.items()},
    )
    np.savez(
        folder / "text_alone.npz",
        config=config,
        text_features_raw=golden["text_features_raw"].numpy(),
    )
    golden["patch_features"][0, 0, 0, 0] += 1
    np.savez(
        folder / "wrong.npz",
        config=config,
        **{name: tensor.numpy() for name, tensor in golden.items()},
    )
    np.savez(folder / "no_reference.npz", config=config, images=golden["images"].numpy())


def write_other_cases(folder: Path) -> None:
    random = np.random.default_rng(0)
    scores, labels = random.random(8, dtype=np.float32), np.arange(8) % 2
    image_auroc = curves.auroc(
        curves.rank_labelled(torch.from_numpy(scores), torch.from_numpy(labels).bool())
    )
    np.savez(
        folder / "image_metric.npz",
        **{"a.scores": scores, "a.labels": labels, "a.image_auroc": image_auroc},
    )
    maps, masks = (
        random.random((2, 8, 8), dtype=np.float32),
        random.integers(0, 2, (2, 8, 8)).astype(np.uint8),
    )
    pixel_ap = curves.average_precision(
        curves.rank_pixels(torch.from_numpy(maps), torch.from_numpy(masks).bool())
    )
    np.savez(folder / "pixel_metric.npz", maps=maps, masks=masks, pixel_ap=pixel_ap)
    picture = random.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    mean, std = (
        np.array(values, dtype=np.float32)[:, None, None] for values in (OPENAI_MEAN, OPENAI_STD)
    )
    pixels = (to_tensor(Image.fromarray(picture), 14).numpy() - mean) / std
    np.savez(folder / "images_alone.npz", **{"x.input": picture, "x.output": pixels})
    mask = resize_mask(Image.fromarray(picture[..., 0]), 14).numpy()
    np.savez(folder / "masks_alone.npz", **{"y.input": picture[..., 0], "y.output": mask})
    case = {"text": "object", "ids": [token for token in tokenize(["object"])[0].tolist() if token]}
    (folder / "tokens.json").write_text(json.dumps({"context_length": 77, "cases": [case]}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    write_model_cases(folder)
    write_other_cases(folder)
    later = folder / "later_kind"
    later.mkdir()
    np.savez(later / "windows.npz", config=np.array('["3x3"]'), mask=np.zeros(3))
    (later / "texts.json").write_text('["a photo"]')
    (later / "cut.npz").write_bytes(b"PK\x03\x04")
    return folder


@pytest.fixture(scope="module")
def outcome(folder: Path) -> str:
    code, output = run_parity(folder, "anomalyclip", "metrics", "preprocessing", "tokenization")
    assert code == pytest.ExitCode.TESTS_FAILED, output
    return output


def test_only_a_wrong_number_and_a_missing_reference_fail(outcome: str) -> None:
    """Only the wrong number and the file without a reference fail."""
    failed = [
        line.split()[1].partition("::")[2]
        for line in outcome.splitlines()
        if line.startswith("FAILED")
    ]
    assert sorted(failed) == [
        "test_image_and_patch_features_of_every_tap[wrong.npz]",
        "test_the_file_holds_something_that_is_compared[no_reference.npz]",
    ], outcome


def test_a_file_skips_only_the_parts_that_it_lacks(outcome: str) -> None:
    """A whole file skips only what it does not hold and parts are tried too."""
    # What is skipped are quantities that a file does not hold, and kinds of which the folder holds
    # no file.
    assert "2 failed, 25 passed, 44 skipped" in outcome, outcome


def test_files_that_nothing_tries_are_listed_and_break_nothing(outcome: str) -> None:
    assert "later_kind: cut.npz, texts.json, windows.npz" in outcome


def test_one_file_can_be_tried_alone(folder: Path) -> None:
    code, output = run_parity(folder / "pixel_metric.npz", "metrics")
    assert code == pytest.ExitCode.OK, output
    assert "2 passed, 4 skipped" in output


def test_a_folder_without_any_case_is_an_error(folder: Path) -> None:
    """A folder without any case is an error not a silent success."""
    code, output = run_parity(folder / "later_kind", "metrics")
    assert code == pytest.ExitCode.USAGE_ERROR, output
    assert "none of its 3 .npz and .json files holds a case" in output
