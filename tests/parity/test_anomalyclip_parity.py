"""AnomalyCLIP equals its published code, number by number, on weights regenerated from a seed."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_clip
import torch
from safetensors.torch import save_file
from torch import Tensor

from zsad.backbones.clip import CLIP, resize_positions
from zsad.backbones.tokenizer import tokenize
from zsad.maths import similarity
from zsad.maths.resample import gaussian_smooth, upsample
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.methods.prompts import ObjectAgnosticPrompts
from zsad.types import Batch

FORWARD, GRADIENT, TRAJECTORY, AFTER_STEPS = 2e-5, 2e-3, 1e-5, 1e-4  # max|difference| / max|reference|


@dataclass
class Case:
    """One golden file: its numbers, and our model on its weights."""

    config: dict[str, Any]
    golden: dict[str, Tensor]
    method: AnomalyCLIP

    @property
    def batch(self) -> Batch:
        """The images as they enter the network: already normalised, so the backbone is built with mean 0, std 1."""
        count = len(self.golden["images"])
        return Batch(
            image=self.golden["images"],
            mask=self.golden["masks"].bool(),
            has_mask=torch.ones(count, dtype=torch.bool),
            is_anomalous=self.golden["labels"].bool(),
            category=("x",) * count,
            defect=("x",) * count,
            path=("x",) * count,
        )

    @functools.cached_property
    def features(self):
        return self.method.encode_image(self.golden["images"])

    @functools.cached_property
    def maps(self) -> Tensor:
        size = tuple(self.golden["masks"].shape[-2:])
        return self.method.block_maps(self.features, self.method.text_features(), size).detach()


@pytest.fixture
def anomalyclip_case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return _case(request.param, tmp_path_factory)


def _case(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    with np.load(path) as archive:
        config = json.loads(str(archive["config"]))
        golden = {key: torch.from_numpy(archive[key]) for key in archive.files if key != "config"}
    state = tiny_clip.tiny_clip_state_dict(
        config["seed"],
        image_size=config["native_size"],
        patch=config.get("patch", 14),
        **{k: config[k] for k in ("vision_width", "vision_layers", "embed_dim", "text_width", "text_layers")},
    )
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file({name: torch.from_numpy(array) for name, array in state.items()}, file)
    backbone = CLIP(pretrained=str(file), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    method = AnomalyCLIP(
        backbone,
        prompts=functools.partial(
            ObjectAgnosticPrompts,
            context_tokens=config["n_ctx"],
            deep_tokens=config["t_n_ctx"],
            deep_blocks=config["depth"],
        ),
        feature_blocks=config["features_list"][config["feature_map_layer"] :],
        # dpam_layer counts one too many: the last dpam_layer - 1 blocks have the side path, and 1 means none.
        value_attention_from=config["vision_layers"] - config["dpam_layer"] + 2 if config["dpam_layer"] > 1 else None,
        tower_depth=config["vision_layers"],
        sigma_px=float(config["sigma"]),
    )
    published = tiny_clip.tiny_prompt_parameters(
        config["seed"],
        ctx_dim=config["text_width"],
        n_ctx=config["n_ctx"],
        t_n_ctx=config["t_n_ctx"],
        depth=config["depth"],
    )
    deep = [torch.from_numpy(published[f"compound_prompts_text.{i}"]) for i in range(config["depth"] - 1)]
    method.prompts.load_state_dict(
        {
            "normal": torch.from_numpy(published["ctx_pos"])[0, 0],
            "anomalous": torch.from_numpy(published["ctx_neg"])[0, 0],
            "deep": torch.stack(deep),
        }
    )
    return Case(config, golden, method)


def _assert_close(ours: Tensor, reference: Tensor, bound: float) -> None:
    assert ours.shape == reference.shape
    difference = (ours.detach().double() - reference.double()).abs().max()
    assert float(difference / reference.double().abs().max()) <= bound


def test_prompts_are_the_published_tokens_and_embeddings(anomalyclip_case: Case) -> None:
    case, prompts = anomalyclip_case, anomalyclip_case.method.prompts
    assert torch.equal(prompts.tokens.int(), case.golden["tokenized_prompts"])
    _assert_close(prompts.embed(case.method.backbone), case.golden["prompt_embeddings"], 1e-7)


def test_text_features(anomalyclip_case: Case) -> None:
    text = anomalyclip_case.method.text_features()
    _assert_close(text, anomalyclip_case.golden["text_features_raw"], FORWARD)
    _assert_close(torch.nn.functional.normalize(text, dim=-1), anomalyclip_case.golden["text_features"], FORWARD)


def test_position_table_at_the_input_size(anomalyclip_case: Case) -> None:
    visual = anomalyclip_case.method.backbone.model.visual
    side = anomalyclip_case.config["input_size"] // anomalyclip_case.method.backbone.patch_size
    table = resize_positions(visual.positional_embedding, visual.grid_size, (side, side))
    _assert_close(table, anomalyclip_case.golden["position_embedding_resized"], FORWARD)


def test_image_and_patch_features_of_every_tap(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    first_dual = case.method.value_attention_from
    features = case.method.backbone.encode_image(
        case.golden["images"], blocks=case.config["features_list"], value_attention_from=first_dual, norm_image=False
    )
    _assert_close(features.image, case.golden["image_features"], FORWARD)
    for tokens, reference in zip(features.tokens, case.golden["patch_features"], strict=True):
        _assert_close(tokens, reference, FORWARD)


def test_image_logits_and_score(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    logits = case.method.image_logits(case.features, case.method.text_features())
    _assert_close(logits, case.golden["image_logits"], FORWARD)
    prediction = case.method(case.golden["images"], case.batch.category)
    _assert_close(prediction.probability, case.golden["image_score"], FORWARD)


def test_patch_probabilities_and_maps(anomalyclip_case: Case) -> None:
    case, text = anomalyclip_case, anomalyclip_case.method.text_features()
    size = tuple(case.golden["masks"].shape[-2:])
    for index, tokens in enumerate(case.features.tokens):
        p = similarity.anomaly_probability(tokens, text, case.features.grid, case.method.temperature)
        _assert_close(p.flatten(1), case.golden["patch_probabilities"][index, ..., 1], FORWARD)
        _assert_close(1 - p.flatten(1), case.golden["patch_probabilities"][index, ..., 0], FORWARD)
        _assert_close(upsample(p, size), case.golden["similarity_maps"][index, :, 1], FORWARD)


def test_anomaly_map_is_the_published_sum_over_taps_divided_by_their_number(anomalyclip_case: Case) -> None:
    case, taps = anomalyclip_case, len(anomalyclip_case.method.feature_blocks)
    _assert_close(case.maps.sum(dim=0), case.golden["anomaly_map"], FORWARD)
    smoothed = gaussian_smooth(case.golden["anomaly_map"], float(case.config["sigma"]))
    _assert_close(smoothed, case.golden["anomaly_map_smoothed"], FORWARD)
    prediction = case.method(case.golden["images"], case.batch.category)
    _assert_close(prediction.map * taps, case.golden["anomaly_map_smoothed"], FORWARD)


def test_losses(anomalyclip_case: Case) -> None:
    case, golden = anomalyclip_case, anomalyclip_case.golden
    terms = case.method.loss(case.batch)
    weight = case.method.local_weight
    _assert_close(terms["image"], golden["loss_image"], FORWARD)
    _assert_close(terms["focal"] / weight, golden["loss_focal"].sum(), FORWARD)
    _assert_close(terms["dice_anomalous"] / weight, golden["loss_dice_abnormal"].sum(), FORWARD)
    _assert_close(terms["dice_normal"] / weight, golden["loss_dice_normal"].sum(), FORWARD)
    _assert_close(_local(terms), golden["loss_local"], FORWARD)
    _assert_close(_total(terms), golden["loss_total"], FORWARD)


def test_gradients(anomalyclip_case: Case) -> None:
    case, golden, prompts = anomalyclip_case, anomalyclip_case.golden, anomalyclip_case.method.prompts
    _total(case.method.loss(case.batch)).backward()
    _assert_close(prompts.normal.grad, golden["grad.ctx_pos"][0, 0], GRADIENT)
    _assert_close(prompts.anomalous.grad, golden["grad.ctx_neg"][0, 0], GRADIENT)
    for index, gradient in enumerate(prompts.deep.grad):
        _assert_close(gradient, golden[f"grad.compound_prompts_text.{index}"], GRADIENT)


def test_loss_trajectory_and_parameters_after_the_adam_steps(anomalyclip_case: Case) -> None:
    case, golden, prompts = anomalyclip_case, anomalyclip_case.golden, anomalyclip_case.method.prompts
    optimizer = torch.optim.Adam(prompts.parameters(), lr=1e-3, betas=(0.5, 0.999))
    trajectory = []
    for _ in golden["loss_trajectory"]:
        terms = case.method.loss(case.batch)
        trajectory.append(torch.stack([_local(terms), terms["image"]]).detach())
        optimizer.zero_grad()
        _total(terms).backward()
        optimizer.step()
    _assert_close(torch.stack(trajectory), golden["loss_trajectory"], TRAJECTORY)
    _assert_close(prompts.normal, golden["after_step4.ctx_pos"][0, 0], AFTER_STEPS)
    _assert_close(prompts.anomalous, golden["after_step4.ctx_neg"][0, 0], AFTER_STEPS)
    _assert_close(prompts.deep, golden["after_step4.compound_prompts_text"], AFTER_STEPS)


def test_plain_text_tower(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    features = case.method.backbone.encode_text(case.golden["clip.text_tokens"].long())
    _assert_close(features, case.golden["clip.text_features"], FORWARD)


def test_plain_image_tower_at_native_size(anomalyclip_case: Case) -> None:
    case, backbone = anomalyclip_case, anomalyclip_case.method.backbone
    features = backbone.encode_image(case.golden["clip.images_native"], blocks=[backbone.depth])
    _assert_close(features.tokens[0], case.golden["clip.tokens_native"], FORWARD)
    _assert_close(features.image, case.golden["clip.tokens_native"][:, 0], FORWARD)


def test_token_ids_are_openais(tokenization: dict[str, Any]) -> None:
    length, end = tokenization["context_length"], tokenization["end"]
    for case in tokenization["cases"]:
        row = tokenize([case["text"]], context_length=length, truncate=case["truncated"])[0].tolist()
        assert row == case["ids"] + [tokenization["pad"]] * (length - len(case["ids"])), case["text"]
        assert row[len(case["ids"]) - 1] == end


def test_a_text_that_does_not_fit_raises_unless_truncation_is_asked_for(tokenization: dict[str, Any]) -> None:
    too_long = [case["text"] for case in tokenization["cases"] if case["truncated"]]
    for text in too_long:
        with pytest.raises(ValueError, match="tokens does not fit"):
            tokenize([text], context_length=tokenization["context_length"])


def _local(terms: dict[str, Tensor]) -> Tensor:
    return terms["focal"] + terms["dice_anomalous"] + terms["dice_normal"]


def _total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()
