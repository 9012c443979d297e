"""CLIP and CLIP-AC equal the plain CLIP of AnomalyCLIP's code under our reading of the tables,
number by number.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_clip
import torch
from safetensors.torch import save_file
from torch import Tensor

from zsad.backbones.clip.model import CLIP
from zsad.config import compose, instantiate
from zsad.methods.clip_baseline import CLIPBaseline
from zsad.prompts.ensemble import PromptEnsemble

BOUND = 2e-5  # max|difference| / max|reference|
METHODS = ("clip", "clip_ac", "clip_ac_mean_first")


@functools.cache
def ensemble(model: str, **changed: Any) -> PromptEnsemble:
    """Build the prompts of a model as ``test.py`` would."""
    config = compose.compose_config(
        "test", [f"model={model}", "backbone=pocket", "paths.output_dir=/nowhere"]
    )
    return instantiate.build(config.model.method.prompts, **changed)


def prompts_of(method: str) -> PromptEnsemble:
    if method == "clip_ac_mean_first":
        return ensemble("clip_ac", normalize_each=False)
    return ensemble(method)


@dataclass
class Case:
    """One golden file: its numbers, and our backbone on its weights."""

    config: dict[str, Any]
    golden: dict[str, Tensor]
    folder: Path

    @functools.cached_property
    def backbone(self) -> CLIP:
        path = self.folder / f"baseline-{self.config['seed']}.safetensors"
        names = ("patch", "vision_width", "vision_layers", "embed_dim", "text_width", "text_layers")
        state = tiny_clip.tiny_clip_state_dict(
            self.config["seed"],
            image_size=self.config["patch"] * self.config["grid"],
            **{name: self.config[name] for name in names},
        )
        save_file({name: torch.from_numpy(array) for name, array in state.items()}, path)
        return CLIP(pretrained=str(path))

    @functools.cached_property
    def image(self) -> Tensor:
        if "images" not in self.golden:
            pytest.skip("the file holds no images")
        return self.golden["images"].permute(0, 3, 1, 2).float() / 255

    def method(self, name: str) -> CLIPBaseline:
        return CLIPBaseline(
            self.backbone, prompts_of(name), temperature=self.config.get("temperature", 0.07)
        )

    def categories(self, method: str, *needed: str) -> list[str]:
        """Return the categories of which the file holds one of these; skip the test where there are
        none.
        """
        pattern = re.compile(rf"{method}\.(.+)\.({'|'.join(needed)})")
        found = sorted({match[1] for key in self.golden if (match := pattern.fullmatch(key))})
        if not found:
            pytest.skip(f"the file holds no {method}.CATEGORY.{' or '.join(needed)}")
        return found

    def compare(self, name: str, ours: Tensor) -> None:
        """Compare a quantity with the reference, where the file holds it."""
        if name in self.golden:
            assert_close(ours, self.golden[name], name)


@pytest.fixture
def clip_baseline_case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    with np.load(request.param) as archive:
        config = json.loads(str(archive["config"]))
        golden = {
            key: torch.from_numpy(archive[key])
            for key in archive.files
            if archive[key].dtype.kind in "biuf"
        }
    return Case(config, golden, tmp_path)


@pytest.fixture
def baseline_texts(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    return json.loads(request.param.read_text(encoding="utf-8"))


def assert_close(ours: Tensor, reference: Tensor, name: str) -> None:
    assert ours.shape == reference.shape, name
    difference = (ours.double() - reference.double()).abs().max()
    assert float(difference) <= BOUND * float(reference.double().abs().max()), name


@pytest.mark.parametrize("name", ["bottle", "metal_nut"])
def test_single_sentences_are_those_of_the_reference(
    baseline_texts: dict[str, list[str]], name: str
) -> None:
    if "single" not in baseline_texts:
        pytest.skip("the file holds no single sentences")
    expected = [text.format(name) for text in baseline_texts["single"]]
    assert [texts[0] for texts in ensemble("clip").sentences(name)] == expected


@pytest.mark.parametrize("name", ["bottle", "metal_nut"])
def test_sentences_of_the_ensemble_are_those_of_the_reference(
    baseline_texts: dict[str, list[str]], name: str
) -> None:
    if not {"states", "templates"} <= baseline_texts.keys():
        pytest.skip("the file holds no states with their templates")
    around = [
        [template.format(state.format(name)) for template in baseline_texts["templates"]]
        for state in baseline_texts["states"]
    ]
    assert list(ensemble("clip_ac").sentences(name)) == around


@pytest.mark.parametrize("name", METHODS)
def test_text_features_of_every_category(clip_baseline_case: Case, name: str) -> None:
    case, prompts = clip_baseline_case, prompts_of(name)
    for category in case.categories(name, "text_features"):
        features = prompts.encode(case.backbone, category)
        if not prompts.normalize_each:  # else of unit length by themselves
            features = torch.nn.functional.normalize(features, dim=-1)
        case.compare(f"{name}.{category}.text_features", features)


def test_tokens_of_the_last_block(clip_baseline_case: Case) -> None:
    case = clip_baseline_case
    if "tokens" not in case.golden:
        pytest.skip("the file holds no tokens")
    features = case.method("clip").encode_image(case.image)
    case.compare("tokens", features.tokens[0])
    assert_close(features.image, case.golden["tokens"][:, 0], "class token")


@pytest.mark.parametrize("name", METHODS)
def test_image_scores_and_maps(clip_baseline_case: Case, name: str) -> None:
    case = clip_baseline_case
    method = case.method(name)
    features = method.encode_image(case.image)
    for category in case.categories(name, "image_score", "map", "pixel_map"):
        names = [category] * len(case.image)
        prediction, text = method(case.image, names), method.texts.features(case.backbone, names)
        case.compare(f"{name}.{category}.image_score", prediction.probability)
        case.compare(
            f"{name}.{category}.map", method.patch_margins(features, text).sigmoid().mean(dim=0)
        )
        case.compare(f"{name}.{category}.pixel_map", prediction.map)


def test_each_image_of_a_batch_has_the_texts_of_its_category(clip_baseline_case: Case) -> None:
    """A batch of several categories gives each image its own texts."""
    case = clip_baseline_case
    names = case.categories("clip", "image_score")
    mixed = [names[i % len(names)] for i in range(len(case.image))]
    expected = [case.golden[f"clip.{name}.image_score"][i] for i, name in enumerate(mixed)]
    assert_close(
        case.method("clip")(case.image, mixed).probability, torch.stack(expected), "image_score"
    )
