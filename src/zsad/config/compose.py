"""From a configuration to the objects of a run. The only room, beside the command line, that knows Hydra."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from zsad.config import run_names, slurm, sweeps

PACKAGE = Path(__file__).parents[1]
# Inside an installed package, or beside src/ in a clone.
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parents[1] / "conf") if folder.is_dir())


def is_group(key: str) -> bool:
    """Tell whether a key chooses a file of the configuration, as ``model`` and ``ensemble@model.method.prompts`` do."""
    return (CONF / key.partition("@")[0]).is_dir()


for _resolver in (
    run_names.run_name,
    run_names.tested_on,
    run_names.shots_name,
    slurm.tasks_per_node,
    slurm.gpus_per_node,
):
    OmegaConf.register_new_resolver(_resolver.__name__, _resolver, replace=True)
OmegaConf.register_new_resolver(
    "swept_values",
    lambda *keys, _root_: sweeps.swept_values(*keys, root=_root_, is_group=is_group),
    replace=True,
)


def choices(group: str) -> list[str]:
    """Return the names that a configuration group offers, such as the known models."""
    return sorted(
        file.stem for file in (CONF / group).glob("*.yaml") if not file.stem.startswith("_")
    )


def read_arguments(arguments: Sequence[str]) -> list[str]:
    """Check the choices of a command line before anything slow is imported, and spell out ``dataset=[mvtec,btad]``.

    Hydra would merge a list of datasets into one. Here it means: test on each of them (``test_on``), whatever an
    experiment says; and one dataset means that one. A sweep is told where its runs go.

    Raises:
        SystemExit: At a misspelt choice, with the known names, the nearest one, and for a dataset the command that
            adds it.
    """
    spelled = []
    for argument in arguments:
        group, _, value = argument.lstrip("+~").partition("=")
        if (
            not value or not (CONF / group).is_dir() or group.startswith("hydra/")
        ):  # Hydra has choices of its own
            spelled.append(argument)
            continue
        several = value.startswith("[")
        names = [name.strip() for name in value.strip("[]").split(",") if name.strip()]
        _check_names(group, names)
        if group == "dataset" and several:
            spelled += [f"dataset={names[0]}", f"test_on=[{','.join(names)}]"]
        elif group == "dataset":
            spelled += [argument, "test_on=null"]
        else:
            spelled.append(argument)
    return sweeps.add_sweep_folders(spelled, is_group)


def _check_names(group: str, names: Sequence[str]) -> None:
    known = choices(group)
    for name in names:
        if name not in ("null", *known) and not (CONF / group / f"{name}.yaml").is_file():
            raise SystemExit(_unknown_choice(group, name, known))


def compose_config(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration outside of ``train.py`` and ``test.py``, as they would.

    ``paths.output_dir`` has to be among the overrides: only a Hydra job has a folder of its own.
    """
    config = _compose_apart(config_name, overrides, with_hydra=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]  # as in a Hydra job, where it is not part of the configuration either
    return config


def configs_by_dataset(config: DictConfig) -> dict[str, DictConfig]:
    """Return the configuration of a test for each dataset of ``test_on``, which writes into a folder of its own.

    Without ``test_on`` the one dataset is tested with the configuration as it is.

    Raises:
        SystemExit: If ``test_on`` names an unknown dataset.
    """
    if not config.test_on:
        return {choices_of_run()["dataset"]: config}
    _check_names("dataset", config.test_on)
    job = HydraConfig.get()
    given = [
        one for one in job.overrides.task if one.partition("=")[0] not in ("dataset", "test_on")
    ]
    configs = {
        name: _compose_apart(str(job.job.config_name), [*given, f"dataset={name}"])
        for name in config.test_on
    }
    for name, one in configs.items():
        # Set, not composed: Hydra would parse the blanks and commas of a path.
        one.paths.output_dir, one.name, one.test_on = (
            f"{config.paths.output_dir}/{name}",
            config.name,
            None,
        )
    return configs


def _compose_apart(
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
    """Return what this run chose of each group: ``{"model": "anomalyclip", "backbone": "pocket", …}``."""
    return {
        group: str(name)
        for group, name in HydraConfig.get().runtime.choices.items()
        if "/" not in group
    }


def to_dict(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain values, everything resolved."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def is_sweep() -> bool:
    """Tell whether this is a run of a sweep: one of several, which must not end them all."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def command_line_overrides() -> tuple[list[str], list[str]]:
    """Return what the command line asked for: of this run, and of Hydra."""
    overrides = HydraConfig.get().overrides
    return [str(one) for one in overrides.task], [str(one) for one in overrides.hydra]


def flatten(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain values under their whole keys: ``dataset.name`` → visa."""
    return flatten_dict(to_dict(config))


def _unknown_choice(group: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {group}={near[0]}?" if near else ""
    add = f" To add a dataset: zsad prepare {name} ROOT" if group == "dataset" else ""
    return f"error: no {group}={name}. Known: {', '.join(known)}.{hint}{add}"


def flatten_dict(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under their whole keys; keys with a leading underscore are left out."""
    flattened: dict[str, Any] = {}
    for key, value in tree.items():
        if key.startswith("_"):
            continue
        flattened |= (
            flatten_dict(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {prefix + key: value}
        )
    return flattened
