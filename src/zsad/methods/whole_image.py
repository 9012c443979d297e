"""The view of a method without tiling: the image alone, at the size it comes in."""

# ruff: noqa: ARG002 (the signatures are those of Tiling)

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from zsad.functional import similarity
from zsad.functional.resample import upsample

# Tiles (n, 3, t, t) in [0, 1], and the number in the batch of each one's image (n,) -> margins of
# their patches (l, n, t / p, t / p): anomalous minus normal logit.
Encode = Callable[[Tensor, Tensor], Tensor]


class WholeImage:
    """Shows a method the image alone. ``Tiling`` has the same verbs and shows tiles beside it.

    Legend: B images of H × W pixels, l tapped blocks, gh × gw patches of the whole view.
    """

    def whole_view(self, image: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 h w"]:
        """Return the images as they are."""
        return image

    def whole_size(self, size: tuple[int, int], side: int) -> tuple[int, int]:
        """Return height and width of the whole view of an image of a size."""
        return size

    def require_whole_images(self, reason: str) -> None:
        """Accept methods that need whole images; ``Tiling`` raises a ValueError instead."""

    def maps(
        self,
        image: Float[Tensor, "_ 3 h w"],
        whole: Float[Tensor, "l b gh gw"],
        encode: Encode,
        patch_px: int,
    ) -> Float[Tensor, "l b h w"]:
        """Return the probability of *anomalous* at every pixel, one map for each tapped block.

        Args:
            image: In [0, 1]; its size alone counts, and it may have no rows.
            whole: Anomalous minus normal logit of each patch of the whole view.
            encode: Returns the same of tiles.
            patch_px: Side of a patch.
        """
        size = (image.shape[-2], image.shape[-1])
        maps = [upsample(block, size) for block in similarity.block_probabilities(whole)]
        return torch.stack(maps)

    def mean_map(
        self,
        image: Float[Tensor, "_ 3 h w"],
        whole: Float[Tensor, "l b gh gw"],
        encode: Encode,
        patch_px: int,
    ) -> Float[Tensor, "b h w"]:
        """Return the mean of ``maps`` over the blocks."""
        mean = torch.stack(similarity.block_probabilities(whole)).mean(dim=0)
        return self.probability_map(image, mean, encode, patch_px)

    def probability_map(
        self,
        image: Float[Tensor, "_ 3 h w"],
        whole: Float[Tensor, "b gh gw"],
        encode: Encode,
        patch_px: int,
    ) -> Float[Tensor, "b h w"]:
        """Return one map from the probability of *anomalous* of each patch of the whole view."""
        return upsample(whole, (image.shape[-2], image.shape[-1]))
