"""DHR-CLIP: dynamic high-resolution, object-agnostic prompts for zero-shot anomaly segmentation.

J. Ham, J.-G. Baek. ICAIIC 2025. It is AnomalyCLIP on five views of an image: the whole of it
shrunk, and its four quadrants. Where the paper and its published code differ, this follows the
code, but for two mistakes that its authors' equal-size settings never meet: a position table that
is overwritten whenever the size of the views changes, and tiles that are cut elsewhere than their
maps are put where the canvas is smaller than two of them.

Legend: B images, L tapped blocks, 4 tiles, T canvas side, G side of the whole view, P side of a
tile, E joint width.
"""

# ruff: noqa: ARG002 (the signature of forward is that of the contract)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zsad.backbones.clip.model import CLIP, ImageFeatures
from zsad.functional import similarity
from zsad.functional.losses import map_losses
from zsad.functional.resample import gaussian_smooth, resize_levels, upsample_blocks
from zsad.functional.tiles import cut, quadrants, stitch
from zsad.methods.prompted_clip import PromptedCLIP
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.types import Batch, Prediction

TILES = 4


class DHRCLIP(PromptedCLIP):
    """Look at the whole image and, twice as closely, at its quadrants; learn on the mixed maps.

    The image handed over is the canvas: square, of 8-bit levels, its side T. Prompts, towers and
    the losses of a map are AnomalyCLIP's; there is no image loss, so that the image score is a
    by-product here.

    Args:
        backbone: The frozen CLIP.
        prompts: Makes the learnable prompts for a text width.
        feature_blocks: Tapped blocks, counted from 1 in a tower of ``tower_depth`` blocks. The
            published 6, 12, 18, 24 were, by an aliasing mistake, four times block 24: the same map,
            and four times the loss, to which Adam is blind.
        value_attention_from: First block with the value–value path, counted likewise; ``None`` for
            none.
        tower_depth: Depth for which the two were written; other towers use the blocks at the same
            relative depth.
        temperature: Divides every cosine.
        sigma_px: Gaussian smoothing of the anomaly map, in pixels of the canvas.
        global_weight: Share of the whole view in maps and image score; the tiles have the rest.
        global_px: Side G that the canvas is shrunk to for the whole view; ``None`` for half the
            canvas.
        tile_px: Side P of a tile, from half to all of the canvas; ``None`` for half the canvas.
        norm_image: Whether the global features pass CLIP's final layer norm. The published code
            leaves it out.
        raw_tile_tokens: Compare the tiles' class tokens with the text at their full length, as the
            published code does by mistake. They are many times longer than the unit vectors they
            are added to, and the score saturates.
        per_image_minmax: Stretch every anomaly map to 0…1 by itself, as the published code does.
            Every normal image then has a pixel as anomalous as the worst defect, and maps of two
            images cannot be compared.
        dice_by_row: In a batch of one image take the dice losses of every row of pixels by itself,
            as the published code does by mistake.
    """

    def __init__(
        self,
        backbone: CLIP,
        *,
        prompts: Callable[[int], ObjectAgnosticPrompts] = ObjectAgnosticPrompts,
        feature_blocks: Sequence[int] = (24,),
        value_attention_from: int | None = 6,
        tower_depth: int = 24,
        temperature: float = 0.07,
        sigma_px: float = 8.0,
        global_weight: float = 0.75,
        global_px: int | None = None,
        tile_px: int | None = None,
        norm_image: bool = False,
        raw_tile_tokens: bool = False,
        per_image_minmax: bool = False,
        dice_by_row: bool = False,
    ) -> None:
        super().__init__(
            backbone,
            prompts,
            feature_blocks=feature_blocks,
            value_attention_from=value_attention_from,
            tower_depth=tower_depth,
            temperature=temperature,
            norm_image=norm_image,
        )
        self.sigma_px = sigma_px
        self.global_weight = global_weight
        self.global_px = global_px
        self.tile_px = tile_px
        self.raw_tile_tokens = raw_tile_tokens
        self.per_image_minmax = per_image_minmax
        self.dice_by_row = dice_by_row

    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score canvases in [0, 1]. The prompts are object-agnostic: the category is not used.

        Raises:
            ValueError: If the canvas is not square, or its views do not divide into patches.
        """
        text = self.text_features()
        whole, tiles = self.encode_views(image)
        maps = self.fused_maps(whole, tiles, text, image.shape[-1])
        anomaly_map = gaussian_smooth(maps.mean(dim=0), self.sigma_px)
        if self.per_image_minmax:
            anomaly_map = _stretch(anomaly_map)
        score = similarity.margin(self.view_logits(whole, tiles, text))
        return Prediction(anomaly_map, score)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the fused map; training minimises their sum.

        Images whose mask is unknown take no part: a batch of nothing else costs nothing.

        Source: DHR-CLIP's code: focal and dice of every block's fused map, unweighted, and no image
        term.
        """
        return self.loss_from_features(self.extract_features(batch.image), batch)

    def extract_features(self, image: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Return the features of the frozen backbone, a row for each canvas.

        ``whole_image`` (B, E) and ``whole_tokens`` (B, L, 1 + N, E) are of the whole view,
        ``tile_image`` (B, 4, E) and ``tile_tokens`` (B, 4, L, 1 + M, E) of the tiles.
        """
        whole, tiles = self.encode_views(image)
        tile_tokens = torch.stack(tiles.tokens, dim=1)
        return {
            "whole_image": whole.image,
            "whole_tokens": torch.stack(whole.tokens, dim=1),
            "tile_image": _by_image(tiles.image),
            "tile_tokens": _by_image(tile_tokens),
        }

    def feature_key(self) -> dict[str, Any]:
        """Return the settings that ``extract_features`` depends on, beside canvas and weights."""
        return super().feature_key() | {"global_px": self.global_px, "tile_px": self.tile_px}

    def loss_from_features(self, features: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the terms of ``loss`` from extracted features."""
        text = self.prompts(self.backbone)
        known = batch.has_mask
        if not known.any():
            return {"focal": 0 * text.sum()}
        canvas = batch.mask.shape[-1]
        of_known = {name: rows[known] for name, rows in features.items()}
        whole, tiles = self._restore_views(of_known, canvas)
        maps = self.fused_maps(whole, tiles, text, canvas)
        mask = batch.mask[known]
        if self.dice_by_row and len(mask) == 1:
            # One image of T rows becomes T images of one row.
            maps = maps.transpose(1, 2)
            mask = mask.transpose(0, 1)
        return map_losses(maps, mask)

    def views(
        self, canvas: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 3 g g"], Float[Tensor, "4 b 3 p p"]]:
        """Return the whole view, and the tiles row by row.

        The whole view is shrunk from the canvas, not from the original file: published, like its
        rounding to 8 bits.

        Raises:
            ValueError: If the canvas is not square, or its views do not divide into patches.
        """
        self._check_canvas(canvas)
        side = canvas.shape[-1]
        global_px, tile_px = self._view_sides(side)
        whole = resize_levels(canvas, (global_px, global_px))
        return whole, cut(canvas, quadrants(side, tile_px))

    def encode_views(self, canvas: Float[Tensor, "b 3 h w"]) -> tuple[ImageFeatures, ImageFeatures]:
        """Encode the whole views, and the tiles (4·B, tile by tile).

        In a single pass, if they are of one size.

        Raises:
            ValueError: As ``views``.
        """
        whole, tiles = self.views(canvas)
        if whole.shape != tiles.shape[1:]:
            return self.encode_image(whole), self.encode_image(tiles.flatten(0, 1))
        features = self.encode_image(torch.cat([whole, tiles.flatten(0, 1)]))  # (5B, 3, P, P)
        count = len(whole)
        return _part(features, slice(count)), _part(features, slice(count, None))

    def fused_maps(
        self, whole: ImageFeatures, tiles: ImageFeatures, text: Float[Tensor, "2 e"], canvas: int
    ) -> Float[Tensor, "l b t t"]:
        """Return the probability of *anomalous* at every pixel of the canvas, for each block.

        Source: DHR-CLIP's code mixes probabilities with constant weights; the paper adds them.
        """
        of_whole = self.whole_maps(whole, text, canvas)
        of_tiles = self.tile_maps(tiles, text, canvas)
        return self._mix(of_whole, of_tiles)

    def whole_maps(
        self, whole: ImageFeatures, text: Float[Tensor, "2 e"], canvas: int
    ) -> Float[Tensor, "l b t t"]:
        """Return the maps of the whole view, resized to its own side and then to the canvas.

        Both steps are published.
        """
        side, _ = self._view_sides(canvas)
        maps = self.block_maps(whole, text, (side, side))
        return upsample_blocks(maps, (canvas, canvas))

    def tile_maps(
        self, tiles: ImageFeatures, text: Float[Tensor, "2 e"], canvas: int
    ) -> Float[Tensor, "l b t t"]:
        """Return the maps of the tiles, each where it was cut.

        There are hard seams where they abut, means where they overlap.
        """
        _, side = self._view_sides(canvas)
        maps = self.block_maps(tiles, text, (side, side))
        by_tile = maps.unflatten(1, (TILES, -1))  # (L, 4B, P, P) -> (L, 4, B, P, P)
        stitched = stitch(by_tile.movedim(0, 2), quadrants(canvas, side), (canvas, canvas))
        return stitched.movedim(1, 0)  # (B, L, T, T) -> (L, B, T, T)

    def view_logits(
        self, whole: ImageFeatures, tiles: ImageFeatures, text: Float[Tensor, "2 e"]
    ) -> Float[Tensor, "b 2"]:
        """Return the logits of the class tokens, whole view and mean of the tiles mixed."""
        of_tiles = self.image_logits(tiles, text)
        if self.raw_tile_tokens:
            of_tiles = of_tiles * tiles.image.float().norm(dim=-1, keepdim=True)
        mean = of_tiles.unflatten(0, (TILES, -1)).mean(dim=0)  # (4B, 2) -> (B, 2)
        return self._mix(self.image_logits(whole, text), mean)

    def _mix(self, of_whole: Tensor, of_tiles: Tensor) -> Tensor:
        return self.global_weight * of_whole + (1 - self.global_weight) * of_tiles

    def _restore_views(
        self, features: Mapping[str, Tensor], canvas: int
    ) -> tuple[ImageFeatures, ImageFeatures]:
        """Return the output of the image tower for whole views and tiles (4·B, tile by tile)."""
        global_px, tile_px = self._view_sides(canvas)
        tile_image = features["tile_image"].transpose(0, 1).flatten(0, 1)
        tile_tokens = features["tile_tokens"].transpose(0, 1).flatten(0, 1)
        whole = self.restore_features(
            features["whole_image"], features["whole_tokens"], (global_px, global_px)
        )
        tiles = self.restore_features(tile_image, tile_tokens, (tile_px, tile_px))
        return whole, tiles

    def _view_sides(self, canvas: int) -> tuple[int, int]:
        """Return the sides of the whole view and of a tile."""
        half = (canvas + 1) // 2
        return self.global_px or half, self.tile_px or half

    def _check_canvas(self, canvas: Tensor) -> None:
        height, width = canvas.shape[-2:]
        if height != width:
            raise ValueError(
                f"DHR-CLIP cuts a square, got an image of {height} × {width} px: set image_size=672"
            )
        patch = self.backbone.patch_size
        global_px, tile_px = self._view_sides(width)
        if global_px % patch or tile_px % patch:
            fitting = 2 * patch * max(round(width / (2 * patch)), 1)
            raise ValueError(
                f"a canvas of {width} px has views of {global_px} and {tile_px} px, which do not "
                f"divide into patches of {patch} px: set image_size={fitting} (without global_px "
                "and tile_px)"
            )


def _by_image(rows: Tensor) -> Tensor:
    return rows.unflatten(0, (TILES, -1)).transpose(0, 1)  # (4B, …) -> (B, 4, …)


def _part(features: ImageFeatures, rows: slice) -> ImageFeatures:
    tokens = tuple(block[rows] for block in features.tokens)
    return ImageFeatures(features.image[rows], tokens, features.grid)


def _stretch(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Bring the lowest point of every map to 0 and its highest to 1; a constant map becomes 0."""
    lowest = maps.amin(dim=(1, 2), keepdim=True)
    highest = maps.amax(dim=(1, 2), keepdim=True)
    tiny = torch.finfo(maps.dtype).tiny
    return (maps - lowest) / (highest - lowest).clamp(min=tiny)
