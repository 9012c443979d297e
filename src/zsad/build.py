"""From a configuration to the objects of a run. The only room, beside the command line, that knows Hydra."""

from __future__ import annotations

import difflib
import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from zsad import errors, names, slurm, sweeps

if TYPE_CHECKING:  # torch takes seconds to import; `--help` and a misspelt name answer without it
    from lightning import Trainer


PACKAGE = Path(__file__).parent
# Inside an installed package, or beside src/ in a clone.
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parents[1] / "conf") if folder.is_dir())

# What Lightning warns of and is meant to be so here.
_EXPECTED_WARNINGS = (
    r".*module\(s\) in eval mode at the start of training",  # the frozen backbone
    r".*smaller than the logging interval",
    r".*does not have many workers",
    r".*isinstance\(treespec, LeafSpec\).* is deprecated",
    r".*`srun` command is available",  # on the login node of a cluster
    r".*your dataloader is not resumable",  # its sampler is: zsad.data.module
    r".*Checkpoint directory .* exists and is not empty",  # resume_path has checked it
)


def is_group(key: str) -> bool:
    """Tell whether a key chooses a file of the configuration, as ``model`` and ``ensemble@model.method.prompts`` do."""
    return (CONF / key.partition("@")[0]).is_dir()


for _resolver in (names.run_name, names.tested_on, names.shots_name, slurm.tasks_per_node, slurm.gpus_per_node):
    OmegaConf.register_new_resolver(_resolver.__name__, _resolver, replace=True)
OmegaConf.register_new_resolver(
    "varied", lambda *keys, _root_: sweeps.varied(*keys, root=_root_, is_group=is_group), replace=True
)


def choices(group: str) -> list[str]:
    """Return the names that a configuration group offers, such as the known models."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml") if not file.stem.startswith("_"))


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
        if not value or not (CONF / group).is_dir() or group.startswith("hydra/"):  # Hydra has choices of its own
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
    return sweeps.gathered(spelled, is_group)


def _check_names(group: str, names: Sequence[str]) -> None:
    known = choices(group)
    for name in names:
        if name not in ("null", *known) and not (CONF / group / f"{name}.yaml").is_file():
            raise SystemExit(_unknown_choice(group, name, known))


def compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration outside of ``train.py`` and ``test.py``, as they would.

    ``paths.output_dir`` has to be among the overrides: only a Hydra job has a folder of its own.
    """
    config = _composed(config_name, overrides, with_hydra=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]  # as in a Hydra job, where it is not part of the configuration either
    return config


def for_each_dataset(config: DictConfig) -> dict[str, DictConfig]:
    """Return the configuration of a test for each dataset of ``test_on``, which writes into a folder of its own.

    Without ``test_on`` the one dataset is tested with the configuration as it is.

    Raises:
        SystemExit: If ``test_on`` names an unknown dataset.
    """
    if not config.test_on:
        return {chosen()["dataset"]: config}
    _check_names("dataset", config.test_on)
    job = HydraConfig.get()
    given = [one for one in job.overrides.task if one.partition("=")[0] not in ("dataset", "test_on")]
    configs = {name: _composed(str(job.job.config_name), [*given, f"dataset={name}"]) for name in config.test_on}
    for name, one in configs.items():
        # Set, not composed: Hydra would parse the blanks and commas of a path.
        one.paths.output_dir, one.name, one.test_on = f"{config.paths.output_dir}/{name}", config.name, None
    return configs


def _composed(config_name: str, overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """Compose, and leave the Hydra of a running job as it was."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose(config_name, list(overrides), return_hydra_config=with_hydra)
    finally:
        GlobalHydra.instance().hydra = running


def build(node: Any, **arguments: Any) -> Any:
    """Build what a part of the configuration describes; lists arrive as lists, mappings as dictionaries."""
    return instantiate(node, _convert_="object", **arguments)


def build_trainer(config: DictConfig) -> Trainer:
    """Build the trainer with its callbacks and its logger."""
    import lightning

    # Its news (which accelerators there are not, products to try) would bury ours.
    logging.getLogger(lightning.__name__).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    from zsad.reports.tracking import end_earlier
    from zsad.tasks.whole_checkpoints import WholeCheckpoints

    sweeps.require_own_processes(config, is_sweep=is_sweep(), is_slurm="SLURM_NTASKS" in os.environ)
    end_earlier()
    logger = build(config.logger) if config.logger else False
    trainer = build(config.trainer, callbacks=list(build(config.callbacks).values()), logger=logger)
    trainer.strategy.checkpoint_io = WholeCheckpoints()
    return trainer


def quiet_trainer(config: DictConfig) -> Trainer:
    """Build the trainer alone: it writes nothing and shows nothing."""
    return build(config.trainer, callbacks=[], logger=False, enable_progress_bar=False, enable_checkpointing=False)


def seed_everything(config: DictConfig) -> None:
    """Seed Python, NumPy and PyTorch, in loader processes too."""
    from lightning import seed_everything as seed

    seed(config.seed, workers=True, verbose=False)


# What sets a run apart from the published one of its model. How it ran, and on which data, is compared otherwise.
_PUBLISHED_KEYS = ("model.", "backbone.", "image_size", "tiling", "ensemble", "dataset.categories", "dataset.fast_jpeg")


def departures() -> list[str]:
    """Return what the command line changed of a model as it is configured, such as ``image_size=336``."""
    return [one for one in HydraConfig.get().overrides.task if one.lstrip("+~").startswith(_PUBLISHED_KEYS)]


def chosen() -> dict[str, str]:
    """Return what this run chose of each group: ``{"model": "anomalyclip", "backbone": "pocket", …}``."""
    return {group: str(name) for group, name in HydraConfig.get().runtime.choices.items() if "/" not in group}


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain values, everything resolved."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def settings(config: DictConfig) -> dict[str, Any]:
    """Return the numbers and words of a model's method, flat: ``prompts.deep_blocks`` → 9; and the size of its input.

    Neither the backbone nor what says which classes are built is among them.
    """
    method = {key: value for key, value in plain(config.model.method).items() if key != "backbone"}
    return {**_flat(method), "image_size": config.image_size}


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
            OmegaConf.update(config, key if key == "image_size" else f"model.method.{key}", value)
        else:
            refused.append(key)
    return refused


def known_choices(learned: dict[str, Any], **given: str | None) -> list[str]:
    """Return the overrides that choose what the user gave, or else what the checkpoint was learned with.

    Raises:
        ValueError: If neither says it, or the name is not one of ours.
    """
    overrides = []
    for group, name in given.items():
        name = name or learned.get(group)
        if name not in choices(group):
            said = "does not say its" if name is None else f"names an unknown {group}, {name!r}, instead of a known"
            raise ValueError(f"the checkpoint {said} {group}: pass --{group} with one of {', '.join(choices(group))}")
        overrides.append(f"{group}={name}")
    return overrides


def mask_threshold(dataset: str) -> int | None:
    """Return the mask rule in a dataset's configuration; ``None`` where there is none."""
    file = CONF / "dataset" / f"{dataset}.yaml"
    return OmegaConf.select(OmegaConf.load(file), "mask_threshold") if file.is_file() else None


class RunFailedError(CompactHydraException):
    """A run of a sweep failed; the others go on, and at the end Hydra shows the message alone."""


@contextmanager
def clear_errors() -> Iterator[None]:
    """Show a mistake of the user as one message instead of a traceback; ``HYDRA_FULL_ERROR=1`` brings it back."""
    try:
        yield
    except Exception as error:
        is_expected = isinstance(error, (ValueError, OSError, HydraException, OmegaConfBaseException))
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not (is_expected or errors.is_circumstance(error)):
            raise
        text = f"\nerror: {errors.message(error)}\n(HYDRA_FULL_ERROR=1 shows where it came from)"
        if is_sweep():
            raise RunFailedError(f"{text}\nAll runs: zsad collect {HydraConfig.get().sweep.dir}") from error
        raise SystemExit(text) from error


def is_sweep() -> bool:
    """Tell whether this is a run of a sweep: one of several, which must not end them all."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def given() -> tuple[list[str], list[str]]:
    """Return what the command line asked for: of this run, and of Hydra."""
    overrides = HydraConfig.get().overrides
    return [str(one) for one in overrides.task], [str(one) for one in overrides.hydra]


def flat(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain values under their whole keys: ``dataset.name`` → visa."""
    return _flat(plain(config))


def _unknown_choice(group: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {group}={near[0]}?" if near else ""
    add = f" To add a dataset: zsad prepare {name} ROOT" if group == "dataset" else ""
    return f"error: no {group}={name}. Known: {', '.join(known)}.{hint}{add}"


def _are_alike(one: Any, other: Any) -> bool:
    numbers = [isinstance(value, (int, float)) and not isinstance(value, bool) for value in (one, other)]
    return all(numbers) or one is None or other is None or type(one) is type(other)


def learns(config: DictConfig) -> bool:
    """Tell whether the chosen model learns anything, before any weights are read."""
    from zsad.tasks.prompt_tuning import PromptTuning

    return issubclass(get_class(config.model._target_), PromptTuning)


def takes(config: DictConfig, argument: str) -> bool:
    """Tell whether the chosen method has an argument, before any weights are read."""
    return argument in inspect.signature(get_class(config.model.method._target_)).parameters


def remembers(config: DictConfig) -> bool:
    """Tell whether the chosen method takes reference images, before any weights are read."""
    return hasattr(get_class(config.model.method._target_), "remember")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(item) and not isinstance(item, list) for item in value)
    return value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and "${" not in value)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if key.startswith("_"):
            continue
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
