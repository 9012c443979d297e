"""Resuming of runs: the status of a run folder, and its consequences for the next start in it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from zsad.atomic_write import remove_partial
from zsad.config import compose
from zsad.config.errors import is_resource_error, reason
from zsad.config.renamed_keys import rename_config
from zsad.distributed import is_first_process
from zsad.reports.run_status import (
    FAILED,
    FINISHED,
    STOPPED,
    Status,
    new_status,
    now,
    read_status,
    write_status,
)
from zsad.runs.run_command import resume_command
from zsad.runs.run_settings import deciding_settings, settings_differences

log = logging.getLogger("zsad")


class Run:
    """A start of a training or of a test, and the earlier start in the same folder.

    Args:
        config: The whole configuration.
        kind: ``training`` or ``test``.

    Attributes:
        earlier: Status of the last start; ``None`` if it was the first, or wrote none.
    """

    def __init__(self, config: Any, kind: str) -> None:
        self.folder = Path(config.paths.output_dir)
        self.kind = kind
        self.earlier = _read_status(self.folder)
        self._resume = config.get("resume")
        self._overwrite = bool(config.get("overwrite"))
        self._epochs = config.trainer.get("max_epochs")
        settings = deciding_settings(config)
        settings["trainer.max_epochs"] = self._epochs
        self._status = new_status(kind, resume_command(kind, self.folder), settings)
        self._written: Status | None = None
        self._has_begun = False

    @property
    def is_resuming(self) -> bool:
        """Whether it continues an earlier start: ``resume=auto``, or a requeued job of SLURM.

        Raises:
            ValueError: If ``resume`` has another value, or ``overwrite=true`` is given, too.
        """
        if self._resume not in (None, "auto"):
            raise ValueError(
                f"resume={self._resume}: expected auto, or null. For a checkpoint: ckpt_path=…"
            )
        if self._resume and self._overwrite and not self.is_requeued:
            raise ValueError(
                "resume=auto and overwrite=true: expected one of them. resume=auto continues the "
                "run, overwrite=true starts it anew"
            )
        return self._resume == "auto" or self.is_requeued

    @property
    def is_requeued(self) -> bool:
        """Whether SLURM has started this very job before."""
        job = self._status.job
        if not job or self.earlier is None or self.earlier.job != job:
            return False
        return int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0

    @property
    def is_finished(self) -> bool:
        """Whether an earlier start finished; a training, at least as many epochs as asked now."""
        if self.earlier is None or self.earlier.state != FINISHED:
            return False
        done = self.earlier.config.get("trainer.max_epochs")
        if self.kind != "training" or not done or not self._epochs:
            return True
        return done >= self._epochs

    @property
    def was_stopped(self) -> bool:
        """Whether an earlier start did not finish."""
        return self.earlier is not None and self.earlier.state != FINISHED

    def already_finished(self) -> bool:
        """Tell whether the run to resume is finished, and log it.

        Raises:
            ValueError: If the finished run had other settings.
        """
        if not (self.is_resuming and self.is_finished):
            return False
        self.require_same()
        if is_first_process():
            log.info(self.describe())
        return True

    def describe(self) -> str:
        """Return a sentence about the run in the folder, with the commands to look at it."""
        folder = os.path.relpath(self.folder)
        if self.earlier is None or not self.is_finished:
            return f"{folder} already holds a {self.kind}."
        finished = f"{folder} already holds a {self.kind}, finished {self.earlier.ended}."
        if self.kind == "test":
            return f"{finished} Look at it: {folder}/report.html, {folder}/results.md."
        choices = compose.choices_of_run()
        return (
            f"{finished} Look at it: {folder}/run_card.md. Test it: python test.py dataset=mvtec "
            f"model={choices['model']} backbone={choices['backbone']} ckpt_path={folder}."
        )

    def require_same(self) -> None:
        """Check that the settings that decide about results are those of the earlier start.

        Raises:
            ValueError: If they are not; the message names every difference.
        """
        if self.earlier is None:
            return
        today = json.loads(json.dumps(self._status.config, default=str))
        differences = settings_differences(self.earlier.config, today)
        if differences:
            raise ValueError(
                f"{os.path.relpath(self.folder)}: cannot resume this {self.kind}, these settings "
                f"changed: {'; '.join(differences)}. Give the same settings, or another name=, "
                "or start anew: overwrite=true without resume"
            )

    def announce(self) -> None:
        """Write that the run is being prepared, unless that would hide a finished run.

        Raises:
            ValueError: If another process works in the folder.
        """
        if self.earlier is None:
            if not self._has_unrecorded_results():
                self._write(self._status)
            return
        self._require_free_folder(self.earlier)
        if self.was_stopped:
            # Until this start begins, the settings of the earlier one count; if that one made
            # progress, its command, too.
            status = replace(self._status, config=self.earlier.config)
            if self.earlier.progress:
                command, progress = self.earlier.command, self.earlier.progress
                status = replace(status, command=command, progress=progress)
            self._write(status)

    def begin(self) -> None:
        """Write that all checks are passed and the run begins."""
        if is_first_process():
            remove_partial(self.folder)
            self._write(self._status)
            self._has_begun = True

    def end(self) -> None:
        """Write that the run is finished, if it has begun."""
        if self._written is not None and self._has_begun:
            self._write_end(self._written, FINISHED)

    def fail(self, error: BaseException) -> None:
        """Write why the run ends; add to the error how to resume it.

        A start that ends before it begins changes nothing: what an earlier one wrote is restored.
        """
        if self._written is None:
            return
        is_stop = not isinstance(error, Exception)
        why = "interrupted" if _is_interrupt(error) else reason(error)
        hint = self._resume_hint(error) if self._has_begun else ""
        try:
            kept = self._earlier_if_refused()
            if kept is not None:
                write_status(self.folder, kept)
            else:
                self._write_end(self._written, STOPPED if is_stop else FAILED, why)
        except OSError as failure:  # a full disk; the error itself must not be lost over it
            error.add_note(f"Nor could {failure.filename} be written.")
        _write_log(why, None if is_stop else error)
        if hint and is_stop:
            log.warning("stopped. %s", hint)
        elif hint:
            error.add_note(hint)

    def _require_free_folder(self, earlier: Status) -> None:
        if earlier.is_alive and earlier.pid != os.getpid():
            raise ValueError(
                f"{os.path.relpath(self.folder)} is being written: process {earlier.pid} since "
                f"{earlier.started}. Wait for it, or stop it (kill {earlier.pid}), or give "
                "another name="
            )

    def _resume_hint(self, error: BaseException) -> str:
        if self.kind == "test":
            done = sorted(file.parent.name for file in self.folder.glob("*/results.json"))
            if not done:
                return ""
            return f"Tested so far: {', '.join(done)}. The same command continues with the others."
        from zsad.model_files.run_checkpoints import is_whole, newest_first

        progress = self._progress()
        place = f"It ended in {progress}. " if progress else ""
        last = next(filter(is_whole, newest_first(self.folder)), None)
        found = "There is no checkpoint yet"
        proposal = ": start anew with the same command."
        if last is not None:
            found = f"The last good checkpoint: {os.path.relpath(last)}"
            proposal = f". To resume from there: {self._status.command}"
        if isinstance(error, ArithmeticError):  # the same command would end in the same place
            proposal = "."
        return f"{place}{found}{proposal}"

    def _progress(self) -> str:
        """Return the progress of the run, which a callback writes."""
        status = read_status(self.folder)
        return "" if status is None else status.progress

    def _earlier_if_refused(self) -> Status | None:
        """Return the earlier status if that start got further than this one, which only checked."""
        earlier = self.earlier
        if self._has_begun or earlier is None:
            return None
        has_got_further = earlier.state != FAILED or bool(earlier.progress)
        return earlier if has_got_further else None

    def _has_unrecorded_results(self) -> bool:
        """Tell whether a folder without a status holds results."""
        return any(self.folder.glob("checkpoints/*.ckpt")) or (self.folder / "results.csv").exists()

    def _write(self, status: Status) -> None:
        write_status(self.folder, status)
        self._written = status

    def _write_end(self, status: Status, state: str, error: str = "") -> None:
        progress = self._progress()
        self._write(replace(status, progress=progress, state=state, ended=now(), error=error))


@contextmanager
def record_status(config: Any, kind: str) -> Iterator[Run]:
    """Write the status of a run into its folder while it is prepared and runs.

    Only the first process writes.
    """
    run = Run(config, kind)
    if not is_first_process():
        yield run
        return
    run.announce()
    try:
        yield run
    except BaseException as error:
        run.fail(error)
        raise
    run.end()


def _read_status(folder: Path) -> Status | None:
    """Return the status of a folder under the present names of keys."""
    status = read_status(folder)
    if status is None:
        return None
    return replace(status, config=rename_config(status.config))


def _is_interrupt(error: BaseException) -> bool:
    """Tell Ctrl-C, which a trainer turns into an exit, from other ends."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)


def _write_log(text: str, error: BaseException | None) -> None:
    """Write an error into the log file of the run; the screen shows it otherwise."""
    traceback = None
    if error is not None and not _is_known(error):
        traceback = (type(error), error, error.__traceback__)
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (text,), traceback)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def _is_known(error: BaseException) -> bool:
    """Tell an error of a user or of the machine from a fault of the program."""
    return isinstance(error, (ValueError, OSError)) or is_resource_error(error)
