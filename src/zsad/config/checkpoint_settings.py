"""The settings that a checkpoint was learned with, beside those of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from zsad.config.compose import choices, flatten_dict, to_dict
from zsad.config.renamed_keys import IMAGE_SIZE

# What sets a run apart from the published one of its model. How it ran, and on which data, is compared otherwise.
_PUBLISHED_KEYS = (
    "model.",
    "backbone.",
    "image_size",
    "tiling",
    "ensemble",
    "dataset.categories",
    "dataset.fast_jpeg",
)


def changed_settings() -> list[str]:
    """Return what the command line changed of a model as it is configured, such as ``image_size=336``."""
    return [
        one
        for one in HydraConfig.get().overrides.task
        if one.lstrip("+~").startswith(_PUBLISHED_KEYS)
    ]


def settings(config: DictConfig) -> dict[str, Any]:
    """Return the numbers and words of a model's method, flat: ``prompts.deep_blocks`` → 9; and the size of its input.

    Neither the backbone nor what says which classes are built is among them.
    """
    method = {
        key: value for key, value in to_dict(config.model.method).items() if key != "backbone"
    }
    return {**flatten_dict(method), "image_size": config.image_size}


def adopt_settings(config: DictConfig, learned: dict[str, Any]) -> list[str]:
    """Give a model the settings its prompts were learned with, and return those that it could not be given.

    A checkpoint is a stranger's file: it may only replace plain values that the configuration already has. It can
    neither say what is built nor make the configuration look something up.
    """
    own, refused = settings(config), []
    for key, value in learned.get("settings", {}).items():
        if key in own and own[key] == value:
            continue
        # Null: the image's own pixels, which a model with tiles needs and one without cannot use.
        changes_kind = key == "image_size" and (value is None or own[key] is None)
        if not changes_kind and key in own and _is_plain(value) and _are_alike(own[key], value):
            if isinstance(own[key], float) and isinstance(value, int):
                value = float(value)  # as typed: sigma_px=2
            OmegaConf.update(config, key if key == "image_size" else f"model.method.{key}", value)
        else:
            refused.append(key)
    return refused


def require_known_settings(config: DictConfig, learned: dict[str, Any], source: str) -> None:
    """Check that this version knows every setting that a checkpoint was trained with.

    A setting that nothing here is called by would silently mean the default.

    Args:
        config: The configuration of the model.
        learned: What the checkpoint says about itself, under the present names.
        source: The checkpoint, for the message.

    Raises:
        ValueError: If it does not know one.
    """
    method = to_dict(config.model.method)
    unknown = []
    for key, value in learned.get("settings", {}).items():
        if key != IMAGE_SIZE and not _has_place(method, key.split(".")):
            unknown.append(f"{key}={value}")
    if unknown:
        version = learned.get("version", "another version")
        raise ValueError(
            f"{source} was trained with settings that are not known here: {', '.join(unknown)}. "
            f"Use it with the zsad that wrote it ({version}), or train anew with this one"
        )


def _has_place(node: Any, parts: Sequence[str]) -> bool:
    """Tell whether a setting has a place in a model: as an argument, or as an entry of a table.

    A part that is switched off (``tiling: null``) has a place for all its arguments.
    """
    for part in parts:
        if not isinstance(node, dict):
            return True
        if part not in node:
            return "_target_" not in node  # a table of words takes any entry
        node = node[part]
    return True


def known_choices(learned: dict[str, Any], **given: str | None) -> list[str]:
    """Return the overrides that choose what the user gave, or else what the checkpoint was learned with.

    Raises:
        ValueError: If neither says it, or the name is not one of ours.
    """
    overrides = []
    for group, name in given.items():
        name = name or learned.get(group)
        if name not in choices(group):
            said = (
                "does not say its"
                if name is None
                else f"names an unknown {group}, {name!r}, instead of a known"
            )
            raise ValueError(
                f"the checkpoint {said} {group}: pass --{group} with one of {', '.join(choices(group))}"
            )
        overrides.append(f"{group}={name}")
    return overrides


def _are_alike(one: Any, other: Any) -> bool:
    numbers = [
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in (one, other)
    ]
    return all(numbers) or one is None or other is None or type(one) is type(other)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(item) and not isinstance(item, list) for item in value)
    return (
        value is None
        or isinstance(value, (bool, int, float))
        or (isinstance(value, str) and "${" not in value)
    )
