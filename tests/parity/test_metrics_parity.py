"""Our metrics equal the published evaluation code and scikit-learn, undefined cases included."""

from __future__ import annotations

import math
from collections.abc import Callable
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


def _compare(
    cases: dict[str, dict[str, Any]], metrics: dict[str, Callable], rank: Callable, predicted: str, truth: str
) -> None:
    compared = 0
    for case, data in cases.items():
        names = [name for name in metrics if name in data] if {predicted, truth} <= data.keys() else []
        ranking = rank(torch.from_numpy(data[predicted]), torch.from_numpy(data[truth]).bool()) if names else None
        for name in names:
            _assert_equal(metrics[name](ranking), float(data[name]), name, case)
            compared += 1
    if not compared:
        pytest.skip(f"the file holds none of {', '.join(metrics)} with {predicted} and {truth}")


def test_image_metrics(metrics_case: dict[str, dict[str, Any]]) -> None:
    _compare(metrics_case, IMAGE, rank_labelled, "scores", "labels")


def test_pixel_metrics(metrics_case: dict[str, dict[str, Any]]) -> None:
    _compare(metrics_case, PIXEL, rank_pixels, "maps", "masks")
