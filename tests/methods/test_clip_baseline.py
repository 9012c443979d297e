"""CLIP without learning, beyond the goldens: its categories, its options, its configurations."""

from __future__ import annotations

import pytest
import torch

from zsad.backbones.clip.model import CLIP
from zsad.config import checkpoint_settings, compose, instantiate
from zsad.functional.resample import gaussian_smooth
from zsad.methods.clip_baseline import CLIPBaseline
from zsad.prompts.ensemble import PromptEnsemble
from zsad.runs import preflight
from zsad.tasks.evaluation import ZeroShotEvaluation

MODELS = ("clip", "clip_ac", "clip_ac_winclip")
OUTPUT = "paths.output_dir=/nowhere"
PROMPTS = PromptEnsemble(["a {}"], ["a damaged {}"], ["{}."])


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))


def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(
    tiny_backbone: CLIP, image: torch.Tensor
) -> None:
    """An image has the same prediction alone and among images of other categories."""
    together = CLIPBaseline(tiny_backbone, PROMPTS)(image, ["nut", "cork"])
    for index, name in enumerate(["nut", "cork"]):
        alone = CLIPBaseline(tiny_backbone, PROMPTS)(image[index : index + 1], [name])
        torch.testing.assert_close(together.map[index], alone.map[0])
        torch.testing.assert_close(together.score[index], alone.score[0])


def test_the_category_is_looked_at(tiny_backbone: CLIP, image: torch.Tensor) -> None:
    method = CLIPBaseline(tiny_backbone, PROMPTS)
    assert not torch.equal(method(image, ["nut"] * 2).score, method(image, ["cork"] * 2).score)


def test_exchanged_prompts_exchange_normal_and_anomalous(
    tiny_backbone: CLIP, image: torch.Tensor
) -> None:
    exchanged = PromptEnsemble(PROMPTS.anomalous, PROMPTS.normal, PROMPTS.templates)
    one, other = (
        CLIPBaseline(tiny_backbone, prompts)(image, ["nut"] * 2) for prompts in (PROMPTS, exchanged)
    )
    torch.testing.assert_close(one.map, 1 - other.map)
    torch.testing.assert_close(one.score, -other.score)


def test_maps_are_probabilities_at_the_size_of_the_image(tiny_backbone: CLIP) -> None:
    prediction = CLIPBaseline(tiny_backbone, PROMPTS)(torch.rand(3, 3, 42, 70), ["x", "y", "x"])
    assert prediction.map.shape == (3, 42, 70)
    assert prediction.map.min() >= 0
    assert prediction.map.max() <= 1
    assert prediction.map.std() > 0
    assert prediction.score.shape == (3,)


def test_nothing_learns_and_no_gradient_is_kept(tiny_backbone: CLIP, image: torch.Tensor) -> None:
    method = CLIPBaseline(tiny_backbone, PROMPTS)
    assert not [name for name, parameter in method.named_parameters() if parameter.requires_grad]
    prediction = method.train()(image, ["nut"] * 2)
    assert not prediction.map.requires_grad
    assert not prediction.score.requires_grad


def test_smoothing_is_an_option_of_the_map_alone(tiny_backbone: CLIP, image: torch.Tensor) -> None:
    sharp = CLIPBaseline(tiny_backbone, PROMPTS)(image, ["nut"] * 2)
    smooth = CLIPBaseline(tiny_backbone, PROMPTS, sigma_px=4.0)(image, ["nut"] * 2)
    torch.testing.assert_close(smooth.map, gaussian_smooth(sharp.map, 4.0))
    assert torch.equal(smooth.score, sharp.score)


def test_the_value_path_changes_the_map_but_not_the_score(
    tiny_backbone: CLIP, image: torch.Tensor
) -> None:
    """Maps can come from the value path and the score stays that of plain clip."""
    plain = CLIPBaseline(tiny_backbone, PROMPTS)(image, ["nut"] * 2)
    valued = CLIPBaseline(tiny_backbone, PROMPTS, value_attention_from=6)(image, ["nut"] * 2)
    assert not torch.allclose(valued.map, plain.map, atol=1e-4)
    torch.testing.assert_close(valued.score, plain.score)


def test_the_map_of_several_blocks_is_the_mean_of_theirs(
    tiny_backbone: CLIP, image: torch.Tensor
) -> None:
    def maps(*blocks: int) -> torch.Tensor:
        return CLIPBaseline(tiny_backbone, PROMPTS, feature_blocks=blocks)(image, ["nut"] * 2).map

    torch.testing.assert_close(maps(12, 24), (maps(12) + maps(24)) / 2)


def test_under_autocast_maps_and_scores_stay_in_float32(
    tiny_backbone: CLIP, image: torch.Tensor
) -> None:
    method = CLIPBaseline(tiny_backbone, PROMPTS)
    full = method(image, ["nut"] * 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = method(image, ["nut"] * 2)
    assert half.map.dtype == half.score.dtype == torch.float32
    torch.testing.assert_close(half.map, full.map, atol=0.1, rtol=0)


@pytest.mark.parametrize("model", MODELS)
def test_the_configured_model_predicts_with_any_backbone(model: str) -> None:
    config = compose.compose_config(
        "test", [f"model={model}", "backbone=pocket", "image_size=64", OUTPUT]
    )
    task = instantiate.build(config.model)
    assert type(task) is ZeroShotEvaluation
    prediction = task.method(torch.rand(2, 3, 64, 64), ["screw", "fuse"])
    assert prediction.map.shape == (2, 64, 64)
    assert prediction.score.isfinite().all()


def test_the_published_numbers() -> None:
    for model, backbone, size in zip(
        MODELS, ["ViT-L-14-336"] * 2 + ["ViT-B-16-plus-240"], [518, 518, 240], strict=True
    ):
        config = compose.compose_config("test", [f"model={model}", OUTPUT])
        method = config.model.method
        assert (config.backbone.model_name, config.image_size) == (backbone, size)
        assert (method.temperature, method.sigma_px, list(method.feature_blocks)) == (
            0.07,
            0.0,
            [24],
        )
        assert method.value_attention_from is None
    assert checkpoint_settings.settings(compose.compose_config("test", ["model=clip", OUTPUT]))[
        "prompts.normal"
    ] == ["A photo of a normal {}"]


def test_the_command_line_overrides_the_published_prompts() -> None:
    """A published choice of prompts yields to the command line."""
    overrides = [
        "model=clip_ac",
        "prompts/ensemble@model.method.prompts=winclip",
        "backbone=pocket",
        OUTPUT,
    ]
    prompts = instantiate.build(compose.compose_config("test", overrides).model.method.prompts)
    assert len(prompts.templates) == 21
    assert prompts.normalize_each is False


@pytest.mark.parametrize("model", MODELS)
def test_training_names_the_command_that_tests_instead(model: str) -> None:
    config = compose.compose_config("train", [f"model={model}", "dataset=mtd", OUTPUT])
    with pytest.raises(
        ValueError, match=f"nothing to train; run: python test.py model={model} dataset=mtd"
    ):
        preflight.require_trainable(config)
