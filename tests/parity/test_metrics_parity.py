"""Our metrics equal the published evaluation code and scikit-learn, undefined cases included."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zsad.maths import curves
from zsad.maths.curves import rank_labelled, rank_pixels

IMAGE = {"image_auroc": curves.auroc, "image_ap": curves.average_precision, "image_f1max": curves.f1_max}
PIXEL = {
    "pixel_auroc": curves.auroc,
    "pixel_ap": curves.average_precision,
    "pixel_f1max": curves.f1_max,
    "pixel_aupro": curves.aupro_200,  # the published AUPRO, with its 200 thresholds
}
BOUNDS = {"pixel_aupro": 1e-5}  # 1e-9 for the others


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
        assert abs(ours - reference) <= BOUNDS.get(name, 1e-9), f"{case}: {name} is {reference} there and {ours} here"


def test_image_metrics(metrics_case: dict[str, dict[str, Any]]) -> None:
    for case, data in metrics_case.items():
        ranking = rank_labelled(torch.from_numpy(data["scores"]), torch.from_numpy(data["labels"]).bool())
        for name, metric in IMAGE.items():
            _assert_equal(metric(ranking), float(data[name]), name, case)


def test_pixel_metrics(metrics_case: dict[str, dict[str, Any]]) -> None:
    for case, data in metrics_case.items():
        ranking = rank_pixels(torch.from_numpy(data["maps"]), torch.from_numpy(data["masks"]).bool())
        for name, metric in PIXEL.items():
            _assert_equal(metric(ranking), float(data[name]), name, case)
