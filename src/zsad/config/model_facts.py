"""Facts of a model or a dataset that its configuration tells before any weights are read."""

from __future__ import annotations

import inspect

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from zsad.config.compose import CONF
from zsad.contract import FewShot


def mask_threshold(dataset: str) -> int | None:
    """Return the mask rule in a dataset's configuration; ``None`` if there is none."""
    file = CONF / "dataset" / f"{dataset}.yaml"
    if not file.is_file():
        return None
    return OmegaConf.select(OmegaConf.load(file), "mask_threshold")


def is_trainable(config: DictConfig) -> bool:
    """Tell whether the chosen model has prompts or other weights to train."""
    from zsad.tasks.prompt_tuning import PromptTuning

    return issubclass(get_class(config.model._target_), PromptTuning)


def has_argument(config: DictConfig, argument: str) -> bool:
    """Tell whether the chosen method has an argument of this name."""
    method = get_class(config.model.method._target_)
    return argument in inspect.signature(method).parameters


def is_few_shot(config: DictConfig) -> bool:
    """Tell whether the chosen method takes reference images."""
    return issubclass(get_class(config.model.method._target_), FewShot)
