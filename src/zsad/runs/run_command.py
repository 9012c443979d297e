"""Command lines that resume a run."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from zsad.config import compose

_SCRIPTS = {"training": "train.py", "test": "test.py"}
# These belong to one start of a run alone, or are spelled out by ``compose.read_arguments``.
_OF_ONE_START = ("test_on", "sweep", "resume", "overwrite")


def resume_command(kind: str, folder: Path) -> str:
    """Return the command that resumes the run of a folder, or begins it if it has not begun.

    A run of a sweep is started as a sweep of its own, by the launcher of the sweep.
    """
    own, hydra = compose.command_line_overrides()
    words = [*_as_typed(own), "resume=auto"]
    launcher = [override for override in hydra if re.match(r"hydra[/.]launcher\b", override)]
    has_folder = any(override.startswith("hydra.run.dir=") for override in hydra)
    if compose.is_sweep() and launcher:
        sweep_folder = _quoted(os.path.relpath(folder.parent))
        words = ["-m", *launcher, *words, f"hydra.sweep.dir={sweep_folder}"]
        words.append(f"hydra.sweep.subdir={_quoted(folder.name)}")
    elif compose.is_sweep() or has_folder:
        words.append(f"hydra.run.dir={_quoted(os.path.relpath(folder))}")
    return shlex.join(["python", _SCRIPTS[kind], *words])


def _as_typed(overrides: Sequence[str]) -> list[str]:
    """Undo ``compose.read_arguments``, and leave out the settings of one start alone.

    >>> _as_typed(["dataset=mvtec", "test_on=[mvtec,btad]", "seed=1", "overwrite=true"])
    ['dataset=[mvtec,btad]', 'seed=1']
    >>> _as_typed(["dataset=visa", "test_on=null", "resume=auto", "~callbacks.scores"])
    ['dataset=visa', '~callbacks.scores']
    """
    several = "null"
    kept = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "test_on":
            several = value
        elif key not in _OF_ONE_START:
            kept.append(override)
    if several == "null":
        return kept
    others = [override for override in kept if not override.startswith("dataset=")]
    return [f"dataset={several}", *others]


def _quoted(value: str) -> str:
    """Quote a value for Hydra, whose grammar has more special characters than a shell's."""
    if re.fullmatch(r"[\w./+-]+", value):
        return value
    return "'" + value.replace("'", "\\'") + "'"
