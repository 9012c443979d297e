"""How unlike the rest of the image, or the other objects in it, each place is.

Legend: c channels on a grid of h × w places, m objects, u places that belong to an object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from zsad.functional.resample import nearest

_AT_ONCE = 1 << 23  # similarities in memory at a time


def join_stages(stages: Sequence[Float[Tensor, "_ _ _"]]) -> Float[Tensor, "c h w"]:
    """Bring the stages of a network to the grid of the first (nearest neighbour) and join them to unit vectors.

    Source: SAA+, where the stages are those of a WideResNet-50 at strides 4, 8 and 16.
    """
    size = stages[0].shape[1:]
    joined = torch.cat(
        [F.interpolate(stage[None].float(), size=size, mode="nearest")[0] for stage in stages]
    )
    return F.normalize(joined, dim=0)


def farthest_mean(features: Float[Tensor, "c h w"], n_top: int) -> Float[Tensor, "h w"]:
    """Return for each place the mean distance to the ``n_top`` places of the image that are least like it.

    The distance of unit vectors is half of one minus their cosine, 0 … 1. With fewer places it is the mean over all.

    Source: SAA+'s code for one object; the paper says nearest neighbours.
    """
    vectors = features.flatten(1).T.contiguous()  # (c, h, w) -> (h w, c)
    n_top = min(n_top, len(vectors))
    rows = max(1, _AT_ONCE // len(vectors))
    least = [
        (part @ vectors.T).topk(n_top, dim=1, largest=False).values.mean(dim=1)
        for part in vectors.split(rows)
    ]
    return (1 - torch.cat(least)).div(2).view(features.shape[1:])


def on_grid(masks: Bool[Tensor, "m high wide"], grid: tuple[int, int]) -> Bool[Tensor, "k h w"]:
    """Bring masks to a grid (nearest neighbour); those of which nothing is left are dropped."""
    small = nearest(masks, grid)
    return small[small.flatten(1).any(dim=1)]


def between_objects(
    features: Float[Tensor, "c h w"], masks: Bool[Tensor, "m high wide"]
) -> Float[Tensor, "h w"]:
    """Return for each place of an object its distance to the most similar place of the *other* objects; 0 outside all.

    The distance is half of one minus the cosine. Where objects overlap, a place has the largest of its distances.
    Places that two objects share are nobody else's: they count as a vector without a direction, of cosine 0.

    Args:
        features: Unit vectors.
        masks: The objects, on any grid; those that vanish on that of the features are passed over.

    Raises:
        ValueError: If fewer than two objects are left (``on_grid`` tells); ``farthest_mean`` serves then.

    Source: SAA+'s code for several objects. Every similarity is computed once instead of once per object.
    """
    masks = on_grid(masks, (features.shape[1], features.shape[2]))
    if len(masks) < 2:
        raise ValueError(
            f"{len(masks)} objects on a grid of {tuple(features.shape[1:])}: two or more can be compared"
        )
    covered = masks.any(dim=0)
    inside, group, sizes = masks[:, covered].unique(dim=1, return_inverse=True, return_counts=True)
    order = group.argsort()  # places of the same objects become neighbours
    best = _most_similar(features[:, covered].T[order], inside, sizes.tolist())
    scores = features.new_empty(len(order))
    belongs = inside.repeat_interleave(sizes, dim=1)
    scores[order] = best.where(belongs, torch.inf).amin(dim=0)
    heat = features.new_zeros(features.shape[1:])
    heat[covered] = (1 - scores) / 2
    return heat


def _most_similar(vectors: Tensor, inside: Tensor, sizes: list[int]) -> Float[Tensor, "m u"]:
    """Return for each object and place the largest cosine to a place of other objects; only places of it are right.

    Args:
        vectors: (u, c), group by group.
        inside: (m, groups), which objects the places of a group belong to.
        sizes: How many places each group has.
    """
    shares = (inside & (inside.sum(dim=0) > 1)).any(dim=1, keepdim=True)
    best = torch.where(shares, 0.0, -torch.inf).to(vectors).repeat(1, len(vectors))
    for group, part, later in _blocks(sizes):
        own = inside[:, group]
        similarity = vectors[later:] @ vectors[part].T
        backward = similarity.amax(dim=1)
        best[~own, later:] = torch.maximum(best[~own, later:], backward)
        forward = torch.stack(
            [one.amax(dim=0) for one in similarity.split(sizes[group + 1 :])]
        )  # (later groups, part)
        for i in own.nonzero()[:, 0].tolist():
            others = forward[~inside[i, group + 1 :]]
            if len(others):
                best[i, part] = torch.maximum(best[i, part], others.amax(dim=0))
    return best


def _blocks(sizes: list[int]) -> Iterator[tuple[int, slice, int]]:
    """Yield each group but the last in parts: its number, the places of the part, and where the next group begins."""
    start, total = 0, sum(sizes)
    for group, size in enumerate(sizes[:-1]):
        later = start + size
        step = max(1, _AT_ONCE // (total - later))
        for first in range(start, later, step):
            yield group, slice(first, min(first + step, later)), later
        start = later
