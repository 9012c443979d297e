"""Scales and boxes at which an image is shown in tiles.

Legend: an image of H × W pixels; tiles of t × t pixels, on a grid of patches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from zsad.functional.tiles import best_grid, grid_scale, shared_side, tile_boxes
from zsad.types import Box


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Places of the tiles of an image.

    Attributes:
        size: (H, W) of the image at the scale of its tiles, multiples of the patch.
        boxes: The tiles, in pixels at that scale.
        scale: Pixels of that scale for one of the image.
        patch_px: Side of a patch.
    """

    size: tuple[int, int]
    boxes: list[Box]
    scale: float
    patch_px: int

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per column and per row."""
        return self.size[0] // self.patch_px, self.size[1] // self.patch_px

    @property
    def patch_boxes(self) -> list[Box]:
        """The tiles, in patches."""
        patch = self.patch_px
        boxes = []
        for box in self.boxes:
            corner = (box.top // patch, box.left // patch)
            boxes.append(Box(*corner, box.height // patch, box.width // patch))
        return boxes


def plan_tiles(
    size: tuple[int, int],
    scale: float,
    *,
    tile_px: int,
    patch_px: int,
    overlap: float,
    max_tiles: int | None,
) -> TilePlan:
    """Return the tiles that show an image at a scale, or at the largest that the budget allows.

    Args:
        size: (H, W) of the image.
        scale: Pixels at the scale of the tiles for one of the image.
        tile_px: Side of a tile, rounded down to whole patches.
        patch_px: Side of a patch.
        overlap: Least share of a tile's side that neighbours have in common.
        max_tiles: Largest number of tiles; ``None`` for no limit.
    """
    side = max(tile_px // patch_px, 1) * patch_px
    tile = (side, side)
    shared = shared_side(side, overlap, patch_px)
    exact = Fraction(scale).limit_denominator(1000)
    scaled = _whole_patches(size, exact, patch_px)
    boxes = tile_boxes(scaled, tile, overlap, patch_px)
    if max_tiles is not None and len(boxes) > max_tiles:
        grid = best_grid(size, tile, max_tiles, (shared, shared), exact)
        exact = grid_scale(size, tile, grid, (shared, shared))
        scaled = _whole_patches(size, exact, patch_px)
        boxes = tile_boxes(scaled, tile, overlap, patch_px)
    return TilePlan(scaled, boxes, float(exact), patch_px)


def _whole_patches(size: tuple[int, int], scale: Fraction, patch_px: int) -> tuple[int, int]:
    height, width = size
    return _whole_patches_side(height, scale, patch_px), _whole_patches_side(width, scale, patch_px)


def _whole_patches_side(side: int, scale: Fraction, patch_px: int) -> int:
    """Return a side in whole patches: rounded up at its own scale (mirrored), else down."""
    if scale == 1:
        return patch_px * math.ceil(Fraction(side, patch_px))
    return patch_px * max(math.floor(side * scale / patch_px), 1)
