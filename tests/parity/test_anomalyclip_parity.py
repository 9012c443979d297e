"""AnomalyCLIP equals its published code, number by number, on weights regenerated from a seed."""

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
from zsad.backbones.clip.positions import resize_positions
from zsad.functional.resample import gaussian_smooth, upsample
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.types import Batch

FORWARD, GRADIENT, TRAJECTORY, AFTER_STEPS = (
    2e-5,
    2e-3,
    1e-5,
    1e-4,
)  # max|difference| / max|reference|

# What the published programs take where a file does not say otherwise.
PUBLISHED = {"depth": 9, "n_ctx": 12, "t_n_ctx": 4, "sigma": 4, "feature_map_layer": 0, "patch": 14}

_TRAINING = ("images", "masks", "labels")
# Reference quantity (or family of them) -> what it is computed from, besides the weights.
INPUTS: dict[str, tuple[str, ...]] = {
    "tokenized_prompts": (),
    "prompt_embeddings": (),
    "text_features_raw": (),
    "text_features": (),
    "position_embedding_resized": (),
    "image_features": ("images",),
    "patch_features": ("images",),
    "image_logits": ("images",),
    "image_score": ("images",),
    "patch_probabilities": ("images",),
    "similarity_maps": ("images",),
    "anomaly_map": ("images",),
    "anomaly_map_smoothed": ("images",),
    "loss_image": ("images", "labels"),
    "loss_focal": ("images", "masks"),
    "loss_dice_abnormal": ("images", "masks"),
    "loss_dice_normal": ("images", "masks"),
    "loss_local": ("images", "masks"),
    "loss_total": _TRAINING,
    "grad": _TRAINING,
    "loss_trajectory": _TRAINING,
    "after_step": _TRAINING,
    "clip.text_features": ("clip.text_tokens",),
    "clip.tokens_native": ("clip.images_native",),
}


def _family(name: str) -> str:
    """Return ``grad`` for ``grad.ctx_pos``, ``after_step`` for ``after_step4.ctx_pos``, any other
    name as it is.
    """
    match = re.match(r"(grad|after_step)\d*\.", name)
    return match[1] if match else name


@dataclass
class Case:
    """One golden file, or a part of one: its numbers, and our model on its weights, built when it
    is first asked.
    """

    config: dict[str, Any]
    golden: dict[str, Tensor]
    folder: Path

    @functools.cached_property
    def method(self) -> AnomalyCLIP:
        return _method(self.config, _weight_file(self.config, self.folder))

    @functools.cached_property
    def comparable(self) -> set[str]:
        """The reference quantities of the file that come with all that they are computed from."""
        return {
            name
            for name in self.golden
            if set(INPUTS.get(_family(name), ("?",))) <= self.golden.keys()
        }

    def need(self, *families: str) -> None:
        """Skip the test unless the file holds one of these quantities."""
        if not {_family(name) for name in self.comparable} & set(families):
            pytest.skip(
                f"the file holds none of {', '.join(families)}, or not what they are computed from"
            )

    def compare(self, name: str, ours: Tensor, bound: float) -> None:
        """Compare a quantity with the reference, where the file holds it."""
        if name in self.comparable:
            _assert_close(ours, self.golden[name], bound, name)

    @property
    def taps(self) -> list[int]:
        """Tapped blocks in the order of the tower, as the published code collects them, whatever
        the order given.
        """
        return sorted(set(self.config["features_list"]))

    @property
    def batch(self) -> Batch:
        """The images as they enter the network: already normalised, so the backbone is built with
        mean 0, std 1.
        """
        images = self.golden["images"]
        count = len(images)
        return Batch(
            image=images,
            mask=self.golden.get("masks", torch.zeros_like(images[:, 0])).bool(),
            has_mask=torch.full((count,), "masks" in self.golden),
            is_anomalous=self.golden.get("labels", torch.zeros(count)).bool(),
            category=("x",) * count,
            defect=("x",) * count,
            path=("x",) * count,
        )

    @functools.cached_property
    def features(self):
        return self.method.encode_image(self.golden["images"])

    @functools.cached_property
    def maps(self) -> Tensor:
        size = tuple(self.golden["images"].shape[-2:])
        return self.method.block_maps(self.features, self.method.text_features(), size).detach()


@pytest.fixture
def anomalyclip_case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    with np.load(request.param) as archive:
        config = PUBLISHED | json.loads(str(archive["config"]))
        arrays = {key: archive[key] for key in archive.files}
    golden = {
        key: torch.from_numpy(array) for key, array in arrays.items() if array.dtype.kind in "biuf"
    }
    return Case(config, golden, tmp_path_factory.getbasetemp())


def _weight_file(config: dict[str, Any], folder: Path) -> Path:
    """Draw the weights that a configuration stands for, once for all tests of it."""
    names = ("vision_width", "vision_layers", "embed_dim", "text_width", "text_layers")
    geometry = {
        "image_size": config["native_size"],
        "patch": config["patch"],
        **{name: config[name] for name in names},
    }
    file = folder / f"seed{config['seed']}-{'-'.join(map(str, geometry.values()))}.safetensors"
    if not file.exists():
        state = tiny_clip.tiny_clip_state_dict(config["seed"], **geometry)
        save_file({name: torch.from_numpy(array) for name, array in state.items()}, file)
    return file


def _method(config: dict[str, Any], weight_file: Path) -> AnomalyCLIP:
    taps, first = sorted(set(config["features_list"])), config["feature_map_layer"]
    # dpam_layer counts one too many: the last dpam_layer - 1 blocks have the side path, and 1 means
    # none.
    dual = (config["dpam_layer"] or 1) - 1
    method = AnomalyCLIP(
        CLIP(pretrained=str(weight_file), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        prompts=functools.partial(
            ObjectAgnosticPrompts,
            context_tokens=config["n_ctx"],
            deep_tokens=config["t_n_ctx"],
            deep_blocks=config["depth"],
        ),
        feature_blocks=taps[
            first[0] if isinstance(first, list) else first :
        ],  # of a list only the first counts
        value_attention_from=config["vision_layers"] - dual + 1 if dual else None,
        tower_depth=config["vision_layers"],
        sigma_px=float(config["sigma"]),
    )
    _load_prompts(method.prompts, config)
    return method


def _load_prompts(prompts: ObjectAgnosticPrompts, config: dict[str, Any]) -> None:
    published = tiny_clip.tiny_prompt_parameters(
        config["seed"],
        ctx_dim=config["text_width"],
        n_ctx=config["n_ctx"],
        t_n_ctx=config["t_n_ctx"],
        depth=config["depth"],
    )
    deep = [
        torch.from_numpy(published[f"compound_prompts_text.{i}"])
        for i in range(config["depth"] - 1)
    ]
    prompts.load_state_dict(
        {
            "normal": torch.from_numpy(published["ctx_pos"])[0, 0],
            "anomalous": torch.from_numpy(published["ctx_neg"])[0, 0],
            "deep": torch.stack(deep) if deep else prompts.deep,
        }
    )


def _assert_close(ours: Tensor, reference: Tensor, bound: float, name: str = "") -> None:
    assert ours.numel() == reference.numel() == 0 or ours.shape == reference.shape, name
    if reference.numel():
        difference = (ours.detach().double() - reference.double()).abs().max()
        assert float(difference) <= bound * float(reference.double().abs().max()), name


def test_the_file_holds_something_that_is_compared(anomalyclip_case: Case) -> None:
    assert anomalyclip_case.comparable, (
        f"none of {', '.join(INPUTS)} among {', '.join(anomalyclip_case.golden)}"
    )


def test_prompts_are_the_published_tokens_and_embeddings(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    case.need("tokenized_prompts", "prompt_embeddings")
    prompts = case.method.prompts
    case.compare("tokenized_prompts", prompts.tokens.int(), 0)
    case.compare("prompt_embeddings", prompts.embed(case.method.backbone), 1e-7)


def test_text_features(anomalyclip_case: Case) -> None:
    anomalyclip_case.need("text_features_raw", "text_features")
    text = anomalyclip_case.method.text_features()
    anomalyclip_case.compare("text_features_raw", text, FORWARD)
    anomalyclip_case.compare("text_features", torch.nn.functional.normalize(text, dim=-1), FORWARD)


def test_position_table_at_the_input_size(anomalyclip_case: Case) -> None:
    anomalyclip_case.need("position_embedding_resized")
    visual = anomalyclip_case.method.backbone.model.visual
    side = round((len(anomalyclip_case.golden["position_embedding_resized"]) - 1) ** 0.5)
    table = resize_positions(visual.positional_embedding, visual.grid_size, (side, side))
    anomalyclip_case.compare("position_embedding_resized", table, FORWARD)


def test_image_and_patch_features_of_every_tap(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    case.need("image_features", "patch_features")
    first_dual = case.method.value_attention_from
    features = case.method.backbone.encode_image(
        case.golden["images"], blocks=case.taps, value_attention_from=first_dual, norm_image=False
    )
    case.compare("image_features", features.image, FORWARD)
    case.compare("patch_features", torch.stack(features.tokens), FORWARD)


def test_image_logits_and_score(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    case.need("image_logits", "image_score")
    case.compare(
        "image_logits",
        case.method.image_logits(case.features, case.method.text_features()),
        FORWARD,
    )
    case.compare(
        "image_score", case.method(case.golden["images"], case.batch.category).probability, FORWARD
    )


def test_patch_probabilities_and_maps(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    case.need("patch_probabilities", "similarity_maps")
    text, probabilities, maps = case.method.text_features(), [], []
    for margins in case.method.patch_margins(case.features, text):
        p = margins.sigmoid()
        probabilities.append(torch.stack([1 - p.flatten(1), p.flatten(1)], dim=-1))
        p = upsample(p, tuple(case.golden["images"].shape[-2:]))
        maps.append(torch.stack([1 - p, p], dim=1))
    case.compare("patch_probabilities", torch.stack(probabilities), FORWARD)
    case.compare("similarity_maps", torch.stack(maps), FORWARD)


def test_the_anomaly_map_is_the_published_sum_over_its_taps(anomalyclip_case: Case) -> None:
    """Anomaly map is the published sum over taps divided by their number."""
    case = anomalyclip_case
    case.need("anomaly_map", "anomaly_map_smoothed")
    case.compare("anomaly_map", case.maps.sum(dim=0), FORWARD)
    smoothed = gaussian_smooth(
        case.golden.get("anomaly_map", case.maps.sum(dim=0)), float(case.config["sigma"])
    )
    case.compare("anomaly_map_smoothed", smoothed, FORWARD)
    prediction = case.method(case.golden["images"], case.batch.category)
    case.compare("anomaly_map_smoothed", prediction.map * len(case.method.feature_blocks), FORWARD)


def test_image_loss(anomalyclip_case: Case) -> None:
    anomalyclip_case.need("loss_image")
    anomalyclip_case.compare(
        "loss_image", anomalyclip_case.method.loss(anomalyclip_case.batch)["image"], FORWARD
    )


def test_map_losses_and_their_total(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    case.need("loss_focal", "loss_dice_abnormal", "loss_dice_normal", "loss_local", "loss_total")
    terms = case.method.loss(case.batch)
    names = {
        "focal": "loss_focal",
        "dice_anomalous": "loss_dice_abnormal",
        "dice_normal": "loss_dice_normal",
    }
    for ours, theirs in names.items():
        if theirs in case.comparable:  # they keep one number for each tap
            _assert_close(
                terms[ours] / case.method.local_weight, case.golden[theirs].sum(), FORWARD, theirs
            )
    case.compare("loss_local", _local(terms), FORWARD)
    case.compare("loss_total", _total(terms), FORWARD)


def test_gradients(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    case.need("grad")
    prompts = case.method.prompts
    _total(case.method.loss(case.batch)).backward()
    case.compare("grad.ctx_pos", prompts.normal.grad[None, None], GRADIENT)
    case.compare("grad.ctx_neg", prompts.anomalous.grad[None, None], GRADIENT)
    for index in range(len(prompts.deep)):
        case.compare(f"grad.compound_prompts_text.{index}", prompts.deep.grad[index], GRADIENT)


def test_loss_trajectory_and_parameters_after_the_adam_steps(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    case.need("loss_trajectory", "after_step")
    prompts = case.method.prompts
    optimizer = torch.optim.Adam(prompts.parameters(), lr=1e-3, betas=(0.5, 0.999))
    steps = [
        int(match[1]) for name in case.golden if (match := re.match(r"after_step(\d+)\.", name))
    ]
    steps.append(len(case.golden.get("loss_trajectory", ())))
    trajectory = []
    for step in range(1, max(steps) + 1):
        terms = case.method.loss(case.batch)
        trajectory.append(torch.stack([_local(terms), terms["image"]]).detach())
        optimizer.zero_grad()
        _total(terms).backward()
        optimizer.step()
        case.compare(f"after_step{step}.ctx_pos", prompts.normal[None, None], AFTER_STEPS)
        case.compare(f"after_step{step}.ctx_neg", prompts.anomalous[None, None], AFTER_STEPS)
        case.compare(f"after_step{step}.compound_prompts_text", prompts.deep, AFTER_STEPS)
    case.compare("loss_trajectory", torch.stack(trajectory[: steps[-1]] or trajectory), TRAJECTORY)


def test_plain_text_tower(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    case.need("clip.text_features")
    features = case.method.backbone.encode_text(case.golden["clip.text_tokens"].long())
    case.compare("clip.text_features", features, FORWARD)


def test_plain_image_tower_at_native_size(anomalyclip_case: Case) -> None:
    case = anomalyclip_case
    case.need("clip.tokens_native")
    backbone = case.method.backbone
    features = backbone.encode_image(case.golden["clip.images_native"], blocks=[backbone.depth])
    case.compare("clip.tokens_native", features.tokens[0], FORWARD)
    _assert_close(features.image, case.golden["clip.tokens_native"][:, 0], FORWARD)


def _local(terms: dict[str, Tensor]) -> Tensor:
    return terms["focal"] + terms["dice_anomalous"] + terms["dice_normal"]


def _total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()
