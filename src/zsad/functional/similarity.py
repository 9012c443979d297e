"""Two-class scores from features: the arithmetic that every CLIP method shares.

Legend: E joint width, h × w patches, H × W pixels. Index 0 is normal, 1 is anomalous. Texts are a
pair for all images (2, E), or a pair for each image (B, 2, E) where they name its category.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# A probability of 1 has no finite logit; this is the last one that float32 can tell from 1.
_PROBABILITY_MARGIN = 1e-7

Texts = Float[Tensor, "2 e"] | Float[Tensor, "b 2 e"]


def cosine_logits(
    features: Float[Tensor, "*batch e"], text: Texts, temperature: float
) -> Float[Tensor, "*batch 2"]:
    """Return the cosines with the normal and the anomalous text, divided by the temperature.

    Computed in float32 whatever the tower's precision: at a temperature of 0.07 half precision
    loses ranks.

    Args:
        features: Image or patch features, of any length; the images come first.
        text: The two text features, of any length.
        temperature: 0.07 in the AnomalyCLIP family (CLIP's initial value, not the learned 0.01).
    """
    with torch.autocast(features.device.type, enabled=False):
        features = F.normalize(features.float(), dim=-1)
        text = F.normalize(text.float(), dim=-1)
        if text.ndim == 2:
            return features @ text.T / temperature
        return torch.einsum("b...e,bke->b...k", features, text) / temperature


def margin(logits: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Return the anomalous minus the normal logit.

    Its sigmoid is the two-class softmax, but it never saturates.
    """
    return logits[..., 1] - logits[..., 0]


def patch_margins(
    tokens: Sequence[Float[Tensor, "b one_plus_n e"]],
    text: Texts,
    grid: tuple[int, int],
    temperature: float,
) -> Float[Tensor, "l b h w"]:
    """Return the margin of each patch on the patch grid, one map for each of l blocks.

    Args:
        tokens: For each block the class token first, then the patches row by row.
        text: The two text features.
        grid: Rows and columns of patches.
        temperature: See ``cosine_logits``.

    Source: AnomalyCLIP, section 3: softmax over the two texts (the sigmoid of a margin) first,
    upsampling afterwards.
    """
    logits = torch.stack([cosine_logits(block[:, 1:], text, temperature) for block in tokens])
    return margin(logits).unflatten(2, grid)  # (l, B, N) -> (l, B, h, w)


def block_probabilities(margins: Float[Tensor, "l b h w"]) -> list[Float[Tensor, "b h w"]]:
    """Return the probability of *anomalous* from margins, block by block.

    The last bit of a vectorised sigmoid depends on the length of its input; computed by themselves,
    the blocks do not change each other.
    """
    return [block.sigmoid() for block in margins]


def peak_margin(anomaly_map: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the highest point of a probability map, as a logit margin."""
    highest = anomaly_map.float().amax(dim=(1, 2))
    return highest.logit(eps=_PROBABILITY_MARGIN)


def mean_margin(first: Float[Tensor, " b"], second: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return the logit margin of the mean of two probabilities given as margins."""
    mean = (first.sigmoid() + second.sigmoid()) / 2
    return mean.logit(eps=_PROBABILITY_MARGIN)
