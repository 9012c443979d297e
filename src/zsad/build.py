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
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

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
    r".*Checkpoint directory .* exists and is not empty",  # resume_path has checked it
)


def run_name(path: str | None) -> str:
    """Name what a checkpoint came from, for the folder of the run that uses it.

    >>> run_name("runs/train/anomalyclip_visa_seed1/checkpoints/epoch_03.ckpt")
    'anomalyclip_visa_seed1_epoch_03'
    >>> run_name("runs/train/anomalyclip_visa_seed1"), run_name("published/epoch_15.pth"), run_name(None)
    ('anomalyclip_visa_seed1', 'published_epoch_15', 'nothing')
    """
    if path is None:
        return "nothing"
    file = Path(path)
    if not file.suffix:
        return file.name  # a run folder
    if file.parent.name != "checkpoints":
        return "_".join(part for part in (file.parent.name, file.stem) if part)
    run = file.parents[1].name
    return run if file.stem == "last" else f"{run}_{file.stem}"


def shots_name(shots: int, seed: int) -> str:
    """Name the references of a test, for its folder.

    >>> shots_name(0, 111), shots_name(4, 111)
    ('', '_4shot_seed111')
    """
    return f"_{shots}shot_seed{seed}" if shots else ""


def tested_on(several: Sequence[str] | None, one: str) -> str:
    """Name what a run is tested on, for its folder.

    >>> tested_on(None, "visa"), tested_on(["mvtec", "btad"], "visa"), tested_on(["mvtec", "btad", "mpdd"], "visa")
    ('visa', 'mvtec+btad', 'mvtec+2_more')
    """
    names = list(several or [one])
    return "+".join(names if len(names) < 3 else [names[0], f"{len(names) - 1}_more"])


OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("tested_on", tested_on, replace=True)
OmegaConf.register_new_resolver("shots_name", shots_name, replace=True)


def choices(group: str) -> list[str]:
    """Return the names that a configuration group offers, such as the known models."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml") if not file.stem.startswith("_"))


def read_arguments(arguments: Sequence[str]) -> list[str]:
    """Check the choices of a command line before anything slow is imported, and spell out ``dataset=[mvtec,btad]``.

    Hydra would merge a list of datasets into one. Here it means: test on each of them (``test_on``), whatever an
    experiment says; and one dataset means that one.

    Raises:
        SystemExit: At a misspelt choice, with the known names, the nearest one, and for a dataset the command that
            adds it.
    """
    spelled = []
    for argument in arguments:
        group, _, value = argument.lstrip("+~").partition("=")
        if not value or not (CONF / group).is_dir():
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
    return spelled


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
    logger = build(config.logger) if config.logger else False
    return build(config.trainer, callbacks=list(build(config.callbacks).values()), logger=logger)


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


@contextmanager
def clear_errors() -> Iterator[None]:
    """Show a mistake of the user as one message instead of a traceback; ``HYDRA_FULL_ERROR=1`` brings it back."""
    try:
        yield
    except (ValueError, OSError, HydraException, OmegaConfBaseException) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        raise SystemExit(f"\nerror: {_message(error)}\n(HYDRA_FULL_ERROR=1 shows where it came from)") from error


def _unknown_choice(group: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {group}={near[0]}?" if near else ""
    add = f" To add a dataset: zsad prepare {name} ROOT" if group == "dataset" else ""
    return f"error: no {group}={name}. Known: {', '.join(known)}.{hint}{add}"


def _message(error: BaseException) -> str:
    """Return what a user has to know of an error: without the layers that it passed through."""
    text = str(error)
    if isinstance(error, InstantiationException) and error.__cause__:
        place = text.rpartition("full_key: ")[2].strip()
        return f"{error.__cause__} (in {place})" if isinstance(error.__cause__, TypeError) else str(error.__cause__)
    if text.startswith("Caught ") and "in DataLoader worker" in text:
        # "…Original Traceback… zsad.data.images.UnreadableImageError: MESSAGE"
        _, _, raised = text.strip().rpartition(f"{type(error).__name__}: ")
        return raised
    return text


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
