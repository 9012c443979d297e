"""Settings that a checkpoint was trained with, beside those of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zsad.config.compose import choices, flatten_dict, to_dict
from zsad.config.renamed_keys import IMAGE_SIZE


def settings(config: DictConfig) -> dict[str, Any]:
    """Return the settings of a method, flat (``prompts.deep_blocks`` → 9), and its input size.

    Neither the backbone nor the classes that are built are among them.
    """
    method = to_dict(config.model.method)
    method.pop("backbone", None)
    return {**flatten_dict(method), IMAGE_SIZE: config.image_size}


def adopt_settings(config: DictConfig, learned: Mapping[str, Any]) -> list[str]:
    """Give a model the settings its prompts were trained with; return those it cannot be given.

    A checkpoint is a stranger's file: it may only replace plain values that the configuration
    already has. It can neither say what is built nor make the configuration look something up.
    """
    own = settings(config)
    refused = []
    for key, value in learned.get("settings", {}).items():
        if key in own and own[key] == value:
            continue
        if key not in own or not _may_replace(key, own[key], value):
            refused.append(key)
            continue
        if isinstance(own[key], float) and isinstance(value, int):
            value = float(value)  # typed as sigma_px=2
        place = key if key == IMAGE_SIZE else f"model.method.{key}"
        OmegaConf.update(config, place, value)
    return refused


def _may_replace(key: str, own: Any, stored: Any) -> bool:
    # Null stands for the image's own pixels, which a model with tiles needs and others cannot use.
    changes_kind = key == IMAGE_SIZE and None in (own, stored)
    return not changes_kind and _is_plain(stored) and _are_alike(own, stored)


def require_known_settings(config: DictConfig, learned: Mapping[str, Any], source: str) -> None:
    """Check that this version knows every setting that a checkpoint was trained with.

    An unknown setting would silently mean the default.

    Args:
        config: The configuration of the model.
        learned: The provenance of the checkpoint, under the present names.
        source: The checkpoint, for the message.

    Raises:
        ValueError: If a setting is unknown; the message names it.
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


def known_choices(learned: Mapping[str, Any], **given: str | None) -> list[str]:
    """Return overrides for the choices of the user, or else for those of the training.

    Raises:
        ValueError: If neither names a choice, or there is none of that name.
    """
    overrides = []
    for group, typed in given.items():
        name = typed or learned.get(group)
        known = choices(group)
        if name not in known:
            way = f"pass --{group} with one of {', '.join(known)}"
            if name is None:
                raise ValueError(f"the checkpoint does not say its {group}: {way}")
            raise ValueError(f"the checkpoint names an unknown {group}, {name!r}: {way}")
        overrides.append(f"{group}={name}")
    return overrides


def _are_alike(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return True
    if _is_number(one) and _is_number(other):
        return True
    return type(one) is type(other)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(item) and not isinstance(item, list) for item in value)
    if isinstance(value, str):
        return "${" not in value
    return value is None or isinstance(value, (bool, int, float))
