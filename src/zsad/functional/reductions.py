"""Reductions of the answers to several prompts to one, and logits of small probabilities.

Legend: p prompts; any further axes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def highest(values: Float[Tensor, "p ..."]) -> Float[Tensor, "..."]:
    """Return the largest of p values."""
    return values.amax(dim=0)


def mean(values: Float[Tensor, "p ..."]) -> Float[Tensor, "..."]:
    """Return the mean of p values."""
    return values.mean(dim=0)


def noisy_or(probability: Float[Tensor, "p ..."]) -> Float[Tensor, "..."]:
    """Return the probability that at least one of p independent events occurs.

    Small ones keep their digits.
    """
    log_of_none = torch.log1p(-probability.clamp(max=1 - 1e-6)).sum(dim=0)
    return -torch.expm1(log_of_none)


def top3(values: Float[Tensor, "p ..."]) -> Float[Tensor, "..."]:
    """Return the mean of the three largest of p values, or of all where there are fewer."""
    count = min(3, len(values))
    return values.topk(count, dim=0).values.mean(dim=0)


REDUCE: dict[str, Callable[[Tensor], Tensor]] = {
    "max": highest,
    "mean": mean,
    "noisy_or": noisy_or,
    "top3": top3,
}


def probability_margin(probability: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return a probability as a logit; small ones stay apart, down to 1e-30."""
    log_of_not = torch.log1p(-probability.clamp(max=1 - 1e-7))
    return probability.clamp(min=1e-30).log() - log_of_not
