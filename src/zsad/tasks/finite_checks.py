"""Checks that weights, losses and predictions are finite: NaN would pass for a good image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from zsad.model_files.learned import learned_tensors
from zsad.types import Batch, Prediction

DIVERGED = (
    "Their training diverged: take an earlier checkpoint, or train anew with a smaller "
    "model.optimizer.lr"
)
_LARGEST_PLAUSIBLE = 1e3  # of learned vectors, which begin in the range of word embeddings
_PATHS_SHOWN = 4


class DivergedError(ValueError, ArithmeticError):
    """A training whose loss or prompts are not finite: resuming it would end in the same place."""


def require_finite_weights(method: nn.Module) -> None:
    """Check that all weights are finite, before anything is predicted.

    A detector with NaN weights finds nothing, and its map of zeros says that all is good.

    Raises:
        ValueError: If any weight is NaN or infinite.
    """
    weights = dict(method.named_parameters())
    not_finite = _not_finite(weights)
    if not not_finite:
        return
    if not_finite[0] in learned_tensors(method):
        raise ValueError(
            f"the learned prompts hold NaN or infinite values ({not_finite[0]}). {DIVERGED}"
        )
    raise ValueError(
        f"{len(not_finite)} of {len(weights)} weight tensors hold NaN or infinite values "
        f"({not_finite[0]}): the file of the weights is damaged, get it from its source again"
    )


def require_finite_prediction(
    prediction: Prediction, batch: Batch, method: nn.Module, precision: str
) -> None:
    """Check that maps and scores are finite.

    Raises:
        ValueError: If not, naming the first image, with the advice for its likely cause.
    """
    finite_maps = prediction.map.flatten(1).isfinite().all(dim=1)
    finite = prediction.score.isfinite() & finite_maps
    if finite.all():
        return
    first = int((~finite).nonzero()[0])
    raise ValueError(
        f"the prediction for {batch.path[first]} contains NaN or infinite values"
        f"{_likely_cause(method, precision)}"
    )


def require_finite_loss(is_finite: bool, place: str, batch: Batch, advice: str) -> None:
    """Check the loss of a step.

    Args:
        is_finite: Whether the losses of all processes are finite.
        place: The epoch and step.
        batch: Images of the step.
        advice: As from ``divergence_advice``.

    Raises:
        DivergedError: If not.
    """
    if is_finite:
        return
    paths = ", ".join(batch.path[:_PATHS_SHOWN])
    more = len(batch.path) - _PATHS_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    raise DivergedError(f"the loss is not finite in {place}, images {paths}{rest}. {advice}")


def require_finite_prompts(learned: Mapping[str, Tensor], place: str, advice: str) -> None:
    """Check learned tensors, before they are saved or after they were read.

    Raises:
        DivergedError: If any is not finite.
    """
    not_finite = _not_finite(learned)
    if not_finite:
        names = ", ".join(not_finite)
        raise DivergedError(f"{place}: {names} hold NaN or infinite values. {advice}")


def divergence_advice(precision: str, optimizers: Iterable[torch.optim.Optimizer]) -> str:
    """Return what to change after a training diverged, by its precision and learning rate."""
    rate = ""
    for optimizer in optimizers:
        rate = f" (now {optimizer.param_groups[0]['lr']:g})"
    advice = f"Train anew with a smaller model.optimizer.lr{rate}"
    wider = _wider_precision(precision)
    return f"{advice}, or with {wider}" if wider else advice


def _likely_cause(method: nn.Module, precision: str) -> str:
    largest = 0.0
    for tensor in learned_tensors(method).values():
        largest = max(largest, float(tensor.abs().max()))
    if largest > _LARGEST_PLAUSIBLE:
        return f". The learned prompts reach {largest:.1g}. {DIVERGED}"
    wider = _wider_precision(precision)
    return f"; try {wider}" if wider else ", though the weights are finite"


def _wider_precision(precision: str) -> str:
    """Return the settings with more range or digits than a precision; empty for 32 and 64 bits."""
    if precision.startswith("16"):
        return "trainer.precision=bf16-mixed or 32-true"
    if precision.startswith("bf16"):
        return "trainer.precision=32-true"
    return ""


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of tensors with NaN or infinite values."""
    names = []
    extremes = []
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            # One pass, without a copy of the weights; NaN is the extreme of what it is in.
            lowest, highest = tensor.detach().aminmax()
            names.append(name)
            extremes.append(torch.stack([lowest, highest]).float())
    if not extremes:
        return []
    finite = torch.stack([pair.cpu() for pair in extremes]).isfinite().all(dim=1)
    return [name for name, is_finite in zip(names, finite.tolist(), strict=True) if not is_finite]
