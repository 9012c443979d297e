"""Cutting an image into tiles and putting what was seen in them back: the same boxes for both.

Legend: n tiles of h × w, B images of H × W with C channels; all in pixels, or all in patches. Boxes go row by row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from zsad.types import Box

_WINDOW_FLOOR = (
    1e-3  # at the border of an image one tile is alone: its outermost pixels need a weight
)


def tile_boxes(
    size: tuple[int, int], tile: tuple[int, int], overlap: float = 0.25, snap: int = 1
) -> list[Box]:
    """Return tiles that cover an image without padding: evenly spread, the last one flush with the border.

    Along a side of W with tiles of P there are ⌈(W - o) / (P - o)⌉ of them, where neighbours share o or more. A side
    shorter than the tile gets one tile of its own length.

    Args:
        size: (H, W) of the image.
        tile: (h, w).
        overlap: Share of a tile's side that neighbours have in common at least; rounded to a multiple of ``snap``.
        snap: Every offset is a multiple of it, so that tiles can be cut along a patch grid.

    Raises:
        ValueError: If the overlap is not in [0, 1), or a side of image or tile is not a positive multiple of ``snap``.
    """
    if not 0 <= overlap < 1:
        raise ValueError(
            f"overlap={overlap}: expected a share of the tile's side, 0 or more and less than 1"
        )
    if any(side < 1 or side % snap for side in (*size, *tile)):
        raise ValueError(
            f"an image of {size} and tiles of {tile} (H, W): expected positive multiples of {snap}"
        )
    height, width = (min(side, whole) for side, whole in zip(tile, size, strict=True))
    tops, lefts = (
        _offsets(whole, side, overlap, snap)
        for whole, side in zip(size, (height, width), strict=True)
    )
    return [Box(top, left, height, width) for top in tops for left in lefts]


def shared_side(tile: int, overlap: float, snap: int = 1) -> int:
    """Return how much of a tile's side neighbours share at least: the overlap in whole snaps, never the whole tile."""
    return snap * min(round(overlap * tile / snap), tile // snap - 1)


def quadrants(canvas: int, tile: int) -> list[Box]:
    """Return the four tiles in the corners of a square, row by row.

    Source: DHR-CLIP. The published code cuts the second tile at P and pastes its map at T - P, which agree for T = 2P
    alone; here it is cut where it is pasted.

    Raises:
        ValueError: If the four overlap completely or leave a gap: P ≤ T ≤ 2P is needed.
    """
    if not 1 <= tile <= canvas <= 2 * tile:
        raise ValueError(
            f"tiles of {tile} on a canvas of {canvas}: two a side cover it from {tile} to {2 * tile} only"
        )
    offsets = (0, canvas - tile)
    return [Box(top, left, tile, tile) for top in offsets for left in offsets]


def best_grid(
    size: tuple[int, int],
    tile: tuple[int, int],
    budget: int,
    shared: tuple[int, int] = (0, 0),
    limit: Fraction = Fraction(1),
) -> tuple[int, int]:
    """Return the grid (columns, rows) of at most ``budget`` tiles that shows an image (H, W) largest.

    The image is shrunk (never shown larger than ``limit``) until the grid covers it. Of grids that show it equally
    large the smallest one wins, which leaves the least unused. ``shared`` is what neighbouring tiles have in common, as
    (rows, columns).

    Source: the any-resolution rule of LLaVA-NeXT (largest effective area, then least padding), for tiles that overlap.

    Raises:
        ValueError: If the budget is below 1.
    """
    if budget < 1:
        raise ValueError(f"a budget of {budget} tiles: expected 1 or more")
    grids = [
        (columns, rows)
        for columns in range(1, budget + 1)
        for rows in range(1, budget // columns + 1)
    ]
    return max(
        grids,
        key=lambda grid: (min(grid_scale(size, tile, grid, shared), limit), -grid[0] * grid[1]),
    )


def grid_scale(
    size: tuple[int, int],
    tile: tuple[int, int],
    grid: tuple[int, int],
    shared: tuple[int, int] = (0, 0),
) -> Fraction:
    """Return the largest scale at which a grid (columns, rows) still covers an image (H, W)."""
    covered = [
        part + (side - part) * count
        for side, part, count in zip(tile, shared, reversed(grid), strict=True)
    ]
    return min(Fraction(side, whole) for side, whole in zip(covered, size, strict=True))


def cut(
    image: Float[Tensor, "b c big_h big_w"], boxes: Sequence[Box]
) -> Float[Tensor, "n b c h w"]:
    """Return the tiles of a batch; their boxes are of one size."""
    return torch.stack([image[..., box.rows, box.columns] for box in boxes])


def blending_window(tile: tuple[int, int]) -> Float[Tensor, "h w"]:
    """Return weights in (0, 1] that fall from a tile's middle to its edges: a raised cosine along both sides.

    A tile knows least about its edge, and neighbours whose weights fade leave no seam.
    """
    rows, columns = (_raised_cosine(side) for side in tile)
    return rows[:, None] * columns


def stitch(
    tiles: Float[Tensor, "n b c h w"],
    boxes: Sequence[Box],
    size: tuple[int, int],
    window: Float[Tensor, "h w"] | None = None,
) -> Float[Tensor, "b c big_h big_w"]:
    """Put tiles back where they were cut; where they overlap, take the mean weighted by the window.

    Args:
        tiles: What was seen in each tile, in the order of the boxes.
        boxes: Where they lie.
        size: (H, W) of the image.
        window: Weights inside a tile; ``None`` for the plain mean.

    Raises:
        ValueError: If a pixel is covered by no tile.
    """
    weights = torch.ones(tiles.shape[-2:]).to(tiles) if window is None else window.to(tiles)
    total, weight = tiles.new_zeros(*tiles.shape[1:3], *size), tiles.new_zeros(size)
    for tile, box in zip(tiles, boxes, strict=True):
        total[..., box.rows, box.columns] += weights * tile
        weight[box.rows, box.columns] += weights
    bare = (weight == 0).nonzero()
    if len(bare):
        raise ValueError(
            f"{len(boxes)} tiles leave pixel {tuple(bare[0].tolist())} (row, column) of {size} uncovered"
        )
    return total / weight


def _offsets(whole: int, side: int, overlap: float, snap: int) -> list[int]:
    shared = shared_side(side, overlap, snap)
    count = max(math.ceil(Fraction(whole - shared, side - shared)), 1)
    steps = (whole - side) // snap
    return [snap * round(Fraction(index * steps, max(count - 1, 1))) for index in range(count)]


def _raised_cosine(side: int) -> Float[Tensor, " side"]:
    middles = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    return (0.5 - 0.5 * torch.cos(2 * math.pi * middles)).clamp(min=_WINDOW_FLOOR).float()
