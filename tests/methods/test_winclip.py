"""WinCLIP beyond the goldens: windows against separate passes, categories, references, sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zsad.backbones.clip.model import CLIP
from zsad.config import compose, instantiate
from zsad.functional.patch_windows import window_indices
from zsad.methods.winclip import WinCLIP
from zsad.prompts.ensemble import PromptEnsemble
from zsad.runs import preflight
from zsad.tasks.evaluation import ZeroShotEvaluation

OUTPUT = "paths.output_dir=/nowhere"
PROMPTS = PromptEnsemble(["a {}"], ["a damaged {}"], ["{}."])


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def method(tiny_backbone: CLIP) -> WinCLIP:
    return WinCLIP(tiny_backbone, PROMPTS)


@torch.no_grad()
def separate_pass(backbone: CLIP, image: Tensor, patches: Tensor) -> Tensor:
    """Encode one window of one image by open_clip's own blocks, on these tokens and no others."""
    visual = backbone.model.visual
    x = visual.conv1(backbone.normalize(image[None])).flatten(2).mT
    x = torch.cat([visual.class_embedding.expand(1, 1, -1), x], dim=1) + visual.positional_embedding
    x = visual.transformer(visual.ln_pre(x[:, [0, *(patches + 1).tolist()]]))
    return (visual.ln_post(x[:, 0]) @ visual.proj)[0]


@torch.no_grad()
def masked_pass(backbone: CLIP, image: Tensor, patches: Tensor) -> Tensor:
    """Encode one window by the pass of the whole image, in which nothing attends to patches outside
    of the window.
    """
    visual = backbone.model.visual
    x = visual.conv1(backbone.normalize(image[None])).flatten(2).mT
    x = torch.cat([visual.class_embedding.expand(1, 1, -1), x], dim=1) + visual.positional_embedding
    hidden = torch.full((x.shape[1],) * 2, float("-inf"))
    hidden[:, [0, *(patches + 1).tolist()]] = 0
    x = visual.transformer(visual.ln_pre(x), attn_mask=hidden)
    return (visual.ln_post(x[:, 0]) @ visual.proj)[0]


@pytest.mark.parametrize("by_other_means", [separate_pass, masked_pass])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_window_is_what_a_pass_over_its_patches_alone_gives(
    tiny_backbone: CLIP, image: Tensor, size: int, by_other_means: Any
) -> None:
    index = window_indices((4, 4), size)
    (ours,) = tiny_backbone.encode_windows(tiny_backbone.normalize(image), [index])
    expected = torch.stack(
        [torch.stack([by_other_means(tiny_backbone, one, row) for row in index]) for one in image]
    )
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_windows_of_an_image_differ(method: WinCLIP, image: Tensor) -> None:
    for scale in method.embed(image, with_patches=False).windows:
        assert scale.std(dim=1).mean() > 0.01


@pytest.mark.parametrize("tokens_at_once", [1, 30, 10**6])
def test_how_many_windows_run_together_changes_nothing(
    tiny_backbone: CLIP, image: Tensor, tokens_at_once: int
) -> None:
    x, indices = tiny_backbone.normalize(image), [window_indices((4, 4), size) for size in (2, 3)]
    chunked = tiny_backbone.encode_windows(x, indices, tokens_at_once=tokens_at_once)
    for ours, expected in zip(chunked, tiny_backbone.encode_windows(x, indices), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(
    method: WinCLIP, image: Tensor
) -> None:
    """An image has the same prediction alone and among images of other categories."""
    method.set_references("cork", image.flip(-1))
    together = method(image, ["nut", "cork"])
    for index, name in enumerate(["nut", "cork"]):
        alone = method(image[index : index + 1], [name])
        torch.testing.assert_close(together.map[index], alone.map[0])
        torch.testing.assert_close(together.score[index], alone.score[0])


def test_categories_without_references_are_scored_zero_shot(method: WinCLIP, image: Tensor) -> None:
    before = method(image, ["nut", "cork"])
    method.set_references("cork", image.flip(-1))
    after = method(image, ["nut", "cork"])
    torch.testing.assert_close(before.map[0], after.map[0])
    torch.testing.assert_close(before.score[0], after.score[0])
    assert not torch.equal(before.map[1], after.map[1])


def test_the_zero_shot_score_is_a_difference_of_cosines(tiny_backbone: CLIP, image: Tensor) -> None:
    """The zero shot score is the difference of two cosines over the temperature."""
    normal, anomalous = PROMPTS.encode(tiny_backbone, "nut")
    vector = tiny_backbone.encode_image(tiny_backbone.normalize(image)).image
    expected = torch.cosine_similarity(vector, anomalous[None]) - torch.cosine_similarity(
        vector, normal[None]
    )
    torch.testing.assert_close(
        WinCLIP(tiny_backbone, PROMPTS)(image, ["nut"] * 2).score, expected / 0.07
    )


def test_an_image_as_its_own_reference_halves_its_score(method: WinCLIP, image: Tensor) -> None:
    """A picture that is its own reference halves its zero shot result."""
    zero = method(image, ["nut"] * 2)
    method.set_references("nut", image)
    few = method(image, ["nut"] * 2)
    torch.testing.assert_close(few.map, zero.map / 2, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(few.probability, zero.probability / 2, atol=1e-5, rtol=1e-5)


def test_references_of_a_category_replace_those_before(method: WinCLIP, image: Tensor) -> None:
    method.set_references("nut", image[:1])
    once = method(image, ["nut"] * 2)
    method.set_references("nut", image)
    method.set_references("nut", image[:1])
    assert torch.equal(method(image, ["nut"] * 2).map, once.map)


def test_references_can_have_any_size_and_come_one_by_one(method: WinCLIP, image: Tensor) -> None:
    method.set_references("nut", iter([image[0], torch.rand(3, 70, 42)]))
    assert method(image, ["nut"] * 2).map.isfinite().all()


def test_no_references_are_an_error_with_the_category(method: WinCLIP) -> None:
    with pytest.raises(ValueError, match="no reference images of nut"):
        method.set_references("nut", [])


def test_patch_norm_matters_with_references_only(tiny_backbone: CLIP, image: Tensor) -> None:
    """The final layer norm of patches matters with references only."""
    one, other = (WinCLIP(tiny_backbone, PROMPTS, patch_norm=norm) for norm in (True, False))
    assert torch.equal(one(image, ["nut"] * 2).map, other(image, ["nut"] * 2).map)
    for method in (one, other):
        method.set_references("nut", image.flip(-1))
    assert not torch.equal(one(image, ["nut"] * 2).map, other(image, ["nut"] * 2).map)


@pytest.mark.parametrize("shots", [0, 2])
def test_maps_are_in_the_unit_interval_at_the_size_of_the_image(
    tiny_backbone: CLIP, shots: int
) -> None:
    method, image = WinCLIP(tiny_backbone, PROMPTS), torch.rand(3, 3, 42, 70)
    if shots:
        method.set_references("x", torch.rand(shots, 3, 56, 56))
    prediction = method(image, ["x", "y", "x"])
    assert prediction.map.shape == (3, 42, 70)
    assert prediction.map.min() >= 0
    assert prediction.map.max() <= 1
    assert prediction.map.std() > 0
    assert prediction.score.isfinite().all()


def test_two_models_with_other_scales_do_not_know_of_each_other(
    tiny_backbone: CLIP, image: Tensor
) -> None:
    first = WinCLIP(tiny_backbone, PROMPTS, scales=(2, 3))
    before = first(image, ["nut"] * 2).map
    second = WinCLIP(tiny_backbone, PROMPTS, scales=(2,))
    second.set_references("nut", image)
    assert not torch.equal(second(image, ["nut"] * 2).map, before)
    assert torch.equal(first(image, ["nut"] * 2).map, before)


def test_windows_larger_than_the_grid_and_no_scales_are_refused(
    tiny_backbone: CLIP, image: Tensor
) -> None:
    with pytest.raises(ValueError, match=r"windows of 5 × 5 patches .* grid of 4 × 4"):
        WinCLIP(tiny_backbone, PROMPTS, scales=(5,))(image, ["nut"] * 2)
    for scales in ((), (0, 2)):
        with pytest.raises(ValueError, match="expected sides of windows"):
            WinCLIP(tiny_backbone, PROMPTS, scales=scales)


def test_nothing_learns_and_no_gradient_is_kept(method: WinCLIP, image: Tensor) -> None:
    assert not [name for name, parameter in method.named_parameters() if parameter.requires_grad]
    method.set_references("nut", image)
    prediction = method.train()(image, ["nut"] * 2)
    assert not prediction.map.requires_grad
    assert not prediction.score.requires_grad


def test_a_half_precision_tower_gives_nearly_the_same(tiny_backbone: CLIP, image: Tensor) -> None:
    method = WinCLIP(tiny_backbone, PROMPTS)
    method.set_references("cork", image.flip(-1))
    full = method(image, ["nut", "cork"])
    method.to(torch.bfloat16)
    half = method(image.to(torch.bfloat16), ["nut", "cork"])
    assert half.map.dtype == torch.float32
    torch.testing.assert_close(half.map, full.map, atol=0.03, rtol=0)
    torch.testing.assert_close(half.probability, full.probability, atol=0.03, rtol=0)


def test_the_model_has_a_backbone_and_the_command_line_wins() -> None:
    """The model brings its usual backbone and the command line wins."""
    usual = compose.compose_config("test", ["model=winclip", OUTPUT])
    assert (usual.backbone.model_name, usual.backbone.pretrained) == (
        "ViT-B-16-plus-240",
        "laion400m_e31",
    )
    assert (usual.backbone.quick_gelu, usual.image_size) == (False, 240)
    other = compose.compose_config("test", ["model=winclip", "backbone=pocket", OUTPUT])
    assert (other.backbone.pretrained, other.image_size) == ("pocket", 192)


def test_the_published_numbers_of_winclip() -> None:
    method = compose.compose_config("test", ["model=winclip", OUTPUT]).model.method
    assert (list(method.scales), method.temperature, method.patch_norm) == ([2, 3], 0.07, True)
    assert (
        len(method.prompts.normal),
        len(method.prompts.anomalous),
        len(method.prompts.templates),
    ) == (7, 4, 21)


def test_it_is_built_as_configured_and_has_nothing_to_train() -> None:
    task = instantiate.build(
        compose.compose_config("test", ["model=winclip", "backbone=pocket", OUTPUT]).model
    )
    assert type(task) is ZeroShotEvaluation
    assert task.method.scales == (2, 3)
    config = compose.compose_config(
        "train", ["model=winclip", "backbone=pocket", "dataset=mtd", OUTPUT]
    )
    with pytest.raises(
        ValueError, match=r"nothing to train; run: python test.py model=winclip dataset=mtd"
    ):
        preflight.require_trainable(config)


def test_what_is_forgotten_is_scored_zero_shot_again(method: WinCLIP, image: Tensor) -> None:
    zero_shot = method(image, ["nut", "nut"])
    method.set_references("nut", [image[0].flip(-1)])
    assert not torch.equal(method(image, ["nut", "nut"]).map, zero_shot.map)
    method.clear_references()
    assert torch.equal(method(image, ["nut", "nut"]).map, zero_shot.map)
