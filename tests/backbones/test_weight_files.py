"""Fingerprints of weights. How files are read stands in clip/test_weights.py."""

from __future__ import annotations

import torch
from torch import nn

from zsad.backbones.sam3.segmenter import SAM3Segmenter
from zsad.backbones.weight_files import fingerprint


class _Old(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.light = part


class _New(nn.Module):
    hashed_as = SAM3Segmenter.hashed_as

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.head = part


def test_a_renamed_part_keeps_its_fingerprint() -> None:
    """So that fingerprints in checkpoints of version 0.1 stay comparable."""
    part = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert fingerprint(_New(part)) == fingerprint(_Old(part))
    inside = nn.ModuleDict({"backbone": _New(part), "other": nn.Linear(1, 1)})
    before = fingerprint(inside)
    assert before == fingerprint(nn.ModuleDict({"backbone": _Old(part), "other": inside["other"]}))
    with torch.no_grad():
        part[0].bias[0] += 1
    assert fingerprint(inside) != before


def test_other_parts_are_hashed_under_their_own_names() -> None:
    part = nn.Linear(2, 3)
    named_head = nn.ModuleDict({"head": part})
    assert fingerprint(named_head) != fingerprint(_New(part))
