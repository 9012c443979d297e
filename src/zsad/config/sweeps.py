"""Where the runs of a sweep lie: one folder for all of them, and in it one for each, whatever it is that varies."""

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
# What a sweep is called after leaves these out: they do not change what is computed.
_INERT = ("hydra", "sweep", "name", "overwrite", "resume", "logger", "skip_missing")


def add_sweep_folders(arguments: Sequence[str], is_group: IsGroup) -> list[str]:
    """Add to the command line of a sweep where its runs go: ``sweep=NAME``, and the folder of each.

    Without ``sweep=NAME`` the sweep is called by its choices, so that the same command finds its runs again.

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
    given = list(arguments)
    if not _FLAGS & set(given):
        return given
    try:
        overrides = OverridesParser.create().parse_overrides(
            [one for one in given if not one.startswith("-")]
        )
        name = _sweep_name(overrides, is_group)
        swept = ",".join(
            _marked(one) for one in overrides if one.is_sweep_override() and not _is_inert(one)
        )
    except HydraException:
        return given  # Hydra says it better
    keys = {one.key_or_group for one in overrides}
    added = []
    if "sweep" not in keys:
        added.append(f"sweep={name}")
    if "hydra.sweep.subdir" not in keys:
        added.append(
            f"hydra.sweep.subdir='${{name}}{f'${{swept_values:{swept}}}' if swept else ''}'"
        )
    # Beside the others: flags may follow them, and Hydra reads one row of overrides alone.
    place = 1 + max(
        (i for i, one in enumerate(given) if not one.startswith("-")), default=len(given) - 1
    )
    return [*given[:place], *added, *given[place:]]


def swept_values(*keys: str, root: DictConfig, is_group: IsGroup) -> str:
    """Return what the folder of a run of a sweep needs beside its name: the values that vary and are not in it.

    Args:
        keys: What varies; with a ``+`` before it, its value in a name does not tell it from the others.
        root: The configuration of the run.
        is_group: Whether a key chooses a file of the configuration.
    """
    template, name = str(root._get_node("name")._value()), str(root.name)  # type: ignore[union-attr]
    pairs = (str(one).lstrip("+~").partition("=") for one in root.hydra.overrides.task)
    chosen = {key: value for key, _, value in pairs}
    parts = []
    for key in keys:
        plain = key.removeprefix("+")
        value = value_name(plain, chosen[plain])
        is_told = _refers(template, plain) and re.search(rf"(?<!\d){re.escape(value)}(?!\d)", name)
        if key != plain:
            parts.append(slug(chosen[plain]))
        elif not is_told:
            parts.append(label(plain, [chosen[plain]], is_group=is_group(plain)))
    return shorten("".join(f"_{part}" for part in parts))


def require_own_processes(config: DictConfig, *, is_sweep: bool, is_slurm: bool) -> None:
    """Check that a run of several processes is not one of a sweep in this process, whose command they would repeat.

    Raises:
        ValueError: If it is.
    """
    devices = config.trainer.get("devices")
    is_one = len(devices) == 1 if isinstance(devices, ListConfig) else str(devices) == "1"
    if is_sweep and not is_slurm and not is_one:
        raise ValueError(
            f"trainer.devices={config.trainer.devices} in a sweep: runs of several processes need a launcher that "
            "starts each by itself: hydra/launcher=local_pool, or hydra/launcher=slurm"
        )


def _sweep_name(overrides: Iterable[Override], is_group: IsGroup) -> str:
    """Name all choices that make a difference, in the order of the command."""
    told = [(_key(one), _values(one)) for one in overrides if not _is_inert(one)]
    return (
        shorten("_".join(label(key, values, is_group=is_group(key)) for key, values in told))
        or "all"
    )


def _is_inert(override: Override) -> bool:
    is_nothing = override.key_or_group == "test_on" and override.value() is None
    return is_nothing or re.split(r"[/.]", override.key_or_group)[0] in _INERT


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


def _marked(override: Override) -> str:
    """Return the key of what varies, marked if the names of its values are not all different."""
    key, values = _key(override), _values(override)
    return key if len({value_name(key, value) for value in values}) == len(values) else f"+{key}"


def _refers(template: str, key: str) -> bool:
    """Tell whether the template of a name mentions a key: ``${seed}``, ``${hydra:runtime.choices.model}``."""
    return re.search(rf"\$\{{(hydra:runtime\.choices\.)?{re.escape(key)}\}}", template) is not None
