"""High resolution for every CLIP method: the image as a whole beside tiles of its own pixels.

The idea is DHR-CLIP's (J. Ham, J.-G. Baek. ICAIIC 2025), which shows four quadrants of a square.
Here the grid follows the shape and the size of the image, tiles overlap and fade into each other,
and their margins are joined on the patch grid, before the one softmax and the one upsampling.

Legend: B images of H × W pixels, l tapped blocks, n tiles of t × t pixels; gh × gw patches of the
whole view, ch × cw patches of the image at the scale of its tiles.
"""

# ruff: noqa: ARG001, ARG002 (fusions have one signature, and so have views)

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from zsad.functional.resample import mirrored, upsample_blocks
from zsad.functional.tile_plan import TilePlan, plan_tiles
from zsad.functional.tiles import blending_window, cut, stitch
from zsad.methods.whole_image import Encode, WholeImage

_LEAST = 1e-7  # a probability of 0 has no finite logit


def _mean(whole: Tensor, tiles: Tensor, global_weight: float) -> Tensor:
    return global_weight * whole + (1 - global_weight) * tiles


def _mean_probability(whole: Tensor, tiles: Tensor, global_weight: float) -> Tensor:
    mean = _mean(whole.sigmoid(), tiles.sigmoid(), global_weight)
    return mean.logit(eps=_LEAST)


def _max(whole: Tensor, tiles: Tensor, global_weight: float) -> Tensor:
    return torch.maximum(whole, tiles)


FUSIONS = {"mean": _mean, "probability": _mean_probability, "max": _max}


class Tiling:
    """Shows a method an image as a whole and in tiles, and joins the margins into one map.

    It has the verbs of ``WholeImage``. Images keep their own pixels up to here
    (``image_size: null``). Tiles are cut as they are needed, so memory holds the image and a few
    maps, however many tiles there are.

    Args:
        tile_px: Side of a tile; ``None`` for the side of the whole view. Rounded down to whole
            patches.
        overlap: Share of a tile's side that neighbours have in common at least.
        scales: Sizes at which tiles are cut, 1 for the image's own pixels. Of several, the margins
            are averaged.
        max_tiles: Budget of each scale. An image that needs more tiles is shown at the largest
            scale that needs no more, on the grid that suits its shape. ``None`` for no limit.
        max_tiles_per_pass: Tiles that the backbone encodes at once; bounds its memory, changes no
            result.
        fusion: Rule by which whole view and tiles meet, patch by patch: ``mean`` of their margins,
            mean ``probability`` (with a weight of 0.75 as DHR-CLIP has it), or ``max`` of the
            margins.
        global_weight: Share of the whole view in the two means.
        skip_share: Share of the tiles, the emptiest in the whole view, that are not encoded; the
            map of the whole view stands there.

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
        self.tile_px = tile_px
        self.overlap = float(overlap)
        self.scales = tuple(scales)
        self.max_tiles = max_tiles
        self.max_tiles_per_pass = max_tiles_per_pass
        self.fusion = fusion
        self.global_weight = global_weight
        self.skip_share = skip_share
        _check("fusion", fusion, f"one of {tuple(FUSIONS)}", fusion in FUSIONS)
        _check(
            "overlap",
            overlap,
            "a share of the tile's side, 0 or more and less than 1",
            0 <= overlap < 1,
        )
        _check(
            "tile_px",
            tile_px,
            "pixels, 1 or more, or null for the side of the whole view",
            tile_px is None or tile_px >= 1,
        )
        _check(
            "scales",
            list(scales),
            "numbers above 0; 1 is the image's own pixels",
            bool(scales) and min(scales) > 0,
        )
        _check("global_weight", global_weight, "a share, from 0 to 1", 0 <= global_weight <= 1)
        _check(
            "skip_share",
            skip_share,
            "a share of the tiles, 0 or more and less than 1",
            0 <= skip_share < 1,
        )
        _check("max_tiles", max_tiles, "1 or more, or null", max_tiles is None or max_tiles >= 1)
        _check("max_tiles_per_pass", max_tiles_per_pass, "1 or more", max_tiles_per_pass >= 1)

    def whole_view(
        self, image: Float[Tensor, "b 3 h w"], side: int
    ) -> Float[Tensor, "b 3 side side"]:
        """Resize images to the backbone's square: bicubic, antialiased, clamped to [0, 1]."""
        return _resize(image, (side, side))

    def whole_size(self, size: tuple[int, int], side: int) -> tuple[int, int]:
        """Return height and width of the whole view of an image of a size."""
        return side, side

    def require_whole_images(self, reason: str) -> None:
        """Refuse tiles.

        Raises:
            ValueError: Always; the reason is its message.
        """
        raise ValueError(reason)

    def maps(
        self,
        image: Float[Tensor, "b 3 h w"],
        whole: Float[Tensor, "l b gh gw"],
        encode: Encode,
        patch_px: int,
    ) -> Float[Tensor, "l b h w"]:
        """Return the probability of *anomalous* at every pixel, one map for each tapped block.

        An image that fits into one tile is answered by the whole view alone, as without tiling.

        Args:
            image: In [0, 1], of the images' own size.
            whole: Anomalous minus normal logit of each patch of the whole view.
            encode: Returns the same of tiles.
            patch_px: Side of a patch.
        """
        height, width = image.shape[-2:]
        whole_px = whole.shape[-1] * patch_px
        plans = self.plans((height, width), self.tile_px or whole_px, patch_px)
        if not plans:
            return upsample_blocks(whole.sigmoid(), (height, width))
        finest = plans[-1]
        levels = []
        for plan in plans:
            margins = self._margins_of_tiles(image, whole, encode, plan)
            levels.append(upsample_blocks(margins, finest.grid))
        tiles = torch.stack(levels).mean(dim=0)
        fuse = FUSIONS[self.fusion]
        of_whole = upsample_blocks(whole, finest.grid)
        fused = fuse(of_whole, tiles, self.global_weight).sigmoid()
        if finest.scale != 1:
            return upsample_blocks(fused, (height, width))
        mirrored_rim = upsample_blocks(fused, finest.size)
        return mirrored_rim[..., :height, :width]

    def mean_map(
        self,
        image: Float[Tensor, "b 3 h w"],
        whole: Float[Tensor, "l b gh gw"],
        encode: Encode,
        patch_px: int,
    ) -> Float[Tensor, "b h w"]:
        """Return the mean of ``maps`` over the blocks."""
        return self.maps(image, whole, encode, patch_px).mean(dim=0)

    def probability_map(
        self,
        image: Float[Tensor, "b 3 h w"],
        whole: Float[Tensor, "b gh gw"],
        encode: Encode,
        patch_px: int,
    ) -> Float[Tensor, "b h w"]:
        """Return one map from the probability of *anomalous* of each patch of the whole view."""
        margins = whole.logit(eps=_LEAST)
        return self.maps(image, margins[None], encode, patch_px)[0]

    def plans(self, size: tuple[int, int], tile_px: int, patch_px: int) -> list[TilePlan]:
        """Return the tiles of an image (H, W) at each scale, coarse to fine.

        Left out are scales at which one tile shows it all, and those that the budget makes equal to
        another.
        """
        plans: dict[tuple[int, int], TilePlan] = {}
        for scale in self.scales:
            plan = plan_tiles(
                size,
                scale,
                tile_px=tile_px,
                patch_px=patch_px,
                overlap=self.overlap,
                max_tiles=self.max_tiles,
            )
            if len(plan.boxes) > 1:
                plans[plan.size] = plan
        return sorted(plans.values(), key=lambda plan: plan.scale)

    def _margins_of_tiles(
        self, image: Tensor, whole: Float[Tensor, "l b gh gw"], encode: Encode, plan: TilePlan
    ) -> Float[Tensor, "l b ch cw"]:
        """Encode the selected tiles and join the margins of all tiles on the patch grid."""
        boxes = plan.patch_boxes
        of_whole = upsample_blocks(whole, plan.grid).transpose(0, 1)  # (B, l, ch, cw)
        tiles = cut(of_whole, boxes)  # (n, B, l, h, w)
        selected = self.select_tiles(tiles)
        encoded = self._encode_tiles(image, encode, plan, selected)
        tiles = tiles.index_put(tuple(selected.T), encoded.to(tiles.dtype))
        window = blending_window((boxes[0].height, boxes[0].width))
        return stitch(tiles, boxes, plan.grid, window).transpose(0, 1)

    def _encode_tiles(
        self, image: Tensor, encode: Encode, plan: TilePlan, selected: Int[Tensor, "m 2"]
    ) -> Float[Tensor, "m l h w"]:
        """Encode tiles of all images, given by (tile, image), a pass at a time."""
        if plan.scale != 1:
            image = _resize(image, plan.size)
        rows = mirrored(image.shape[-2], 0, plan.size[0], image.device)
        columns = mirrored(image.shape[-1], 0, plan.size[1], image.device)
        margins = []
        for some in selected.split(self.max_tiles_per_pass):
            pixels = []
            for tile, number in some.tolist():
                box = plan.boxes[tile]
                tile_rows = rows[box.rows, None]
                tile_columns = columns[box.columns]
                pixels.append(image[number, :, tile_rows, tile_columns])
            margins.append(encode(torch.stack(pixels), some[:, 1]))
        return torch.cat(margins, dim=1).transpose(0, 1)  # (l, m, h, w) -> (m, l, h, w)

    def select_tiles(self, tiles: Float[Tensor, "n b l h w"]) -> Int[Tensor, "m 2"]:
        """Return (tile, image) of those to encode: the fullest of each image in the whole view."""
        count = len(tiles) - int(self.skip_share * len(tiles))
        peaks = tiles.detach().amax(dim=(2, 3, 4))  # (n, B)
        fullest = peaks.argsort(dim=0, descending=True, stable=True)[:count]
        return torch.zeros_like(peaks).scatter(0, fullest, 1).nonzero()


Views = WholeImage | Tiling


def views_of(tiling: Tiling | None) -> Views:
    """Return the views that a method is shown: the tiling, or without it the whole image alone."""
    return WholeImage() if tiling is None else tiling


def _check(name: str, value: object, expected: str, is_right: bool) -> None:
    if not is_right:
        raise ValueError(f"tiling.{name}={value!r}: expected {expected}")


def _resize(
    image: Float[Tensor, "b 3 h w"], size: tuple[int, int]
) -> Float[Tensor, "b 3 new_h new_w"]:
    if image.shape[-2:] == size:
        return image
    # The CPU has no other precision.
    resized = F.interpolate(image.float(), size=size, mode="bicubic", antialias=True)
    return resized.clamp_(0, 1).to(image.dtype)
