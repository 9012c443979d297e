"""Maps of any size are compared as squares of one size, where that is asked for."""

from __future__ import annotations

import functools

import pytest
import torch

from zsad.metrics import curves, region_f1
from zsad.metrics.per_category import CategoryMetrics
from zsad.types import Batch, Prediction

REGIONS = {"region_f1": functools.partial(region_f1.region_f1, iou=0.6, steps=20)}


def example(height: int, width: int, *, defective: bool) -> tuple[Prediction, Batch]:
    """Return a map that is right about a defect in the middle third of an image."""
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    if defective:
        mask[:, height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = True
    label = torch.tensor([defective])
    batch = Batch(
        torch.zeros(1, 3, height, width),
        mask,
        torch.tensor([True]),
        label,
        ("nut",),
        ("",),
        ("x.png",),
    )
    return Prediction(mask.float() * 0.9, torch.tensor([float(defective)])), batch


def test_images_of_different_sizes_share_metrics_over_whole_maps() -> None:
    metrics = CategoryMetrics(["nut"], {}, {"auroc": curves.auroc}, REGIONS, bins=None, side_px=30)
    for size, defective in (((30, 60), True), ((45, 33), True), ((9, 12), False)):
        metrics.update(*example(*size, defective=defective))
    assert metrics.compute().values["nut"]["region_f1"] == 1
    pixels = metrics.rankings["nut"][1].counts
    assert pixels == (3 * 30 * 30 - 2 * 100, 2 * 100)


def test_without_a_side_they_are_refused_with_the_way_on() -> None:
    metrics = CategoryMetrics(["nut"], {}, {}, REGIONS)
    metrics.update(*example(30, 60, defective=True))
    with pytest.raises(
        ValueError,
        match=r"region_f1 need maps of one size.* 60 x 30 and of 33 x 45 px.*side_px=400",
    ):
        metrics.update(*example(45, 33, defective=True))
