"""The embedded backbone: small, an ordinary CLIP, and trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

import zsad
from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.tokenizer import tokenize
from zsad.data.synthetic import random_stream, render_pair
from zsad.data.synthetic.world import WORLDS
from zsad.methods.anomalyclip import AnomalyCLIP

POCKET = Path(zsad.__file__).parent / "assets" / "pocket.safetensors"
GOOD = ("flawless object.", "intact item.", "perfect surface.")
DAMAGED = (
    "scratched object.",
    "hole on the object.",
    "stained item.",
    "cracked surface.",
    "item with dust.",
)


@pytest.fixture(scope="module")
def pocket() -> CLIP:
    return CLIP(pretrained="pocket")


@pytest.fixture(scope="module")
def untrained(pocket: CLIP) -> CLIP:
    visual = pocket.model.visual
    architecture = {
        "embed_dim": visual.output_dim,
        "vision_cfg": {
            "image_size": pocket.native_size,
            "patch_size": pocket.patch_size,
            "width": visual.conv1.out_channels,
            "layers": pocket.depth,
            "head_width": 64,
        },
        "text_cfg": {"width": pocket.text_width, "heads": 1, "layers": pocket.text_depth},
    }
    return CLIP(pretrained=None, architecture=architecture)


def sentence(clip: CLIP, texts: tuple[str, ...]) -> Tensor:
    return F.normalize(clip.encode_text(tokenize(texts)), dim=-1).mean(0)


def auroc_inside_defects(clip: CLIP) -> float:
    """Return the AUROC of a defect's patches by hand-written prompts, mean over categories."""
    text = torch.stack([sentence(clip, GOOD), sentence(clip, DAMAGED)])
    method, results = AnomalyCLIP(clip, sigma_px=0.0), []
    for category in WORLDS["a"]:
        pairs = [
            render_pair(category, random_stream(5, category, k), 128, defect, "easy")
            for k, defect in _first(category)
        ]
        image = (
            torch.from_numpy(np.stack([pair.defective for pair in pairs]))
            .permute(0, 3, 1, 2)
            .float()
            / 255
        )
        mask = torch.from_numpy(np.stack([pair.mask for pair in pairs]))
        maps = method.block_maps(method.encode_image(image), text, (128, 128))[0]
        results += [
            roc_auc_score(m.flatten(), p.flatten()) for m, p in zip(mask, maps, strict=True)
        ]
    return float(np.mean(results))


def _first(category: str) -> list[tuple[int, str]]:
    return list(enumerate(WORLDS["a"][category].defects[:4]))


def test_the_file_is_small_enough_to_live_in_the_package():
    assert POCKET.stat().st_size <= 16 * 2**20


def test_the_text_tower_is_deep_enough_for_anomalyclips_prompts(pocket: CLIP):
    assert pocket.text_depth >= 9


@pytest.mark.parametrize("side", [128, 160])
def test_it_encodes_pictures_of_any_size(pocket: CLIP, side: int):
    features = pocket.encode_image(
        torch.rand(2, 3, side, side), blocks=[pocket.depth], value_attention_from=1
    )
    patches = side // pocket.patch_size
    assert features.grid == (patches, patches)
    assert features.tokens[0].shape == (2, 1 + patches**2, features.image.shape[-1])


def test_all_weights_are_finite(pocket: CLIP):
    assert all(bool(p.isfinite().all()) for p in pocket.parameters())


def test_the_weights_are_the_ones_that_were_measured(pocket: CLIP):
    ramp = torch.linspace(-1, 1, 3 * 128 * 128).view(1, 3, 128, 128)
    image = pocket.encode_image(ramp, norm_image=False).image[0, :4]
    torch.testing.assert_close(
        image, torch.tensor([22.56, 10.62, 19.73, 26.28]), rtol=0.01, atol=0.05
    )


def test_patches_inside_a_defect_look_more_damaged(pocket: CLIP):
    assert auroc_inside_defects(pocket) > 0.8


def test_random_weights_of_the_same_shape_do_not_see_defects(untrained: CLIP):
    assert auroc_inside_defects(untrained) < 0.7
