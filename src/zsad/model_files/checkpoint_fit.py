"""Check that learned tensors fit a method, and loading them into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from zsad.model_files.learned import LearnedState, Tensors, learned_tensors
from zsad.model_files.published_weights import check_published_backbone

_MOST_PROBLEMS = 12


def load_learned_state(method: nn.Module, learned: LearnedState, source: str) -> None:
    """Load learned tensors into a method, all of them or none.

    Raises:
        ValueError: As ``check_fit``.
    """
    check_fit(method, learned, source)
    with torch.no_grad():
        for name, tensor in learned_tensors(method).items():
            tensor.copy_(learned.tensors[name])


def check_fit(method: Any, learned: LearnedState, source: str) -> None:
    """Check that learned tensors are exactly those that a method learns.

    Raises:
        ValueError: If a tensor is missing, unknown or of another shape, or a published file was
            learned with another text tower; the message names the setting to change.
    """
    own = learned_tensors(method)
    problems = _shorten(_misfits(own, learned.tensors))
    maker = learned.provenance.get("method")
    user = type(method).__name__
    if maker not in (None, user):
        problems.insert(0, f"it was learned by {maker}, this run uses {user}")
    if problems:
        listed = "; ".join(problems)
        made_with = _describe(learned.provenance)
        raise ValueError(
            f"checkpoint {source} does not fit this run: {listed}. It was made with {made_with}. "
            "Choose the same model=, backbone= and model.method.prompts.* settings"
        )
    if learned.published is not None:
        embedded = method.prompts.embed(method.backbone).detach()
        check_published_backbone(learned.published, embedded)


def _misfits(own: Tensors, theirs: Tensors) -> list[str]:
    missing = sorted(own.keys() - theirs.keys())
    unknown = sorted(theirs.keys() - own.keys())
    problems = [f"missing {name}" for name in missing]
    problems += [f"unknown {name}" for name in unknown]
    for name, tensor in own.items():
        if name in missing:
            continue
        got = tuple(theirs[name].shape)
        expected = tuple(tensor.shape)
        if got != expected:
            problems.append(f"{name} is {got} there and {expected} here")
    return problems


def _shorten(problems: list[str]) -> list[str]:
    more = len(problems) - _MOST_PROBLEMS
    if more <= 0:
        return problems
    return [*problems[:_MOST_PROBLEMS], f"and {more} more"]


def _describe(provenance: Mapping[str, Any]) -> str:
    known = {}
    for key in ("model", "backbone", "settings"):
        if key in provenance:
            known[key] = provenance[key]
    return json.dumps(known) if known else "unknown settings"
