"""Distance of each place to the rest of the image, or to the other objects in it.

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
    """Resize the stages of a network to the grid of the first and join them to unit vectors.

    Source: SAA+, where the stages are those of a WideResNet-50 at strides 4, 8 and 16; resized to
    the nearest neighbour.
    """
    size = stages[0].shape[1:]
    resized = []
    for stage in stages:
        batch = F.interpolate(stage[None].float(), size=size, mode="nearest")
        resized.append(batch[0])
    return F.normalize(torch.cat(resized), dim=0)


def farthest_mean(features: Float[Tensor, "c h w"], n_top: int) -> Float[Tensor, "h w"]:
    """Return for each place the mean distance to the ``n_top`` places that are least like it.

    The distance of unit vectors is half of 1 minus their cosine, 0 … 1. With fewer places it is the
    mean over all.

    Source: SAA+'s code for one object; the paper says nearest neighbours.
    """
    vectors = features.flatten(1).T.contiguous()  # (c, h, w) -> (h w, c)
    n_top = min(n_top, len(vectors))
    rows_at_once = max(1, _AT_ONCE // len(vectors))
    cosines = []
    for rows in vectors.split(rows_at_once):
        least = (rows @ vectors.T).topk(n_top, dim=1, largest=False).values
        cosines.append(least.mean(dim=1))
    distances = (1 - torch.cat(cosines)).div(2)
    return distances.view(features.shape[1:])


def on_grid(masks: Bool[Tensor, "m high wide"], grid: tuple[int, int]) -> Bool[Tensor, "k h w"]:
    """Resize masks to a grid (nearest neighbour) and drop those that vanish on it."""
    small = nearest(masks, grid)
    is_left = small.flatten(1).any(dim=1)
    return small[is_left]


def between_objects(
    features: Float[Tensor, "c h w"], masks: Bool[Tensor, "m high wide"]
) -> Float[Tensor, "h w"]:
    """Return for each place of an object its distance to the most similar place of the *others*.

    The distance is half of 1 minus the cosine; 0 outside all objects. Where objects overlap, a
    place has the largest of its distances. Places that two objects share are nobody else's: they
    count as a vector without a direction, of cosine 0.

    Args:
        features: Unit vectors.
        masks: The objects, on any grid; those that vanish on that of the features are passed over.

    Raises:
        ValueError: If fewer than two objects are left (``on_grid`` tells); ``farthest_mean`` serves
            then.

    Source: SAA+'s code for several objects. Every similarity is computed once instead of once per
    object.
    """
    grid = (features.shape[1], features.shape[2])
    masks = on_grid(masks, grid)
    if len(masks) < 2:
        raise ValueError(f"{len(masks)} objects on a grid of {grid}: two or more can be compared")
    covered = masks.any(dim=0)
    # A group holds the places that belong to the same objects; sorting makes them neighbours.
    inside, group, sizes = masks[:, covered].unique(dim=1, return_inverse=True, return_counts=True)
    order = group.argsort()
    vectors = features[:, covered].T[order]
    best = _most_similar(vectors, inside, sizes.tolist())
    belongs = inside.repeat_interleave(sizes, dim=1)
    similarity = features.new_empty(len(order))
    similarity[order] = best.where(belongs, torch.inf).amin(dim=0)
    heat = features.new_zeros(grid)
    heat[covered] = (1 - similarity) / 2
    return heat


def _most_similar(vectors: Tensor, inside: Tensor, sizes: list[int]) -> Float[Tensor, "m u"]:
    """Return for each object and place the largest cosine to a place of other objects.

    Only the entries of an object's own places are right.

    Args:
        vectors: (u, c), group by group.
        inside: (m, groups), true where the places of a group belong to an object.
        sizes: Number of places of each group.
    """
    shares = (inside & (inside.sum(dim=0) > 1)).any(dim=1, keepdim=True)
    best = torch.where(shares, 0.0, -torch.inf).to(vectors).repeat(1, len(vectors))
    for group, part, later in _blocks(sizes):
        own = inside[:, group]
        similarity = vectors[later:] @ vectors[part].T
        backward = similarity.amax(dim=1)
        of_others = best[~own, later:]
        best[~own, later:] = torch.maximum(of_others, backward)
        later_groups = similarity.split(sizes[group + 1 :])
        forward = torch.stack([rows.amax(dim=0) for rows in later_groups])  # (later groups, part)
        for number in own.nonzero()[:, 0].tolist():
            is_other = ~inside[number, group + 1 :]
            others = forward[is_other]
            if len(others):
                nearest_other = others.amax(dim=0)
                best[number, part] = torch.maximum(best[number, part], nearest_other)
    return best


def _blocks(sizes: list[int]) -> Iterator[tuple[int, slice, int]]:
    """Yield each group but the last in parts: its number, the part, and the next group's start."""
    start = 0
    total = sum(sizes)
    for group, size in enumerate(sizes[:-1]):
        later = start + size
        step = max(1, _AT_ONCE // (total - later))
        for first in range(start, later, step):
            stop = min(first + step, later)
            yield group, slice(first, stop), later
        start = later
