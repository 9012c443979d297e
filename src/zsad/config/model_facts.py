"""What the configuration says of a model or a dataset, before any weights are read."""

from __future__ import annotations

import inspect

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from zsad.config.compose import CONF
from zsad.contract import FewShot


def mask_threshold(dataset: str) -> int | None:
    """Return the mask rule in a dataset's configuration; ``None`` where there is none."""
    file = CONF / "dataset" / f"{dataset}.yaml"
    return OmegaConf.select(OmegaConf.load(file), "mask_threshold") if file.is_file() else None


def is_trainable(config: DictConfig) -> bool:
    """Tell whether the chosen model learns anything, before any weights are read."""
    from zsad.tasks.prompt_tuning import PromptTuning

    return issubclass(get_class(config.model._target_), PromptTuning)


def has_argument(config: DictConfig, argument: str) -> bool:
    """Tell whether the chosen method has an argument, before any weights are read."""
    return argument in inspect.signature(get_class(config.model.method._target_)).parameters


def is_few_shot(config: DictConfig) -> bool:
    """Tell whether the chosen method takes reference images, before any weights are read."""
    return issubclass(get_class(config.model.method._target_), FewShot)
