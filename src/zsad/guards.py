"""What is checked before a run begins, so that a mistake costs seconds and no earlier result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zsad.build import choices, chosen, learns, remembers, takes

if TYPE_CHECKING:
    from omegaconf import DictConfig

# What the folder of a run holds once there is something to lose in it, and what would outlive a run begun anew.
_LEFTOVERS = {
    "training": ("checkpoints/*.ckpt",),
    "test": ("results.*", "intervals.csv", "robustness.*", "published.*", "thresholds.json", "report.html"),
}


def check_test(config: DictConfig) -> None:
    """Check all that can be checked of a test before any weights are read.

    Raises:
        ValueError, FileNotFoundError: As the checks below.
    """
    require_prompts(config)
    require_references(config)
    require_known_tiling(config)
    require_unused_test_folder(config)


def require_trainable(config: DictConfig) -> None:
    """Check that a model learns at all, before any weights are read.

    Raises:
        ValueError: If it is training-free (the message is the command that tests it), would learn in half precision,
            is to be shown references, or is to be tried on changed images.
    """
    if not learns(config):
        model, dataset = chosen()["model"], chosen()["dataset"]
        raise ValueError(f"model={model} has nothing to train; run: python test.py model={model} dataset={dataset}")
    if str(config.trainer.precision) in ("bf16-true", "16-true"):
        raise ValueError(
            f"trainer.precision={config.trainer.precision} would keep the learned prompts in half precision, "
            "where steps of 1e-3 are lost; train with trainer=bf16 (bf16-mixed). Testing takes either"
        )
    if config.k_shot:
        raise ValueError(
            f"k_shot={config.k_shot} shows references to a method that is tested: leave it out in training"
        )
    if config.robustness:
        raise ValueError("robustness changes what is tested: leave it out in training")


def require_prompts(config: DictConfig) -> None:
    """Check that a model that learns is given what was learned, and one that does not is not.

    Raises:
        ValueError: If not; the message is the command that is needed.
        FileNotFoundError: If the given checkpoint does not exist.
    """
    from zsad.tasks.checkpoint import find_checkpoint, read_learned

    model, backbone = chosen()["model"], chosen()["backbone"]
    if learns(config) and config.ckpt_path is None:
        raise ValueError(
            f"model={model} needs learned prompts: pass ckpt_path=runs/train/NAME, or first run: "
            f"python train.py model={model} backbone={backbone} dataset=visa"
        )
    if config.ckpt_path is not None and not learns(config):
        raise ValueError(f"model={model} learns nothing, so there is nothing to load: leave ckpt_path out")
    if config.ckpt_path is not None:
        learned = read_learned(find_checkpoint(config.ckpt_path)).provenance
        if learned.get("backbone", backbone) != backbone and learned["backbone"] in choices("backbone"):
            raise ValueError(
                f"{config.ckpt_path} was learned with backbone={learned['backbone']}, this run has "
                f"backbone={backbone}: add backbone={learned['backbone']}"
            )


def require_references(config: DictConfig) -> None:
    """Check that a method which is to be shown reference images can take them, before any weights are read.

    Raises:
        ValueError: If it cannot.
    """
    if config.k_shot and not remembers(config):
        raise ValueError(
            f"model={chosen()['model']} takes no reference images: leave k_shot={config.k_shot} out, or choose a "
            "few-shot method: model=winclip"
        )
    if config.k_shot and config.model.method.get("tiling"):
        raise ValueError(
            f"references of whole images do not serve tiles, which show things larger: k_shot={config.k_shot} needs "
            "tiling=none"
        )


def require_known_tiling(config: DictConfig) -> None:
    """Check that a method which is to look at tiles can, before any weights are read.

    Raises:
        ValueError: If it cannot.
    """
    if config.model.method.get("tiling") and not takes(config, "tiling"):
        raise ValueError(
            f"model={chosen()['model']} does not take tiling (DHR-CLIP has tiles of its own): leave it out, or choose "
            "model=dhrclip_plus, anomalyclip, winclip or clip"
        )


def resume_path(config: DictConfig) -> str | None:
    """Return the checkpoint to go on from, if one was given, and keep an earlier training from being overwritten.

    Raises:
        FileNotFoundError: If the given checkpoint does not exist.
        ValueError: If it cannot be resumed from, or the run folder holds another training and overwriting was not asked
            for.
    """
    from zsad.tasks.checkpoint import find_checkpoint, read_learned

    folder = Path(config.paths.output_dir) / "checkpoints"
    resumed = None if config.ckpt_path is None else find_checkpoint(config.ckpt_path)
    if resumed is not None:
        if resumed.suffix != ".ckpt":
            raise ValueError(
                f"{_shown(resumed)} holds prompts alone, without the optimizer's state: resume from a .ckpt"
            )
        read_learned(resumed)  # refuses what is damaged or could run code before a trainer touches it
    if resumed is None or resumed.resolve().parent != folder.resolve():
        _refuse_used_folder(config, "training", f" To go on with it: ckpt_path={_shown(folder.parent)}.")
    return None if resumed is None else str(resumed)


def require_unused_test_folder(config: DictConfig) -> None:
    """Keep the results of an earlier test from being overwritten.

    Raises:
        ValueError: If the run folder holds some and overwriting was not asked for.
    """
    _refuse_used_folder(config, "test")


def clear_run_folder(config: DictConfig, kind: str, resume_from: str | None = None) -> None:
    """Remove what an earlier ``training`` or ``test`` of this name left, where ``overwrite=true`` asked for it.

    To be called when everything else is known to be in order: a run that fails over a misspelt path must not cost the
    one before it. The folder of ``resume_from`` stays as it is.
    """
    goes_on_here = resume_from is not None and Path(resume_from).resolve() in map(
        Path.resolve, _leftovers(config, kind)
    )
    if config.overwrite and not goes_on_here and is_first_process():
        for leftover in _leftovers(config, kind):
            leftover.unlink()


def _leftovers(config: DictConfig, kind: str) -> list[Path]:
    folder = Path(config.paths.output_dir)
    return sorted(file for pattern in _LEFTOVERS[kind] for file in folder.glob(pattern))


def _refuse_used_folder(config: DictConfig, kind: str, way_on: str = "") -> None:
    if _leftovers(config, kind) and not config.overwrite and is_first_process():
        raise ValueError(
            f"{_shown(config.paths.output_dir)} already holds a {kind}.{way_on} To keep both: name=another_name. "
            "To begin anew: overwrite=true"
        )


def is_first_process() -> bool:
    """Tell whether this process decides for its run; the others start while the first one already writes."""
    return all(os.environ.get(rank, "0") == "0" for rank in ("LOCAL_RANK", "SLURM_PROCID", "RANK"))


def _shown(path: str | Path) -> str:
    return os.path.relpath(path)
