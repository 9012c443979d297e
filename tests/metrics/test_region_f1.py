"""F1 over regions equals a slow loop over pairs; as published it can exceed 1, matched not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from skimage import measure

from zsad.metrics.region_f1 import region_f1, region_f1_matched


def slow(maps, masks, iou, steps, matched):
    """Every threshold, every image, every pair of regions."""
    maps, masks, best = maps.double().numpy(), masks.numpy(), 0.0
    for step in range(steps):
        threshold = maps.max() - step * (maps.max() - maps.min()) / steps
        true_positives = found = defects = 0
        for one_map, mask in zip(maps, masks, strict=True):
            ours, theirs = (
                measure.label(one_map > threshold, connectivity=2),
                measure.label(mask, connectivity=2),
            )
            found, defects = found + ours.max(), defects + theirs.max()
            table = np.zeros((ours.max(), theirs.max()))
            for i, j in np.ndindex(*table.shape):
                a, b = ours == i + 1, theirs == j + 1
                if not matched:
                    rows, columns = np.nonzero(a | b)
                    crop = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                    a, b = (ours > 0)[crop], (theirs > 0)[crop]
                table[i, j] = (a & b).sum() / (a | b).sum()
            if matched and table.size:
                allowed = (table >= iou).astype(int)
                true_positives += allowed[linear_sum_assignment(allowed, maximize=True)].sum()
            elif table.size:
                true_positives += (table.max(1) >= iou).sum()
        best = max(best, 2 * true_positives / (found + defects))
    return best


def blobs(seed, size=24):
    generator = torch.Generator().manual_seed(seed)
    field = torch.nn.functional.interpolate(
        torch.randn(3, 1, 6, 6, generator=generator), (size, size), mode="bicubic"
    )
    masks = field[:, 0] > 0.8
    return field[:, 0] + 0.4 * torch.randn(3, size, size, generator=generator), masks


@pytest.mark.parametrize("iou", [0.3, 0.6])
@pytest.mark.parametrize(("metric", "matched"), [(region_f1, False), (region_f1_matched, True)])
@pytest.mark.parametrize("seed", range(3))
def test_region_f1_equals_the_slow_loop(metric, matched, iou, seed):
    maps, masks = blobs(seed)
    expected = slow(maps, masks, iou, 12, matched)
    assert metric(maps, masks, iou=iou, steps=12) == pytest.approx(expected, abs=1e-12)


def four_fragments():
    mask = torch.zeros(1, 12, 12, dtype=torch.bool)
    mask[:, 2:10, 2:10] = True
    found = mask.clone()
    found[:, 5:7], found[:, :, 5:7] = False, False
    return found.float(), mask


def test_four_fragments_of_a_defect_count_four_times():
    """As published. Matched one to one, they do not count at all."""
    maps, masks = four_fragments()
    assert region_f1(maps, masks, iou=0.5) == pytest.approx(8 / 5)
    assert region_f1_matched(maps, masks, iou=0.5) == 0.0


def test_a_perfect_outline_is_one():
    _, masks = four_fragments()
    assert region_f1(masks.float(), masks) == region_f1_matched(masks.float(), masks) == 1.0


@pytest.mark.parametrize("metric", [region_f1, region_f1_matched])
def test_what_cannot_be_measured_is_undefined(metric):
    maps, masks = four_fragments()
    assert math.isnan(metric(torch.full_like(maps, 0.5), masks))
    assert math.isnan(metric(maps, torch.zeros_like(masks)))
    assert math.isnan(metric(maps[:0], masks[:0]))


@pytest.mark.parametrize("metric", [region_f1, region_f1_matched])
def test_defects_that_are_never_outlined_are_zero(metric):
    _, masks = four_fragments()
    assert metric(1 - masks.float(), masks) == 0.0
