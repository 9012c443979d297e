"""AUPIMO equals a slow loop over false-positive rates, and asks for almost no false alarms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zsad.metrics.aupimo import aupimo, aupimo_per_image

RANGE = {"fpr_low": 1e-3, "fpr_high": 1e-1}


def made_up(seed=0, strength=2.0):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(6, 40, 40, dtype=torch.bool)
    masks[3, 4:9, 4:30] = masks[4, 20:24, 20:24] = masks[5, :, 11] = True
    return torch.randn(6, 40, 40, generator=generator) + strength * masks, masks


def test_the_area_equals_a_fine_sum_over_logarithmic_rates():
    maps, masks = made_up()
    normal = np.sort(maps[:3].numpy().ravel())[::-1]
    rates = np.geomspace(RANGE["fpr_low"], RANGE["fpr_high"], 20_001)
    thresholds = normal[np.clip(np.round(rates * normal.size).astype(int) - 1, 0, None)]
    expected = [
        np.mean([(m[k].numpy() >= t).mean() for t in thresholds[::20]])
        for m, k in zip(maps[3:], masks[3:], strict=True)
    ]
    assert aupimo_per_image(maps, masks, **RANGE).tolist() == pytest.approx(expected, abs=5e-3)
    assert aupimo(maps, masks, **RANGE) == pytest.approx(np.mean(expected), abs=5e-3)


def test_defects_above_all_normal_pixels_are_one_below_zero():
    maps, masks = made_up(strength=100.0)
    assert aupimo(maps, masks, **RANGE) == pytest.approx(1.0)
    assert aupimo(-maps, masks, **RANGE) == 0.0


def test_the_order_of_the_images_changes_no_bit():
    maps, masks = made_up()
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    assert aupimo(maps[order], masks[order], **RANGE) == aupimo(maps, masks, **RANGE)


def test_it_is_undefined_without_images_of_either_kind():
    """And with too few normal pixels."""
    maps, masks = made_up()
    assert math.isnan(aupimo(maps[3:], masks[3:], **RANGE))
    assert math.isnan(aupimo(maps[:3], masks[:3], **RANGE))
    assert math.isnan(aupimo(maps, masks))
