"""Compositions in which every choice of every group occurs, in as few of them as that takes.

Choices of different groups do not depend on each other: one composition tries a choice of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from zsad.config import compose

OUTPUT = "paths.output_dir=/nowhere"
# Groups whose choices are tried side by side. The files of `dataset` hold two numbers each, and
# those of `experiment` choose from the other groups: both are tried apart.
SIDE_BY_SIDE = (
    "augmentation",
    "backbone",
    "callbacks",
    "feature_cache",
    "logger",
    "metrics",
    "model",
    "protocol",
    "robustness",
    "trainer",
)
# Groups that are put into a model or a callback, for each model that has their places.
PLACED = {
    "winclip": ("prompts/ensemble@model.method.prompts", "tiling"),
    "saa_plus": ("prompts/saa@model.method.prompts",),
    "sam3": ("prompts/sam3@model.method.prompts",),
    "dot": (
        "prompts/dot@model.method.language",
        "tagger@model.method.tagger",
        "inpainter@callbacks.restoration.inpainter",
    ),
}


def covering_choices() -> list[tuple[str, ...]]:
    """Return overrides for each composition; together they try every choice of every group."""
    rows = list(_side_by_side(SIDE_BY_SIDE))
    for model, groups in PLACED.items():
        rows += [(f"model={model}", *row) for row in _side_by_side(groups)]
    rows += [(f"experiment={name}",) for name in compose.choices("experiment")]
    return rows


def _side_by_side(groups: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield a choice of each group, until the largest is tried; smaller groups start again."""
    choices = {group: compose.choices(group.partition("@")[0]) for group in groups}
    for number in range(max(map(len, choices.values()))):
        yield tuple(f"{group}={names[number % len(names)]}" for group, names in choices.items())


@cache
def composed(script: str, *overrides: str) -> dict[str, Any]:
    """Return a configuration as plain values, composed once for all tests."""
    return compose.to_dict(compose.compose_config(script, [*overrides, OUTPUT]))


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration under their whole keys; lists are values."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if str(key).startswith("_"):
            continue
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def other_value(value: Any) -> Any:
    """Return a value that differs from another of its type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, list):
        return [*value, "another"]
    return "another"
