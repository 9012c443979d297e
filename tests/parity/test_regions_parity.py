"""What lies between detector and map equals the published SAA+ and DOT-Prompt: saliency, fusion,
resizing, dilation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zsad.backbones.grounded.saliency_network import saliency_input
from zsad.functional import inpaint, regions, saliency
from zsad.functional.resample import bicubic, min_max, nearest, resize_levels_linearly, upsample
from zsad.metrics import curves

MAPS = 1e-5
STAGES = ("feat0", "feat1", "feat2")


def read(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(request.param) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture
def saa_saliency(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request)


@pytest.fixture
def saa_saliency_input(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request)


@pytest.fixture
def saa_postprocess(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request)


@pytest.fixture
def saa_masks(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request)


@pytest.fixture
def dot_fusion(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request)


@pytest.fixture
def dot_dilation(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request)


def compare(case: dict[str, Any], key: str, ours: Tensor, bound: float = MAPS) -> None:
    """Compare with a stored array, if the case holds it."""
    if key in case:
        reference = torch.from_numpy(np.asarray(case[key])).double()
        torch.testing.assert_close(
            ours.double(), reference, atol=bound, rtol=0, msg=lambda m: f"{key}: {m}"
        )


def features_of(case: dict[str, Any]) -> Tensor:
    return saliency.join_stages([torch.from_numpy(case[key])[0] for key in STAGES if key in case])


def test_saliency(saa_saliency: dict[str, Any]) -> None:
    case, features = saa_saliency, features_of(saa_saliency)
    step = int(case.get("fused_stride", 1))
    compare(case, "fused", features[None, :, ::step, ::step])
    if "object_masks" in case:
        heat = saliency.between_objects(features, torch.from_numpy(case["object_masks"]).bool())
    else:
        heat = saliency.farthest_mean(features, int(case["n_top"]))
    for key in ("heat", "grid_map"):
        compare(case, key, heat)
    if "out_map" in case:
        compare(case, "out_map", upsample(heat[None], case["out_map"].shape)[0])


def test_what_the_saliency_network_is_shown(saa_saliency_input: dict[str, Any]) -> None:
    case = saa_saliency_input
    image = (
        torch.from_numpy(case["image_bgr"]).permute(2, 0, 1).float() / 255
    )  # as published, taken for RGB
    if "resized_u8" in case:
        height, width = case["resized_u8"].shape[:2]
        ours = (
            (resize_levels_linearly(image[None], (height, width))[0] * 255).round().permute(1, 2, 0)
        )
        compare(case, "resized_u8", ours, bound=1)  # OpenCV itself, to the last bit: tests/maths
    if {"cnn_input_rows", "row_index"} <= case.keys():
        rows = case["cnn_input_rows"]
        shown = saliency_input(image, rows.shape[-1])[:, torch.from_numpy(case["row_index"])]
        one_level = 1.001 / (255 * 0.224)
        compare(case, "cnn_input_rows", shown, bound=one_level)


def test_the_protocol_of_the_evaluation(saa_postprocess: dict[str, Any]) -> None:
    case = saa_postprocess
    size = (int(case["resolution"]), int(case["resolution"]))
    if "maps" in case:
        maps = bicubic(torch.from_numpy(case["maps"]), size)
        compare(case, "resized_maps", maps)
        compare(case, "normalised_maps", min_max(maps))
        compare(case, "image_scores", min_max(maps).flatten(1).amax(dim=1))
    if "saliency" in case:
        compare(
            case, "normalised_saliency", min_max(bicubic(torch.from_numpy(case["saliency"]), size))
        )
    if "gt" in case:
        compare(case, "resized_gt", nearest(torch.from_numpy(case["gt"]).bool(), size), bound=0)


def test_masks_are_weighed_and_fused(saa_masks: dict[str, Any]) -> None:
    case = saa_masks
    masks, scores = torch.from_numpy(case["masks"]).bool(), torch.from_numpy(case["scores"])
    weights = (
        scores * (3 * regions.means_inside(torch.from_numpy(case["similarity_map"]), masks)).exp()
    )
    compare(case, "rescored", weights)
    kept = weights.argsort(stable=True)[-int(case["k_mask"]) :]
    compare(case, "selected", kept, bound=0)
    fusion = regions.MaskFusion((masks.shape[1], masks.shape[2]))
    fusion.add(masks[kept], weights[kept])
    if case.get("has_native", False):
        compare(case, "native_map", fusion.code())
    if "anomaly_map" in case:
        compare(case, "anomaly_map", upsample(fusion.code()[None], case["anomaly_map"].shape)[0])


def test_scores_are_summed_and_stretched(dot_fusion: dict[str, Any]) -> None:
    case = dot_fusion
    maps = []
    for masks, scores, n in zip(case["masks"], case["scores"], case["num_masks"], strict=True):
        fusion = regions.MaskFusion(masks.shape[1:])
        fusion.add(torch.from_numpy(masks[:n]).bool(), torch.from_numpy(scores[:n]))
        maps.append(min_max(fusion.total()[None])[0])
    compare(case, "fused", torch.stack(maps))
    if "resolution" in case:
        size = (int(case["resolution"]), int(case["resolution"]))
        resized = bicubic(torch.stack(maps), size)
        compare(case, "resized", resized)
        compare(case, "normalised", min_max(resized))
    if {"normalised", "gt", "labels", "resolution"} <= case.keys():
        _compare_metrics(case)


def _compare_metrics(case: dict[str, Any]) -> None:
    """Measure the stored maps: where nothing was found they differ from ours by rounding, which
    decides ranks.
    """
    maps, size = torch.from_numpy(case["normalised"]), case["normalised"].shape[1:]
    masks = nearest(torch.from_numpy(case["gt"]).bool(), size)
    compare(case, "pixel_auroc_ap_f1", _percent(curves.rank_pixels(maps, masks)))
    labels = torch.from_numpy(case["labels"]).bool()
    compare(
        case,
        "image_auroc_ap_f1",
        _percent(curves.rank_labelled(maps.flatten(1).amax(dim=1), labels)),
    )


def _percent(ranking: curves.Ranking) -> Tensor:
    metrics = curves.auroc, curves.average_precision, curves.f1_max
    return 100 * torch.tensor([metric(ranking) for metric in metrics], dtype=torch.float64)


def test_masks_grow(dot_dilation: dict[str, Any]) -> None:
    case = dot_dilation
    grown = inpaint.dilate(torch.from_numpy(case["mask"]).bool(), int(case["kernel_size"]))
    compare(case, "out_mask", grown * int(case["mask"].max()), bound=0)
