"""What is checked before a run begins, so that a mistake costs seconds and no earlier result."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import get_class

from zsad.config import renamed_keys
from zsad.config.checkpoint_settings import require_known_settings
from zsad.config.compose import choices, choices_of_run
from zsad.config.model_facts import has_argument, is_few_shot, is_trainable
from zsad.contract import Trainable
from zsad.distributed import is_first_process
from zsad.reports.run_status import FILE as STATUS
from zsad.runs.resume import Run

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("zsad")

# What the folder of a run holds once there is something to lose in it, and what would outlive a run begun anew.
_LEFTOVERS = {
    "training": ("checkpoints/*.ckpt", "hpc_ckpt_*.ckpt"),
    "test": (
        "results.*",
        "intervals.csv",
        "robustness.*",
        "published.*",
        "thresholds.json",
        "report.html",
    ),
}


def check_test(config: DictConfig, run: Run) -> None:
    """Check all that can be checked of a test before any weights are read.

    Raises:
        ValueError, FileNotFoundError: As the checks below.
    """
    renamed_keys.refuse_old_keys(config)
    require_prompts(config)
    require_references(config)
    require_known_tiling(config)
    require_unused_test_folder(config, run)


def require_trainable(config: DictConfig) -> None:
    """Check that a model learns at all, before any weights are read.

    Raises:
        ValueError: If it is training-free (the message is the command that tests it), would learn in half precision,
            is to be shown references, or is to be tried on changed images.
    """
    renamed_keys.refuse_old_keys(config)
    if not is_trainable(config):
        model, dataset = choices_of_run()["model"], choices_of_run()["dataset"]
        raise ValueError(
            f"model={model} has nothing to train; run: python test.py model={model} dataset={dataset}"
        )
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


def works_untrained(config: DictConfig) -> bool:
    """Tell whether the chosen model may be used without having learned, before any weights are read."""
    if not is_trainable(config):
        return True
    method = get_class(config.model.method._target_)
    return issubclass(method, Trainable) and method.works_untrained()


def require_prompts(config: DictConfig) -> None:
    """Check that a model that learns is given what was learned, and one that does not is not.

    Raises:
        ValueError: If not; the message is the command that is needed.
        FileNotFoundError: If the given checkpoint does not exist.
    """
    from zsad.model_files.learned import find_checkpoint, read_learned_state

    model, backbone = choices_of_run()["model"], choices_of_run()["backbone"]
    if config.ckpt_path is None and not works_untrained(config):
        raise ValueError(
            f"model={model} needs learned prompts: pass ckpt_path=runs/train/NAME, or first run: "
            f"python train.py model={model} backbone={backbone} dataset=visa"
        )
    if config.ckpt_path is not None and not is_trainable(config):
        raise ValueError(
            f"model={model} learns nothing, so there is nothing to load: leave ckpt_path out"
        )
    if config.ckpt_path is not None:
        stored = read_learned_state(find_checkpoint(config.ckpt_path))
        learned = renamed_keys.rename_learned(stored).provenance
        require_known_settings(config, learned, config.ckpt_path)
        if learned.get("backbone", backbone) != backbone and learned["backbone"] in choices(
            "backbone"
        ):
            raise ValueError(
                f"{config.ckpt_path} was learned with backbone={learned['backbone']}, this run has "
                f"backbone={backbone}: add backbone={learned['backbone']}"
            )


def require_references(config: DictConfig) -> None:
    """Check that a method which is to be shown reference images can take them, before any weights are read.

    Raises:
        ValueError: If it cannot.
    """
    if config.k_shot and not is_few_shot(config):
        raise ValueError(
            f"model={choices_of_run()['model']} takes no reference images: leave "
            f"k_shot={config.k_shot} out, or choose a few-shot method: model=winclip"
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
    if "tiling" in set(config.model.method) and not has_argument(
        config, "tiling"
    ):  # tiling=none says the word, too
        raise ValueError(
            f"model={choices_of_run()['model']} does not take tiling (DHR-CLIP has tiles of its "
            "own): leave it out, or choose model=dhrclip_plus, anomalyclip, winclip or clip"
        )


def resume_path(config: DictConfig, run: Run) -> str | None:
    """Return the checkpoint to go on from, if any, and keep an earlier training from being overwritten.

    A run that goes on by itself (``resume=auto``, or its SLURM job has been started again) takes its own newest
    checkpoint, whatever it began from.

    Raises:
        FileNotFoundError: If the given checkpoint does not exist.
        ValueError: If it cannot be resumed from, or the run folder holds another training and overwriting was not asked
            for.
    """
    from zsad.model_files.learned import find_checkpoint, read_learned_state

    if run.is_resuming and (own := _own_checkpoint(run)):
        return str(own)
    folder = run.folder / "checkpoints"
    resumed = None if config.ckpt_path is None else find_checkpoint(config.ckpt_path)
    if resumed is not None:
        if resumed.suffix != ".ckpt":
            raise ValueError(
                f"{_shown(resumed)} holds prompts alone, without the optimizer's state: resume from a .ckpt"
            )
        read_learned_state(
            resumed
        )  # refuses what is damaged or could run code before a trainer touches it
    if resumed is None or resumed.resolve().parent != folder.resolve():
        _refuse_used_folder(config, run)
    return None if resumed is None else str(resumed)


def _own_checkpoint(run: Run) -> Path | None:
    """Return the newest checkpoint of this very run that can be read; it becomes ``last.ckpt`` if it is not.

    A run that is killed between the checkpoint of an epoch and the last one leaves an outdated last one.
    """
    from zsad.atomic_write import write_whole
    from zsad.model_files.run_checkpoints import LAST, is_whole, newest_first

    files = newest_first(run.folder)
    newest = next(filter(is_whole, files), None)
    damaged = files[: files.index(newest)] if newest else files
    if damaged:
        way = f"going on from {_shown(newest)}" if newest else "beginning anew"
        log.warning("note: %s, damaged: %s", way, ", ".join(map(_shown, damaged)))
    if newest is None:
        return None
    run.require_same()
    last = run.folder / "checkpoints" / LAST
    if newest != last and is_first_process():
        newest = write_whole(last, newest.read_bytes(), durable=True)
    return newest


def require_unused_test_folder(config: DictConfig, run: Run) -> None:
    """Keep the results of an earlier test from being overwritten.

    A test that goes on by itself is not refused, nor is one whose earlier start came to no end.

    Raises:
        ValueError: If the run folder holds some and overwriting was not asked for.
    """
    if not (run.was_stopped or (run.is_resuming and run.is_finished)):
        _refuse_used_folder(config, run)


def clear_run_folder(config: DictConfig, run: Run, resume_from: str | None = None) -> None:
    """Remove what an earlier run of this name left, where ``overwrite=true`` asked for it or it came to no end.

    To be called when everything else is known to be in order: a run that fails over a misspelt path must not cost the
    one before it. The folder of ``resume_from`` stays as it is, and so does what a stopped test has finished.
    """
    leftovers = _leftovers(run)
    goes_on_here = resume_from is not None and Path(resume_from).resolve() in map(
        Path.resolve, leftovers
    )
    if goes_on_here or not (config.overwrite or run.was_stopped) or not is_first_process():
        return
    if config.overwrite:
        leftovers += run.folder.glob("*/results.json")
    # What says that the run was finished goes first: whoever is killed meanwhile has not finished it.
    for leftover in (run.folder / STATUS, *leftovers):
        leftover.unlink(missing_ok=True)


def _leftovers(run: Run) -> list[Path]:
    return sorted(file for pattern in _LEFTOVERS[run.kind] for file in run.folder.glob(pattern))


def _refuse_used_folder(config: DictConfig, run: Run) -> None:
    begins_anew = config.overwrite or (
        run.is_resuming and run.was_stopped
    )  # then nothing that can be read is there
    if not _leftovers(run) or begins_anew or not is_first_process():
        return
    resume_hint = ""
    if run.kind == "training" and not run.is_finished:
        resume_hint = (
            " To go on with it: resume=auto."
            if run.was_stopped
            else f" To go on: ckpt_path={_shown(run.folder)}."
        )
    raise ValueError(
        f"{run.describe()}{resume_hint} To keep both: name=another_name. To begin anew: overwrite=true"
    )


def _shown(path: str | Path) -> str:
    return os.path.relpath(path)
