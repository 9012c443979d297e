"""Folders of a sweep: one for all of its runs, and in it one for each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig

from zsad.config.run_names import label, shorten, slug, value_name

IsGroup = Callable[[str], bool]  # whether a key chooses a file of the configuration

_FLAGS = {"-m", "--multirun"}
# These do not change the results, so they are no part of a sweep's name.
INERT = ("hydra", "sweep", "name", "overwrite", "resume", "logger", "skip_missing")


def add_sweep_folders(arguments: Sequence[str], is_group: IsGroup) -> list[str]:
    """Add ``sweep=NAME`` and the folder of each run to the command line of a sweep.

    Without ``sweep=NAME`` the sweep is named by its choices, so that the same command finds its
    runs again.

    Args:
        arguments: The command line; returned as it is if it is no sweep.
        is_group: Whether a key chooses a file of the configuration.

    >>> is_group = ["dataset", "model"].__contains__
    >>> add_sweep_folders(["-m", "dataset=visa", "seed=1,2"], is_group)[3:]
    ['sweep=visa_seed1+2', "hydra.sweep.subdir='${name}${swept_values:seed}'"]
    >>> add_sweep_folders(["seed=1,2", "-m"], is_group)
    ['seed=1,2', 'sweep=seed1+2', "hydra.sweep.subdir='${name}${swept_values:seed}'", '-m']
    >>> add_sweep_folders(["dataset=visa", "seed=1"], is_group)
    ['dataset=visa', 'seed=1']
    """
    typed = list(arguments)
    if not _FLAGS & set(typed):
        return typed
    try:
        overrides = OverridesParser.create().parse_overrides(
            [argument for argument in typed if not argument.startswith("-")]
        )
        name = _sweep_name(overrides, is_group)
        swept = _swept_keys(overrides)
    except HydraException:
        return typed  # Hydra's own message is better
    keys = {override.key_or_group for override in overrides}
    added = []
    if "sweep" not in keys:
        added.append(f"sweep={name}")
    if "hydra.sweep.subdir" not in keys:
        suffix = f"${{swept_values:{','.join(swept)}}}" if swept else ""
        added.append(f"hydra.sweep.subdir='${{name}}{suffix}'")
    # Beside the other overrides: flags may follow them, and Hydra reads one row of overrides alone.
    place = _end_of_overrides(typed)
    return [*typed[:place], *added, *typed[place:]]


def swept_values(*keys: str, root: DictConfig, is_group: IsGroup) -> str:
    """Return the swept values that the name of a run does not contain, for the run's folder.

    Args:
        keys: Swept keys, with a ``+`` before those whose values have equal names.
        root: The configuration of the run.
        is_group: Whether a key chooses a file of the configuration.
    """
    template = str(root._get_node("name")._value())  # type: ignore[union-attr]
    name = str(root.name)
    values = _values_by_key(root.hydra.overrides.task)
    suffix = ""
    for marked in keys:
        key = marked.removeprefix("+")
        value = values[key]
        if marked != key:
            suffix += f"_{slug(value)}"
            continue
        is_named = _refers(template, key) and _contains(name, value_name(key, value))
        if not is_named:
            text = label(key, [value], is_group=is_group(key))
            suffix += f"_{text}"
    return shorten(suffix)


def require_own_processes(config: DictConfig, *, is_sweep: bool, is_slurm: bool) -> None:
    """Check that no run of several processes is started by a sweep inside its own process.

    Each further process would repeat the command of the whole sweep.

    Raises:
        ValueError: If it is.
    """
    devices = config.trainer.get("devices")
    is_one = len(devices) == 1 if isinstance(devices, ListConfig) else str(devices) == "1"
    if is_sweep and not is_slurm and not is_one:
        raise ValueError(
            f"trainer.devices={devices} in a sweep: runs of several processes need a launcher "
            "that starts each by itself: hydra/launcher=local_pool, or hydra/launcher=slurm"
        )


def _end_of_overrides(arguments: Sequence[str]) -> int:
    """Return the place after the last argument that is no flag."""
    for place in range(len(arguments), 0, -1):
        if not arguments[place - 1].startswith("-"):
            return place
    return len(arguments)


def _sweep_name(overrides: Iterable[Override], is_group: IsGroup) -> str:
    """Name all choices that make a difference, in the order of the command."""
    labels = []
    for override in overrides:
        if not _is_inert(override):
            key = _key(override)
            labels.append(label(key, _values(override), is_group=is_group(key)))
    return shorten("_".join(labels)) or "all"


def _swept_keys(overrides: Iterable[Override]) -> list[str]:
    """Return the keys with several values, marked if the names of these are not all different."""
    keys = []
    for override in overrides:
        if not override.is_sweep_override() or _is_inert(override):
            continue
        key = _key(override)
        values = _values(override)
        names = {value_name(key, value) for value in values}
        are_different = len(names) == len(values)
        keys.append(key if are_different else f"+{key}")
    return keys


def _is_inert(override: Override) -> bool:
    key = override.key_or_group
    if key == "test_on" and override.value() is None:
        return True
    root = re.split(r"[/.]", key)[0]
    return root in INERT


def _key(override: Override) -> str:
    """Return the key as it is typed, with the place that a file of the configuration is put to."""
    key = override.key_or_group
    return key if override.package is None else f"{key}@{override.package}"


def _values(override: Override) -> list[str]:
    if override.is_delete():
        return ["null"]
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [override.get_value_string()]


def _values_by_key(overrides: Iterable[str]) -> dict[str, str]:
    values = {}
    for override in overrides:
        key, _, value = str(override).lstrip("+~").partition("=")
        values[key] = value
    return values


def _refers(template: str, key: str) -> bool:
    """Tell whether a template has a key: ``${seed}``, ``${hydra:runtime.choices.model}``."""
    reference = rf"\$\{{(hydra:runtime\.choices\.)?{re.escape(key)}\}}"
    return re.search(reference, template) is not None


def _contains(name: str, value: str) -> bool:
    """Tell whether a name contains a value, and not just a part of a longer number."""
    return re.search(rf"(?<!\d){re.escape(value)}(?!\d)", name) is not None
