"""What an earlier start in the same folder means for this one: begin, go on, or see that nothing is left to do."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shlex
from collections.abc import Iterator, Sequence
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

log = logging.getLogger("zsad")

_SCRIPTS = {"training": "train.py", "test": "test.py"}
# What may change from one start of a run to the next: where and how it runs, not what comes out.
_MAY_CHANGE = re.compile(
    r"(paths|callbacks|logger|trainer|map_range|(model\.)?feature_cache)\b|dataset\.(num_workers|root|data_json|index|test_batch_size)$"
    r"|(name|sweep|resume|overwrite|ckpt_path|epochs|skip_missing|test_on)$"
)
# What decides about a test, though a training may go on with other values.
_OF_A_TEST = ("trainer.precision", "trainer.limit_test_batches")


class Run:
    """A start of a training or of a test, and the one before it in the same folder.

    Args:
        config: The whole configuration.
        kind: ``training`` or ``test``.

    Attributes:
        earlier: What the last start has left, ``None`` if it was the first or did not write it.
    """

    def __init__(self, config: Any, kind: str) -> None:
        self.folder, self.kind = Path(config.paths.output_dir), kind
        self.earlier = _under_present_names(read_status(self.folder))
        self._asked, self._overwrites = config.get("resume"), bool(config.get("overwrite"))
        self._epochs = config.trainer.get("max_epochs")
        deciding = {**deciding_settings(config), "trainer.max_epochs": self._epochs}
        self._status = new_status(kind, resume_command(kind, self.folder), deciding)
        self._written: Status | None = None
        self._has_begun = False

    @property
    def is_resuming(self) -> bool:
        """Whether it takes up what an earlier start has left: ``resume=auto``, or SLURM has started its job again.

        Raises:
            ValueError: If ``resume`` says something else, or to begin anew is asked for, too.
        """
        if self._asked not in (None, "auto"):
            raise ValueError(
                f"resume={self._asked}: expected auto, or null. For a checkpoint: ckpt_path=…"
            )
        if self._asked and self._overwrites and not self.is_requeued:
            raise ValueError("overwrite=true begins anew, resume=auto goes on: choose one")
        return self._asked == "auto" or self.is_requeued

    @property
    def is_requeued(self) -> bool:
        """Whether SLURM has started this very job before."""
        is_own = self.earlier is not None and self.earlier.job == self._status.job != ""
        return is_own and int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0

    @property
    def is_finished(self) -> bool:
        """Whether an earlier start came to its end; a training, to as many epochs as are wanted now."""
        if self.earlier is None or self.earlier.state != FINISHED:
            return False
        done = self.earlier.config.get("trainer.max_epochs")
        return self.kind != "training" or not (done and self._epochs) or done >= self._epochs

    @property
    def was_stopped(self) -> bool:
        """Whether an earlier start came to no end."""
        return self.earlier is not None and self.earlier.state != FINISHED

    def already_finished(self) -> bool:
        """Say that a run which is to go on is finished, if it is.

        Raises:
            ValueError: If it was another run.
        """
        if not (self.is_resuming and self.is_finished):
            return False
        self.require_same()
        if is_first_process():
            log.info(self.describe())
        return True

    def describe(self) -> str:
        """Say what the folder holds, and how to look at it."""
        at = _shown(self.folder)
        if self.earlier is None or not self.is_finished:
            return f"{at} already holds a {self.kind}."
        if self.kind == "training":
            chosen = f"model={compose.choices_of_run()['model']} backbone={compose.choices_of_run()['backbone']}"
            look = (
                f"{at}/run_card.md. Test it: python test.py dataset=mvtec {chosen} ckpt_path={at}."
            )
        else:
            look = f"{at}/report.html, {at}/results.md."
        return (
            f"{at} already holds a {self.kind}, finished {self.earlier.ended}. Look at it: {look}"
        )

    def require_same(self) -> None:
        """Check that what decides about results is what it was when the run began.

        Raises:
            ValueError: If it is not; the message names every difference.
        """
        if self.earlier is None:
            return
        then, today = self.earlier.config, json.loads(json.dumps(self._status.config, default=str))
        differences = [
            f"{key}={then.get(key)} then, {key}={today.get(key)} now"
            for key in sorted(then.keys() | today.keys())
            if not _MAY_CHANGE.match(key) and then.get(key) != today.get(key)
        ]
        if differences:
            raise ValueError(
                f"{_shown(self.folder)} cannot be gone on with, its {self.kind} was begun with other settings: "
                f"{'; '.join(differences)}. Take the same, or another name=, or begin anew: overwrite=true without "
                "resume"
            )

    def announce(self) -> None:
        """Say at once that the run is being prepared, where no finished one would be hidden by that.

        Raises:
            ValueError: If another process works in the folder.
        """
        if self.earlier is not None and self.earlier.is_alive and self.earlier.pid != os.getpid():
            raise ValueError(
                f"{_shown(self.folder)} is being written: process {self.earlier.pid} since {self.earlier.started}. "
                f"Wait for it, or stop it (kill {self.earlier.pid}), or take another name="
            )
        if self.earlier is None and not self._has_unrecorded_results():
            self._write(self._status)
        elif self.earlier is not None and self.was_stopped:
            # Until this start begins, what counts is what the earlier one was begun with; and if that one came to
            # anything, how to go on with it.
            kept = ("config", "command", "progress") if self.earlier.progress else ("config",)
            self._write(replace(self._status, **{one: getattr(self.earlier, one) for one in kept}))

    def begin(self) -> None:
        """Say that everything is in order and the run begins."""
        if is_first_process():
            remove_partial(self.folder)
            self._write(self._status)
            self._has_begun = True

    def end(self) -> None:
        """Say that it is finished, if it has begun."""
        if self._written is not None and self._has_begun:
            self._write(
                replace(self._written, progress=self._progress(), state=FINISHED, ended=now())
            )

    def fail(self, error: BaseException) -> None:
        """Leave in the folder why the run ends; add to the error how to go on."""
        if self._written is None:
            return
        is_stop, text = (
            not isinstance(error, Exception),
            "interrupted" if _is_interrupt(error) else reason(error),
        )
        way = self._resume_hint() if self._has_begun else ""
        state = STOPPED if is_stop else FAILED
        try:
            self._write(
                replace(
                    self._written, progress=self._progress(), state=state, ended=now(), error=text
                )
            )
        except OSError as failure:  # a full disk; the error itself must not be lost over it
            error.add_note(f"Nor could {failure.filename} be written.")
        _write_log(text, None if is_stop else error)
        if way and is_stop:
            log.warning("stopped. %s", way)
        elif way:
            error.add_note(way)

    def _resume_hint(self) -> str:
        if self.kind == "test":
            done = sorted(file.parent.name for file in self.folder.glob("*/results.json"))
            return (
                f"Tested so far: {', '.join(done)}. The same command goes on with the others."
                if done
                else ""
            )
        from zsad.model_files.run_checkpoints import is_whole, newest_first

        last = next(filter(is_whole, newest_first(self.folder)), None)
        at = f"It ended in {self._progress()}. " if self._progress() else ""
        if last is None:
            return f"{at}There is no checkpoint yet: begin anew with the same command."
        return (
            f"{at}The last good state: {_shown(last)}. To go on from there: {self._status.command}"
        )

    def _progress(self) -> str:
        """Return how far it has come, which others write."""
        status = read_status(self.folder)
        return "" if status is None else status.progress

    def _has_unrecorded_results(self) -> bool:
        """Whether there is something to lose in a folder without a status."""
        return any(self.folder.glob("checkpoints/*.ckpt")) or (self.folder / "results.csv").exists()

    def _write(self, status: Status) -> None:
        write_status(self.folder, status)
        self._written = status


@contextmanager
def record_status(config: Any, kind: str) -> Iterator[Run]:
    """Keep the status of a run in its folder while it is prepared and runs. The first process does that."""
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


def _under_present_names(status: Status | None) -> Status | None:
    """Return the status that a run of version 0.1 may have left under the present names of keys."""
    if status is None:
        return None
    return replace(status, config=rename_config(status.config))


def deciding_settings(config: Any) -> dict[str, Any]:
    """Return what decides about the results of a run, flat; of a checkpoint its content, not its place."""
    every = compose.flatten(config).items()
    deciding = {
        key: value for key, value in every if key in _OF_A_TEST or not _MAY_CHANGE.match(key)
    }
    return deciding | (
        {"checkpoint": _digest(Path(config.ckpt_path))} if config.get("ckpt_path") else {}
    )


def resume_command(kind: str, folder: Path) -> str:
    """Return the command that goes on with a run of this folder, or begins it if it has not begun.

    A run of a sweep is started as one of its own, by the launcher that the sweep had.
    """
    own, hydra = compose.command_line_overrides()
    words = [*_as_typed(own), "resume=auto"]
    launcher = [one for one in hydra if re.match(r"hydra[/.]launcher\b", one)]
    if compose.is_sweep() and launcher:
        place = {"hydra.sweep.dir": _shown(folder.parent), "hydra.sweep.subdir": folder.name}
        words = [
            "-m",
            *launcher,
            *words,
            *(f"{key}={_quoted(value)}" for key, value in place.items()),
        ]
    elif compose.is_sweep() or any(one.startswith("hydra.run.dir=") for one in hydra):
        words.append(f"hydra.run.dir={_quoted(_shown(folder))}")
    return shlex.join(["python", _SCRIPTS[kind], *words])


def _as_typed(overrides: Sequence[str]) -> list[str]:
    """Undo what ``compose.read_arguments`` spells out, and leave out what is of one start alone.

    >>> _as_typed(["dataset=mvtec", "test_on=[mvtec,btad]", "seed=1", "overwrite=true"])
    ['dataset=[mvtec,btad]', 'seed=1']
    >>> _as_typed(["dataset=visa", "test_on=null", "resume=auto", "~callbacks.scores"])
    ['dataset=visa', '~callbacks.scores']
    """
    several = [one.partition("=")[2] for one in overrides if one.startswith("test_on=")]
    kept = [
        one
        for one in overrides
        if one.partition("=")[0] not in ("test_on", "sweep", "resume", "overwrite")
    ]
    if not several or several[-1] == "null":
        return kept
    return [f"dataset={several[-1]}", *(one for one in kept if not one.startswith("dataset="))]


def _quoted(value: str) -> str:
    """Quote for Hydra, whose grammar knows more signs than a shell's."""
    return value if re.fullmatch(r"[\w./+-]+", value) else "'" + value.replace("'", "\\'") + "'"


def _is_interrupt(error: BaseException) -> bool:
    """Tell Ctrl-C, which a trainer turns into an exit, from other ends."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)


def _digest(path: Path) -> str:
    files = (
        file
        for file in (path, path / "checkpoints" / "last.ckpt", path / "last.ckpt")
        if file.is_file()
    )
    file = next(files, None)
    return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _write_log(text: str, error: BaseException | None) -> None:
    """Write an error into the log of the run; on the screen it is shown otherwise."""
    is_known = error is None or isinstance(error, (ValueError, OSError)) or is_resource_error(error)
    info = None if is_known or error is None else (type(error), error, error.__traceback__)
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (text,), info)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def _shown(path: str | Path) -> str:
    return os.path.relpath(path)
