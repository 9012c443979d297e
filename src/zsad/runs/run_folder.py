"""Protection of a run folder: the checkpoint to resume from, and files of an earlier run."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from zsad.distributed import is_first_process
from zsad.reports.run_status import FILE as STATUS
from zsad.runs.resume import Run

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("zsad")

# Files of a run that would be lost, or would outlive a run that is started anew.
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


def resume_path(config: DictConfig, run: Run) -> str | None:
    """Return the checkpoint to resume from, if any, and protect an earlier training.

    A run that resumes by itself (``resume=auto``, or a requeued job of SLURM) takes its own newest
    checkpoint, whatever checkpoint it began from.

    Raises:
        FileNotFoundError: If the given checkpoint does not exist.
        ValueError: If it cannot be resumed from, or the run folder holds another training and
            ``overwrite=true`` is not given.
    """
    own = _own_checkpoint(run) if run.is_resuming else None
    if own is not None:
        return str(own)
    given = None if config.ckpt_path is None else _given_checkpoint(config.ckpt_path)
    if given is None or given.resolve().parent != (run.folder / "checkpoints").resolve():
        _refuse_used_folder(config, run)
    return None if given is None else str(given)


def require_unused_test_folder(config: DictConfig, run: Run) -> None:
    """Protect the results of an earlier test.

    A test that resumes by itself is not refused, nor is a test whose earlier start did not finish.

    Raises:
        ValueError: If the run folder holds results and ``overwrite=true`` is not given.
    """
    if not (run.was_stopped or (run.is_resuming and run.is_finished)):
        _refuse_used_folder(config, run)


def clear_run_folder(config: DictConfig, run: Run, resume_from: str | None = None) -> None:
    """Remove files of an earlier run of this name, after ``overwrite=true`` or a start that failed.

    To be called after all other checks: a run that fails over a misspelt path must not cost the
    earlier one. The folder of ``resume_from`` stays as it is, and so do the finished datasets of a
    stopped test.
    """
    if not (config.overwrite or run.was_stopped) or not is_first_process():
        return
    leftovers = _leftovers(run)
    resolved = [file.resolve() for file in leftovers]
    if resume_from is not None and Path(resume_from).resolve() in resolved:
        return
    if config.overwrite:
        leftovers += run.folder.glob("*/results.json")
    # The status goes first: whoever is killed meanwhile has not finished the run.
    for leftover in (run.folder / STATUS, *leftovers):
        leftover.unlink(missing_ok=True)


def _given_checkpoint(path: str) -> Path:
    from zsad.model_files.learned import read_learned_state
    from zsad.model_files.run_checkpoints import find_checkpoint

    checkpoint = find_checkpoint(path)
    if checkpoint.suffix != ".ckpt":
        raise ValueError(
            f"{os.path.relpath(checkpoint)} holds prompts alone, without the optimizer's state: "
            "resume from a .ckpt"
        )
    # Refuses a file that is damaged, or could run code, before a trainer touches it.
    read_learned_state(checkpoint)
    return checkpoint


def _own_checkpoint(run: Run) -> Path | None:
    """Return the newest readable checkpoint of this very run, as its ``last.ckpt``.

    A run that is killed between the checkpoint of an epoch and the last one leaves an outdated
    ``last.ckpt``.
    """
    from zsad.atomic_write import write_whole
    from zsad.model_files.run_checkpoints import LAST, is_whole, newest_first

    files = newest_first(run.folder)
    newest = next(filter(is_whole, files), None)
    damaged = files if newest is None else files[: files.index(newest)]
    if damaged:
        names = ", ".join(os.path.relpath(file) for file in damaged)
        start = "starting anew" if newest is None else f"resuming from {os.path.relpath(newest)}"
        log.warning("note: %s, damaged: %s", start, names)
    if newest is None:
        return None
    run.require_same()
    last = run.folder / "checkpoints" / LAST
    if newest != last and is_first_process():
        newest = write_whole(last, newest.read_bytes(), durable=True)
    return newest


def _leftovers(run: Run) -> list[Path]:
    return sorted(file for pattern in _LEFTOVERS[run.kind] for file in run.folder.glob(pattern))


def _refuse_used_folder(config: DictConfig, run: Run) -> None:
    if not _leftovers(run) or not is_first_process():
        return
    # A stopped run that resumes gets here only without a readable checkpoint: it starts anew.
    if config.overwrite or (run.is_resuming and run.was_stopped):
        return
    hint = ""
    if run.kind == "training" and run.was_stopped:
        hint = " To resume it: resume=auto."
    elif run.kind == "training" and not run.is_finished:
        hint = f" To resume it: ckpt_path={os.path.relpath(run.folder)}."
    raise ValueError(
        f"{run.describe()}{hint} To keep both: name=another_name. To start anew: overwrite=true"
    )
