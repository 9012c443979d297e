"""Tiles of an image: their boxes, cutting, and stitching with the same boxes.

Legend: n tiles of h × w, B images of H × W with C channels; all in pixels, or all in patches. Boxes
go row by row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from zsad.types import Box

# At the border of an image a single tile covers a pixel, so its outermost pixels need a weight.
_LEAST_WEIGHT = 1e-3


def tile_boxes(
    size: tuple[int, int], tile: tuple[int, int], overlap: float = 0.25, snap: int = 1
) -> list[Box]:
    """Return evenly spread tiles that cover an image without padding.

    The last tile is flush with the border. Along a side of W with tiles of P there are
    ⌈(W - o) / (P - o)⌉ of them, where neighbours share o or more. A side shorter than the tile gets
    one tile of its own length.

    Args:
        size: (H, W) of the image.
        tile: (h, w).
        overlap: Least share of a tile's side that neighbours have in common; rounded to a multiple
            of ``snap``.
        snap: Every offset is a multiple of it, so that tiles can be cut along a patch grid.

    Raises:
        ValueError: If the overlap is not in [0, 1), or a side of image or tile is not a positive
            multiple of ``snap``.
    """
    if not 0 <= overlap < 1:
        raise ValueError(
            f"overlap={overlap}: expected a share of the tile's side, 0 or more and less than 1"
        )
    if any(side < 1 or side % snap for side in (*size, *tile)):
        raise ValueError(
            f"an image of {size} and tiles of {tile} (H, W): expected positive multiples of {snap}"
        )
    height = min(tile[0], size[0])
    width = min(tile[1], size[1])
    tops = _offsets(size[0], height, overlap, snap)
    lefts = _offsets(size[1], width, overlap, snap)
    return [Box(top, left, height, width) for top in tops for left in lefts]


def _offsets(whole: int, side: int, overlap: float, snap: int) -> list[int]:
    shared = shared_side(side, overlap, snap)
    count = max(math.ceil(Fraction(whole - shared, side - shared)), 1)
    steps = (whole - side) // snap
    gaps = max(count - 1, 1)
    return [snap * round(Fraction(index * steps, gaps)) for index in range(count)]


def shared_side(tile: int, overlap: float, snap: int = 1) -> int:
    """Return the least length that neighbours share along a tile's side, in whole snaps.

    It is never the whole tile.
    """
    snaps = min(round(overlap * tile / snap), tile // snap - 1)
    return snap * snaps


def quadrants(canvas: int, tile: int) -> list[Box]:
    """Return the four tiles in the corners of a square, row by row.

    Source: DHR-CLIP. The published code cuts the second tile at P and pastes its map at T - P,
    which agree for T = 2P alone; here it is cut at the place where it is pasted.

    Raises:
        ValueError: If the four overlap completely or leave a gap: P ≤ T ≤ 2P is needed.
    """
    if not 1 <= tile <= canvas <= 2 * tile:
        raise ValueError(
            f"tiles of {tile} on a canvas of {canvas}: two a side cover it "
            f"from {tile} to {2 * tile} only"
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
    """Return the grid (columns, rows) of at most ``budget`` tiles that shows an image largest.

    The image is shrunk until the grid covers it. Of grids that show it equally large the smallest
    wins, which leaves the least unused.

    Args:
        size: (H, W) of the image.
        tile: (h, w).
        budget: Largest number of tiles.
        shared: Length that neighbouring tiles have in common, as (rows, columns).
        limit: Largest scale at which the image is shown.

    Source: the any-resolution rule of LLaVA-NeXT (largest effective area, then least padding), for
    tiles that overlap.

    Raises:
        ValueError: If the budget is below 1.
    """
    if budget < 1:
        raise ValueError(f"a budget of {budget} tiles: expected 1 or more")
    best = (1, 1)
    best_rank: tuple[Fraction, int] | None = None
    for columns in range(1, budget + 1):
        for rows in range(1, budget // columns + 1):
            scale = min(grid_scale(size, tile, (columns, rows), shared), limit)
            rank = (scale, -columns * rows)
            if best_rank is None or rank > best_rank:
                best = (columns, rows)
                best_rank = rank
    return best


def grid_scale(
    size: tuple[int, int],
    tile: tuple[int, int],
    grid: tuple[int, int],
    shared: tuple[int, int] = (0, 0),
) -> Fraction:
    """Return the largest scale at which a grid (columns, rows) still covers an image (H, W)."""
    columns, rows = grid
    height = shared[0] + (tile[0] - shared[0]) * rows
    width = shared[1] + (tile[1] - shared[1]) * columns
    return min(Fraction(height, size[0]), Fraction(width, size[1]))


def cut(
    image: Float[Tensor, "b c big_h big_w"], boxes: Sequence[Box]
) -> Float[Tensor, "n b c h w"]:
    """Return the tiles of a batch; their boxes are of one size."""
    return torch.stack([image[..., box.rows, box.columns] for box in boxes])


def blending_window(tile: tuple[int, int]) -> Float[Tensor, "h w"]:
    """Return weights in (0, 1] that fall from a tile's middle to its edges: a raised cosine.

    A tile knows least about its edge, and neighbours whose weights fade leave no seam.
    """
    rows = _raised_cosine(tile[0])
    columns = _raised_cosine(tile[1])
    return rows[:, None] * columns


def _raised_cosine(side: int) -> Float[Tensor, " side"]:
    middles = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    cosine = 0.5 - 0.5 * torch.cos(2 * math.pi * middles)
    return cosine.clamp(min=_LEAST_WEIGHT).float()


def stitch(
    tiles: Float[Tensor, "n b c h w"],
    boxes: Sequence[Box],
    size: tuple[int, int],
    window: Float[Tensor, "h w"] | None = None,
) -> Float[Tensor, "b c big_h big_w"]:
    """Put tiles back where they were cut; overlaps become the mean weighted by the window.

    Args:
        tiles: Maps of the tiles, in the order of the boxes.
        boxes: Places of the tiles.
        size: (H, W) of the image.
        window: Weights inside a tile; ``None`` for the plain mean.

    Raises:
        ValueError: If a pixel is covered by no tile.
    """
    if window is None:
        window = torch.ones(tiles.shape[-2:])
    weights = window.to(tiles)
    total = tiles.new_zeros(*tiles.shape[1:3], *size)
    weight = tiles.new_zeros(size)
    for tile, box in zip(tiles, boxes, strict=True):
        total[..., box.rows, box.columns] += weights * tile
        weight[box.rows, box.columns] += weights
    bare = (weight == 0).nonzero()
    if len(bare):
        pixel = tuple(bare[0].tolist())
        raise ValueError(
            f"{len(boxes)} tiles leave pixel {pixel} (row, column) of {size} uncovered"
        )
    return total / weight
