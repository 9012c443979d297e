"""Losses of the image tower against a locked text tower.

Legend: P pairs, N patches, E joint width, D kinds of defect.
Cosines are divided by AnomalyCLIP's temperature.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pocket.pool import Pairs
from pocket.texts import Dictionary
from pocket.towers import Towers

TEMPERATURE = 0.07
WEIGHTS = {
    "dense": 1.0,
    "dense_shared": 3.0,
    "kind": 0.1,
    "image": 0.2,
    "image_shared": 0.6,
    "pair": 0.3,
    "name": 0.05,
}

_COVERED = 0.08  # share of a patch from which it counts as damaged


def loss_terms(
    towers: Towers, texts: Dictionary, pairs: Pairs, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return the unweighted terms of one step."""
    room = (
        towers.clip.native_size // towers.clip.patch_size
        - pairs.mask.shape[-1] // towers.clip.patch_size
    )
    corner = (int(rng.integers(room + 1)), int(rng.integers(room + 1)))
    image, named, patches = towers.encode_image(torch.cat([pairs.clean, pairs.damaged]), corner)
    image, named, patches = (F.normalize(x, dim=-1) for x in (image, named, patches))

    own = (texts.kinds[pairs.category, pairs.defect] - texts.good[pairs.category]).repeat(
        2, 1
    ) / TEMPERATURE  # (2P, E)
    shared = (F.normalize(texts.kinds[-1].mean(0), dim=-1) - texts.good[-1]) / TEMPERATURE  # (E,)
    covered = F.avg_pool2d(pairs.mask[:, None], towers.clip.patch_size).flatten(1)  # (P, N)
    covered = torch.cat([torch.zeros_like(covered), covered])
    bad = torch.cat([torch.zeros_like(pairs.visible), pairs.visible])
    margins = {"": (patches * own[:, None]).sum(-1), "_shared": patches @ shared}  # (2P, N)
    scores = {"": (image * own).sum(-1), "_shared": image @ shared}  # (2P,)
    terms = {f"dense{key}": dense_loss(margin, covered) for key, margin in margins.items()}
    terms |= {f"image{key}": image_loss(score, bad) for key, score in scores.items()}
    terms["pair"] = pair_loss(margins["_shared"], covered)
    hit = (covered > _COVERED).nonzero()
    kinds = patches[hit[:, 0], hit[:, 1]] @ texts.kinds[-1].T / TEMPERATURE  # (damaged patches, D)
    kind = pairs.defect.repeat(2)[hit[:, 0]]
    terms["kind"] = F.cross_entropy(kinds, kind, reduction="sum") / max(1, len(kind))
    terms["name"] = F.cross_entropy(named @ texts.names.T / TEMPERATURE, pairs.category.repeat(2))
    return terms


def dense_loss(margin: Tensor, covered: Tensor) -> Tensor:
    """Focal cross-entropy in which damaged patches weigh as much as the others, plus dice.

    Patches that the damage barely touches are left out of the cross-entropy.
    """
    target = (covered > _COVERED).float()
    sure = ((covered == 0) | (covered > _COVERED)).float()
    wrong = torch.sigmoid(torch.where(target > 0, -margin, margin))
    entropy = F.binary_cross_entropy_with_logits(margin, target, reduction="none") * wrong * sure
    share = target.sum() / sure.sum()
    weight = torch.where(target > 0, 0.35 / share.clamp(min=1e-3), 0.65 / (1 - share))
    p = margin.sigmoid()
    overlap, size = (p * target).sum(1), p.sum(1) + target.sum(1)
    return (entropy * weight).sum() / sure.sum() + 0.5 * (1 - (2 * overlap + 1) / (size + 1)).mean()


def image_loss(score: Tensor, bad: Tensor) -> Tensor:
    """Cross-entropy of every picture, and of which of the two of a pair is the damaged one."""
    entropy = F.binary_cross_entropy_with_logits(score, bad.float())
    clean, damaged = score.chunk(2)
    shown = bad.chunk(2)[1].float()
    return entropy + (F.softplus(2 - (damaged - clean)) * shown).sum() / shown.sum().clamp(min=1)


def pair_loss(margin: Tensor, covered: Tensor) -> Tensor:
    """Move the patches of the damage far towards *damaged*, and leave the others in place."""
    clean, damaged = margin.chunk(2)
    cover = covered.chunk(2)[1]
    gap, inside, outside = damaged - clean, (cover > _COVERED).float(), (cover == 0).float()
    moved = (F.softplus(4 - gap) * inside).sum() / inside.sum().clamp(min=1)
    kept = (
        F.smooth_l1_loss(gap, torch.zeros_like(gap), reduction="none") * outside
    ).sum() / outside.sum()
    return moved + kept
