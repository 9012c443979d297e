"""Our metrics equal the published evaluation codes and scikit-learn, undefined cases included,
sorted or counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.metrics.histograms import histogram_of
from zsad.metrics import curves
from zsad.metrics.aupro_saa import aupro_filled
from zsad.metrics.binned_ranking import BinnedRanking
from zsad.metrics.connected_components import region_weights
from zsad.metrics.curves import rank_labelled, rank_pixels
from zsad.metrics.region_f1 import region_f1, region_f1_matched

IMAGE = {
    "image_auroc": curves.auroc,
    "image_ap": curves.average_precision,
    "image_f1max": curves.f1_max,
}
PIXEL = {
    "pixel_auroc": curves.auroc,
    "pixel_ap": curves.average_precision,
    "pixel_f1max": curves.f1_max,
    "pixel_aupro": curves.aupro_200,  # the published AUPRO, with its 200 thresholds
}
BOUNDS = {"pixel_aupro": 1e-5}  # 1e-9 for the others
SAA_PERCENT = {  # stored name -> ours; what they are computed over
    "metric_i_roc": (curves.auroc, "images"),
    "metric_i_ap": (curves.average_precision, "images"),
    "metric_i_f1": (curves.f1_max, "images"),
    "metric_p_roc": (curves.auroc, "pixels"),
    "metric_p_ap": (curves.average_precision, "pixels"),
    "metric_p_f1": (curves.f1_max, "pixels"),
}
SAA_REGIONS = {"max_f1_region": (0.6, 200), "max_f1_region_t03_s50": (0.3, 50)}


@pytest.fixture
def metrics_case(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    path: Path = request.param
    cases: dict[str, dict[str, Any]] = {}
    with np.load(path) as archive:
        for key in archive.files:
            case, _, name = key.rpartition(".")
            cases.setdefault(case, {})[name] = archive[key]
    return cases


def _assert_equal(ours: float, reference: float, name: str, case: str) -> None:
    if math.isnan(reference):
        assert math.isnan(ours), f"{case}: {name} is undefined there and {ours} here"
    else:
        assert abs(ours - reference) <= BOUNDS.get(name, 1e-9), (
            f"{case}: {name} is {reference} there and {ours} here"
        )


def _compare(
    cases: dict[str, dict[str, Any]],
    metrics: dict[str, Callable],
    rank: Callable,
    predicted: str,
    truth: str,
) -> None:
    compared = 0
    for case, data in cases.items():
        names = (
            [name for name in metrics if name in data] if {predicted, truth} <= data.keys() else []
        )
        ranking = (
            rank(torch.from_numpy(data[predicted]), torch.from_numpy(data[truth]).bool())
            if names
            else None
        )
        for name in names:
            _assert_equal(metrics[name](ranking), float(data[name]), name, case)
            compared += 1
    if not compared:
        pytest.skip(f"the file holds none of {', '.join(metrics)} with {predicted} and {truth}")


def test_image_metrics(metrics_case: dict[str, dict[str, Any]]) -> None:
    _compare(metrics_case, IMAGE, rank_labelled, "scores", "labels")


def test_pixel_metrics(metrics_case: dict[str, dict[str, Any]]) -> None:
    _compare(metrics_case, PIXEL, rank_pixels, "maps", "masks")


def _count_pixels(maps: torch.Tensor, masks: torch.Tensor) -> BinnedRanking:
    weight = torch.cat([region_weights(mask) for mask in masks])
    return BinnedRanking(histogram_of(maps[masks], maps[~masks], weight, bins=2**16))


def test_pixel_metrics_from_a_histogram(metrics_case: dict[str, dict[str, Any]]) -> None:
    _compare(metrics_case, PIXEL, _count_pixels, "maps", "masks")


@pytest.fixture
def saa_metrics_case(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(request.param) as archive:
        return dict(archive)


def test_saa_ranking_metrics(saa_metrics_case: dict[str, Any]) -> None:
    maps, masks = (
        torch.from_numpy(saa_metrics_case["maps"]),
        torch.from_numpy(saa_metrics_case["gt"]).bool(),
    )
    rankings = {"pixels": rank_pixels(maps, masks)}
    if "labels" in saa_metrics_case:  # the image score is the highest of the map
        labels = torch.from_numpy(saa_metrics_case["labels"]).bool()
        rankings["images"] = rank_labelled(maps.flatten(1).amax(1), labels)
    names = [
        name
        for name in SAA_PERCENT
        if name in saa_metrics_case and SAA_PERCENT[name][1] in rankings
    ]
    for name in names:
        metric, over = SAA_PERCENT[name]
        _assert_equal(metric(rankings[over]), float(saa_metrics_case[name]) / 100, name, "SAA")
    for kind in rankings:
        name = f"max_f1_{kind.removesuffix('s')}_threshold"
        if name in saa_metrics_case:
            _assert_equal(
                curves.f1_optimum(rankings[kind])[1], float(saa_metrics_case[name]), name, "SAA"
            )
            names.append(name)
    if not names:
        pytest.skip(f"the file holds none of {', '.join(SAA_PERCENT)}")


def test_saa_region_f1(saa_metrics_case: dict[str, Any]) -> None:
    names = [name for name in SAA_REGIONS if name in saa_metrics_case]
    if not names:
        pytest.skip(f"the file holds none of {', '.join(SAA_REGIONS)}")
    maps, masks = (
        torch.from_numpy(saa_metrics_case["maps"]),
        torch.from_numpy(saa_metrics_case["gt"]).bool(),
    )
    for name in names:
        iou, steps = SAA_REGIONS[name]
        published = float(saa_metrics_case[name])  # computed in float32
        assert abs(region_f1(maps, masks, iou=iou, steps=steps) - published) <= 1e-6, name
        assert region_f1_matched(maps, masks, iou=iou, steps=steps) <= 1


def test_saa_region_overlap(saa_metrics_case: dict[str, Any]) -> None:
    if "metric_p_pro" not in saa_metrics_case:
        pytest.skip("the file holds no metric_p_pro")
    maps, masks = (
        torch.from_numpy(saa_metrics_case["maps"]),
        torch.from_numpy(saa_metrics_case["gt"]).bool(),
    )
    assert abs(aupro_filled(maps, masks) - float(saa_metrics_case["metric_p_pro"]) / 100) <= 1e-5
