"""Checks before a run begins, so that a mistake costs seconds and no earlier result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.utils import get_class

from zsad.config import renamed_keys
from zsad.config.checkpoint_settings import require_known_settings
from zsad.config.compose import choices, choices_of_run
from zsad.config.model_facts import has_argument, is_few_shot, is_trainable
from zsad.contract import Trainable
from zsad.runs.resume import Run
from zsad.runs.run_folder import require_unused_test_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig


def check_training(config: DictConfig) -> None:
    """Check a training before any weights are read.

    Raises:
        ValueError: As the checks below.
    """
    require_trainable(config)
    require_known_tiling(config)


def check_test(config: DictConfig, run: Run) -> None:
    """Check a test before any weights are read.

    Raises:
        ValueError, FileNotFoundError: As the checks below.
    """
    renamed_keys.refuse_old_keys(config)
    require_prompts(config)
    require_references(config)
    require_known_tiling(config)
    require_unused_test_folder(config, run)


def require_trainable(config: DictConfig) -> None:
    """Check that a model can be trained with this configuration.

    Raises:
        ValueError: If it is training-free (the message is the command that tests it), would be
            trained in half precision, has references, or is to be tested on changed images.
    """
    renamed_keys.refuse_old_keys(config)
    if not is_trainable(config):
        model, dataset = choices_of_run()["model"], choices_of_run()["dataset"]
        raise ValueError(
            f"model={model} has nothing to train; run: "
            f"python test.py model={model} dataset={dataset}"
        )
    precision = config.trainer.precision
    if str(precision) in ("bf16-true", "16-true"):
        raise ValueError(
            f"trainer.precision={precision} would keep the learned prompts in half precision, "
            "where steps of 1e-3 are lost; train with trainer=bf16 (bf16-mixed). "
            "Testing takes either"
        )
    if config.k_shot:
        raise ValueError(
            f"k_shot={config.k_shot}: references are for few-shot tests (test.py), "
            "leave k_shot out in training"
        )
    if config.robustness:
        raise ValueError("robustness is for tests (test.py): leave it out in training")


def works_untrained(config: DictConfig) -> bool:
    """Tell whether the chosen model may be used without a checkpoint."""
    if not is_trainable(config):
        return True
    method = get_class(config.model.method._target_)
    return issubclass(method, Trainable) and method.works_untrained()


def require_prompts(config: DictConfig) -> None:
    """Check that a trainable model has a fitting checkpoint, and a training-free one has none.

    Raises:
        ValueError: If not; the message is the command that is needed.
        FileNotFoundError: If the given checkpoint does not exist.
    """
    model, backbone = choices_of_run()["model"], choices_of_run()["backbone"]
    if config.ckpt_path is None:
        if not works_untrained(config):
            raise ValueError(
                f"model={model} needs learned prompts: pass ckpt_path=runs/train/NAME, or first "
                f"run: python train.py model={model} backbone={backbone} dataset=visa"
            )
        return
    if not is_trainable(config):
        raise ValueError(
            f"model={model} is training-free, it takes no checkpoint: leave ckpt_path out"
        )
    provenance = _read_provenance(config.ckpt_path)
    require_known_settings(config, provenance, config.ckpt_path)
    learned_with = provenance.get("backbone", backbone)
    if learned_with != backbone and learned_with in choices("backbone"):
        raise ValueError(
            f"{config.ckpt_path} was learned with backbone={learned_with}, this run has "
            f"backbone={backbone}: add backbone={learned_with}"
        )


def require_references(config: DictConfig) -> None:
    """Check that a method with ``k_shot`` can take reference images.

    Raises:
        ValueError: If it cannot.
    """
    if not config.k_shot:
        return
    if not is_few_shot(config):
        raise ValueError(
            f"model={choices_of_run()['model']} takes no reference images: leave "
            f"k_shot={config.k_shot} out, or choose a few-shot method: model=winclip"
        )
    if config.model.method.get("tiling"):
        raise ValueError(
            "references of whole images do not fit tiles, which show things larger: "
            f"k_shot={config.k_shot} needs tiling=none"
        )


def require_known_tiling(config: DictConfig) -> None:
    """Check that a method with ``tiling`` can take it.

    Raises:
        ValueError: If it cannot.
    """
    has_tiling = "tiling" in set(config.model.method)  # tiling=none sets the key, too
    if has_tiling and not has_argument(config, "tiling"):
        raise ValueError(
            f"model={choices_of_run()['model']} does not take tiling (DHR-CLIP has tiles of its "
            "own): leave it out, or choose model=dhrclip_plus, anomalyclip, winclip or clip"
        )


def _read_provenance(checkpoint: str) -> dict[str, Any]:
    from zsad.model_files.learned import read_learned_state
    from zsad.model_files.run_checkpoints import find_checkpoint

    learned = read_learned_state(find_checkpoint(checkpoint))
    return renamed_keys.rename_learned(learned).provenance
