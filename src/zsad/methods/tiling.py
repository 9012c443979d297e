"""High resolution for every CLIP method: the image as a whole beside tiles of its own pixels.

The idea is DHR-CLIP's (J. Ham, J.-G. Baek. ICAIIC 2025), which looks at four quadrants of a square. Here the grid
follows the shape and the size of the image, tiles overlap and fade into each other, and what was seen is put together
on the patch grid, before the one softmax and the one upsampling.

Legend: B images of H × W pixels, l tapped blocks, n tiles of t × t pixels; gh × gw patches of the whole view, ch × cw
patches of the image at the scale of its tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from zsad.functional.resample import mirrored, upsample
from zsad.functional.tiles import (
    best_grid,
    blending_window,
    cut,
    grid_scale,
    shared_side,
    stitch,
    tile_boxes,
)
from zsad.types import Box

# Tiles (n, 3, t, t) in [0, 1], and for each the number of its image in the batch (n,) -> margins of their patches
# (l, n, t / p, t / p): anomalous minus normal logit.
Encode = Callable[[Tensor, Tensor], Tensor]
_LEAST = 1e-7  # a probability of 0 has no finite logit


def _mean(whole: Tensor, tiles: Tensor, global_weight: float) -> Tensor:
    return global_weight * whole + (1 - global_weight) * tiles


def _mean_probability(whole: Tensor, tiles: Tensor, global_weight: float) -> Tensor:
    return _mean(whole.sigmoid(), tiles.sigmoid(), global_weight).logit(eps=_LEAST)


def _max(whole: Tensor, tiles: Tensor, global_weight: float) -> Tensor:  # noqa: ARG001 (one signature for all)
    return torch.maximum(whole, tiles)


FUSIONS = {"mean": _mean, "probability": _mean_probability, "max": _max}


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the tiles of an image lie.

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
        sides = ((box.top, box.left, box.height, box.width) for box in self.boxes)
        return [Box(*(side // self.patch_px for side in four)) for four in sides]


class Tiling:
    """Shows a method an image as a whole and in tiles, and joins what it sees into one map.

    Images keep their own pixels up to here (``image_size: null``). Tiles are cut as they are needed, so memory holds
    the image and a few maps, however many tiles there are.

    Args:
        tile_px: Side of a tile; ``None`` for the side of the whole view. Rounded down to whole patches.
        overlap: Share of a tile's side that neighbours have in common at least.
        scales: Sizes at which tiles are cut, 1 for the image's own pixels. Of several, the margins are averaged.
        max_tiles: Budget of each scale. An image that needs more tiles is shown at the largest scale that needs no
            more, on the grid that suits its shape. ``None`` for no limit.
        max_tiles_per_pass: Tiles that the backbone encodes at once; bounds its memory, changes no result.
        fusion: How whole view and tiles meet, patch by patch: ``mean`` of their margins, mean ``probability`` (with a
            weight of 0.75 as DHR-CLIP has it), or ``max`` of the margins.
        global_weight: Share of the whole view in the two means.
        skip_share: Share of the tiles, those that the whole view calls emptiest, that are not looked at; the map of the
            whole view stands there.

    Raises:
        ValueError: If a number is out of its range, or ``fusion`` is none of the three.
    """

    def __init__(
        self,
        *,
        tile_px: int | None = None,
        overlap: float = 0.25,
        scales: Sequence[float] = (0.5, 1.0),
        max_tiles: int | None = 256,
        max_tiles_per_pass: int = 16,
        fusion: str = "mean",
        global_weight: float = 0.25,
        skip_share: float = 0.0,
    ) -> None:
        if fusion not in FUSIONS:
            raise ValueError(f"tiling.fusion={fusion!r}: expected one of {tuple(FUSIONS)}")
        if not 0 <= overlap < 1:
            raise ValueError(
                f"tiling.overlap={overlap}: expected a share of the tile's side, 0 or more and less than 1"
            )
        if tile_px is not None and tile_px < 1:
            raise ValueError(
                f"tiling.tile_px={tile_px}: expected pixels, 1 or more, or null for the side of the whole view"
            )
        if not scales or min(scales) <= 0:
            raise ValueError(
                f"tiling.scales={list(scales)}: expected numbers above 0; 1 is the image's own pixels"
            )
        if not 0 <= global_weight <= 1:
            raise ValueError(f"tiling.global_weight={global_weight}: expected a share, from 0 to 1")
        if not 0 <= skip_share < 1:
            raise ValueError(
                f"tiling.skip_share={skip_share}: expected a share of the tiles, 0 or more and less than 1"
            )
        if max_tiles_per_pass < 1 or (max_tiles is not None and max_tiles < 1):
            counts = f"tiling.max_tiles={max_tiles}, tiling.max_tiles_per_pass={max_tiles_per_pass}"
            raise ValueError(f"{counts}: expected 1 or more of each")
        self.tile_px = tile_px
        self.overlap = float(overlap)
        self.scales = tuple(scales)
        self.max_tiles = max_tiles
        self.max_tiles_per_pass = max_tiles_per_pass
        self.fusion = fusion
        self.global_weight = global_weight
        self.skip_share = skip_share

    def whole_view(
        self, image: Float[Tensor, "b 3 h w"], side: int
    ) -> Float[Tensor, "b 3 side side"]:
        """Resize images to the square that the backbone is used at: bicubic, antialiased, clamped to [0, 1]."""
        return _resize(image, (side, side))

    def maps(
        self,
        image: Float[Tensor, "b 3 h w"],
        whole: Float[Tensor, "l b gh gw"],
        encode: Encode,
        patch_px: int,
    ) -> Float[Tensor, "l b h w"]:
        """Return the probability of *anomalous* at every pixel, one map for each tapped block.

        An image that fits into one tile is answered by the whole view alone, as it would be without tiling.

        Args:
            image: In [0, 1], of the images' own size.
            whole: Anomalous minus normal logit of each patch of the whole view.
            encode: Returns the same of tiles.
            patch_px: Side of a patch.
        """
        size = (image.shape[-2], image.shape[-1])
        plans = self.plans(size, self.tile_px or whole.shape[-1] * patch_px, patch_px)
        if not plans:
            return _upsample(whole.sigmoid(), size)
        grid = plans[-1].grid
        levels = [
            _upsample(self._seen_in_tiles(image, whole, encode, plan), grid) for plan in plans
        ]
        tiles = torch.stack(levels).mean(dim=0)
        fused = FUSIONS[self.fusion](_upsample(whole, grid), tiles, self.global_weight).sigmoid()
        if plans[-1].scale != 1:
            return _upsample(fused, size)
        return _upsample(fused, plans[-1].size)[
            ..., : size[0], : size[1]
        ]  # without the mirrored rim

    def plans(self, size: tuple[int, int], tile_px: int, patch_px: int) -> list[Plan]:
        """Return where the tiles of an image (H, W) lie at each scale, coarse to fine.

        Left out are scales at which one tile shows it all, and those that the budget makes equal to another.
        """
        plans = {
            plan.size: plan
            for plan in (self._plan(size, scale, tile_px, patch_px) for scale in self.scales)
        }
        return sorted(
            (plan for plan in plans.values() if len(plan.boxes) > 1), key=lambda plan: plan.scale
        )

    def _plan(self, size: tuple[int, int], scale: float, tile_px: int, patch_px: int) -> Plan:
        side = max(tile_px // patch_px, 1) * patch_px
        shared = shared_side(side, self.overlap, patch_px)
        exact = Fraction(scale).limit_denominator(1000)
        scaled = _whole_patches(size, exact, patch_px)
        boxes = tile_boxes(scaled, (side, side), self.overlap, patch_px)
        if self.max_tiles is not None and len(boxes) > self.max_tiles:
            grid = best_grid(size, (side, side), self.max_tiles, (shared, shared), exact)
            exact = grid_scale(size, (side, side), grid, (shared, shared))
            scaled = _whole_patches(size, exact, patch_px)
            boxes = tile_boxes(scaled, (side, side), self.overlap, patch_px)
        return Plan(scaled, boxes, float(exact), patch_px)

    def _seen_in_tiles(
        self, image: Tensor, whole: Float[Tensor, "l b gh gw"], encode: Encode, plan: Plan
    ) -> Float[Tensor, "l b ch cw"]:
        """Encode the tiles, some of all images at a time, and join their margins on the patch grid."""
        boxes = plan.patch_boxes
        unseen = _upsample(whole, plan.grid).transpose(0, 1)  # (l, B, ch, cw) -> (B, l, ch, cw)
        tiles = cut(unseen, boxes)  # (n, B, l, h, w)
        looked_at = self.select_tiles(tiles)
        if plan.scale != 1:
            image = _resize(image, plan.size)
        rows, columns = (
            mirrored(a, 0, b, image.device)
            for a, b in zip(image.shape[-2:], plan.size, strict=True)
        )
        margins = []
        for some in looked_at.split(self.max_tiles_per_pass):
            places = [(plan.boxes[n], b) for n, b in some.tolist()]
            pixels = [image[b, :, rows[box.rows, None], columns[box.columns]] for box, b in places]
            margins.append(encode(torch.stack(pixels), some[:, 1]))
        seen = torch.cat(margins, dim=1).transpose(0, 1)  # (l, m, h, w) -> (m, l, h, w)
        tiles = tiles.index_put(tuple(looked_at.T), seen.to(tiles.dtype))
        window = blending_window((boxes[0].height, boxes[0].width))
        return stitch(tiles, boxes, plan.grid, window).transpose(0, 1)

    def select_tiles(self, tiles: Float[Tensor, "n b l h w"]) -> Int[Tensor, "m 2"]:
        """Return (tile, image) of those to encode: the fullest ones of each image, as the whole view sees them."""
        peaks = tiles.detach().amax(dim=(2, 3, 4))  # (n, B)
        fullest = peaks.argsort(dim=0, descending=True, stable=True)[
            : len(tiles) - int(self.skip_share * len(tiles))
        ]
        return torch.zeros_like(peaks).scatter(0, fullest, 1).nonzero()


def _resize(
    image: Float[Tensor, "b 3 h w"], size: tuple[int, int]
) -> Float[Tensor, "b 3 new_h new_w"]:
    if image.shape[-2:] == size:
        return image
    resized = F.interpolate(
        image.float(), size=size, mode="bicubic", antialias=True
    )  # the CPU has no other precision
    return resized.clamp_(0, 1).to(image.dtype)


def _whole_patches(size: tuple[int, int], scale: Fraction, patch_px: int) -> tuple[int, int]:
    """Return the size of an image at a scale, in whole patches: mirrored up to them at its own scale, else resized."""
    height, width = (
        math.ceil(Fraction(side, patch_px))
        if scale == 1
        else max(math.floor(side * scale / patch_px), 1)
        for side in size
    )
    return height * patch_px, width * patch_px


def _upsample(
    maps: Float[Tensor, "l b h w"], size: tuple[int, int]
) -> Float[Tensor, "l b new_h new_w"]:
    return upsample(maps.flatten(0, 1), size).unflatten(0, maps.shape[:2])
