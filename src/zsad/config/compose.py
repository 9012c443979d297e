"""Configurations: choices of groups, checked command lines, composition, plain values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from zsad.config import help_page, renamed_keys, run_names, slurm, sweeps

PACKAGE = Path(__file__).parents[1]
# Inside an installed package, or beside src/ in a clone.
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parents[1] / "conf") if folder.is_dir())


def is_group(key: str) -> bool:
    """Tell whether a key chooses a file: ``model``, ``prompts/ensemble@model.method.prompts``."""
    return (CONF / key.partition("@")[0]).is_dir()


def _swept_values(*keys: str, _root_: DictConfig) -> str:
    return sweeps.swept_values(*keys, root=_root_, is_group=is_group)


def _group_help(group: str, description: str) -> str:
    return help_page.group_help(group, description, choices(group.partition("@")[0]))


def by_value(value: Any, results: Mapping[Any, Any], default: Any) -> Any:
    """Return the result for a value, for numbers that depend on another choice.

    >>> by_value(192, {192: 384, 240: 480}, 672), by_value(518, {192: 384, 240: 480}, 672)
    (384, 672)
    """
    return results.get(value, default)


def all_but(excluded: str | None, *lists: Sequence[str]) -> list[str]:
    """Return the names of several lists, without an excluded name.

    >>> all_but("visa", ["mvtec", "visa"], ["headct"]), all_but(None, ["visa"])
    (['mvtec', 'headct'], ['visa'])
    """
    names: list[str] = []
    for listed in lists:
        names += [name for name in listed if name != excluded]
    return names


_RESOLVERS = {
    "all_but": all_but,
    "by_value": by_value,
    "group_help": _group_help,
    "run_name": run_names.run_name,
    "tested_on": run_names.tested_on,
    "shots_name": run_names.shots_name,
    "tasks_per_node": slurm.tasks_per_node,
    "gpus_per_node": slurm.gpus_per_node,
    "swept_values": _swept_values,
}
for _name, _resolver in _RESOLVERS.items():
    OmegaConf.register_new_resolver(_name, _resolver, replace=True)


def choices(group: str) -> list[str]:
    """Return the names that a configuration group offers, such as the known models."""
    names = [file.stem for file in (CONF / group).glob("*.yaml")]
    return sorted(name for name in names if not name.startswith("_"))


def read_arguments(arguments: Sequence[str]) -> list[str]:
    """Check the choices of a command line, and spell out ``dataset=[mvtec,btad]``.

    Hydra would merge a list of datasets into one. Here it means: test on each of them
    (``test_on``), whatever an experiment says; and one dataset means that one. A sweep gets the
    folders of its runs. Nothing slow is imported before.

    Raises:
        SystemExit: At a misspelt choice, with the known names, the nearest of them, and for a
            dataset the command that adds it; and at a name of version 0.1.
    """
    renamed_keys.refuse_old_arguments(arguments)
    overrides: list[str] = []
    for argument in arguments:
        overrides += _spell_out(argument)
    return sweeps.add_sweep_folders(overrides, is_group)


def _spell_out(argument: str) -> list[str]:
    """Return the overrides that an argument stands for, after a check of its choice."""
    typed = argument.lstrip("+~")
    group, _, value = typed.partition("=")
    if not value or group.startswith("hydra/"):  # Hydra has choices of its own
        return [argument]
    if not (CONF / group).is_dir():
        return [argument]
    names = _listed_names(value)
    _check_names(group, names)
    if group != "dataset":
        return [argument]
    if not value.startswith("["):
        return [argument, "test_on=null"]
    if not names:
        raise SystemExit(
            f"error: {argument} names no dataset: expected some, such as dataset=[mvtec,btad]"
        )
    listed = ",".join(names)
    return [f"dataset={names[0]}", f"test_on=[{listed}]"]


def _listed_names(value: str) -> list[str]:
    """Return the names of a value: ``visa``, ``visa,mvtec`` of a sweep, ``[visa, mvtec]``."""
    names = []
    for part in value.strip("[]").split(","):
        name = part.strip()
        if name:
            names.append(name)
    return names


def _check_names(group: str, names: Sequence[str]) -> None:
    known = choices(group)
    for name in names:
        if name == "null" or name in known:
            continue
        file = CONF / group / f"{name}.yaml"
        if not file.is_file():
            raise SystemExit(_unknown_choice(group, name, known))


def _unknown_choice(group: str, name: str, known: list[str]) -> str:
    message = f"error: no {group}={name}. Known: {', '.join(known)}."
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        message += f" Did you mean {group}={near[0]}?"
    if group == "dataset":
        message += f" To add a dataset: zsad prepare {name} ROOT"
    return message


def compose_config(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration outside of ``train.py`` and ``test.py``, as they would.

    ``paths.output_dir`` has to be among the overrides: only a Hydra job has a folder of its own.
    """
    renamed_keys.refuse_old_arguments(overrides)
    config = compose_apart(config_name, overrides, with_hydra=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]  # as in a Hydra job, where it is not part of the configuration either
    renamed_keys.refuse_old_keys(config)
    return config


def configs_by_dataset(config: DictConfig) -> dict[str, DictConfig]:
    """Return the configuration of a test for each dataset of ``test_on``, by its name.

    Each writes into a folder of its own. Without ``test_on`` the one dataset is tested with the
    configuration as it is.

    Raises:
        SystemExit: If ``test_on`` names an unknown dataset.
    """
    if not config.test_on:
        return {choices_of_run()["dataset"]: config}
    _check_names("dataset", config.test_on)
    job = HydraConfig.get()
    config_name = str(job.job.config_name)
    own_keys = ("dataset", "test_on")
    shared = [typed for typed in job.overrides.task if typed.partition("=")[0] not in own_keys]
    configs = {}
    for name in config.test_on:
        own = compose_apart(config_name, [*shared, f"dataset={name}"])
        # Set, not composed: Hydra would parse the blanks and commas of a path.
        own.paths.output_dir = f"{config.paths.output_dir}/{name}"
        own.name = config.name
        own.test_on = None
        configs[name] = own
    return configs


def compose_apart(
    config_name: str, overrides: Sequence[str], *, with_hydra: bool = False
) -> DictConfig:
    """Compose, and leave the Hydra of a running job as it was."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose(config_name, list(overrides), return_hydra_config=with_hydra)
    finally:
        GlobalHydra.instance().hydra = running


def choices_of_run() -> dict[str, str]:
    """Return the choice of each group: ``{"model": "anomalyclip", "backbone": "pocket", …}``."""
    choices_by_group = HydraConfig.get().runtime.choices
    return {group: str(name) for group, name in choices_by_group.items() if "/" not in group}


def command_line_overrides() -> tuple[list[str], list[str]]:
    """Return the overrides of the command line: those of this run, and those of Hydra."""
    overrides = HydraConfig.get().overrides
    of_run = [str(override) for override in overrides.task]
    of_hydra = [str(override) for override in overrides.hydra]
    return of_run, of_hydra


def is_sweep() -> bool:
    """Tell whether this is a run of a sweep: a failure of one must not end the others."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def to_dict(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain values, everything resolved."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def flatten(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain values under their whole keys: ``dataset.name`` → visa."""
    return flatten_dict(to_dict(config))


def flatten_dict(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under their whole keys; keys with a leading underscore are left out.

    >>> flatten_dict({"prompts": {"_target_": "Prompts", "deep_blocks": 9}, "sigma_px": 4.0})
    {'prompts.deep_blocks': 9, 'sigma_px': 4.0}
    """
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if key.startswith("_"):
            continue
        if isinstance(value, dict):
            values |= flatten_dict(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value
    return values
