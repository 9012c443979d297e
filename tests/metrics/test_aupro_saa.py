"""SAA's per-region overlap, against its definition spelled out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zsad.metrics.aupro_saa import aupro_filled

RING = torch.zeros(1, 20, 20, dtype=torch.bool)
RING[0, 5:12, 5:12] = True
RING[0, 7:10, 7:10] = False


def test_holes_count_as_found_but_not_as_area() -> None:
    maps = torch.where(RING, 1.0, 0.0)
    maps[0, 7:10, 7:10] = 1.0  # the hole, too
    maps[0, 0, :4] = torch.tensor([0.2, 0.4, 0.6, 0.8])
    # 0 at no false alarms, 49 / 40 from the 9 pixels of the hole on to all 13 false alarms
    assert aupro_filled(maps, RING) == pytest.approx(49 / 40 * (9 / 2 + 4) / 13)


def test_it_is_what_its_definition_says() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(3, 16, 16, dtype=torch.bool)
    masks[0, 2:6, 3:7] = masks[1, 8:12, 1:4] = masks[1, 1:3, 10:15] = True
    maps = torch.rand(3, 16, 16, generator=generator) + masks * 0.4
    scores, rates, overlaps = maps.double(), [], []
    for step in range(200):
        called = scores > scores.max() - step * (scores.max() - scores.min()) / 200
        parts = [called[0, 2:6, 3:7], called[1, 8:12, 1:4], called[1, 1:3, 10:15]]
        rate = (called & ~masks).sum() / (~masks).sum()
        if rate <= 0.3:
            rates.append(float(rate))
            overlaps.append(np.mean([float(part.float().mean()) for part in parts]))
    x = (np.array(rates) - min(rates)) / (max(rates) - min(rates))
    assert aupro_filled(maps, masks) == pytest.approx(np.trapezoid(overlaps, x), abs=1e-6)


def test_it_is_undefined_without_defects_or_different_rates() -> None:
    assert math.isnan(aupro_filled(torch.rand(2, 8, 8), torch.zeros(2, 8, 8, dtype=torch.bool)))
    assert math.isnan(aupro_filled(torch.zeros(2, 20, 20), RING.expand(2, 20, 20)))
