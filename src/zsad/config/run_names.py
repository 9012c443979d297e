"""How runs, and what they chose, are called in the names of folders."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

CHECKPOINT = "ckpt_path"
_MOST_CHARACTERS = 90


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
    if file.suffix not in (".ckpt", ".pth", ".safetensors"):
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


def value_name(key: str, value: str) -> str:
    """Name the value of a key.

    >>> value_name("ckpt_path", "runs/train/anomalyclip_visa_seed1"), value_name("dataset.root", "'/data/my pictures'")
    ('anomalyclip_visa_seed1', 'data-my-pictures')
    """
    plain = value[1:-1] if len(value) > 1 and value[0] in "'\"" and value[-1] == value[0] else value
    return slug(run_name(plain) if key == CHECKPOINT else plain)


def label(key: str, values: Sequence[str], *, is_group: bool) -> str:
    """Name a choice by its values, a number by its key, too.

    >>> label("backbone", ["pocket"], is_group=True), label("model.method.sigma", ["0.5", "4"], is_group=False)
    ('pocket', 'sigma0.5+4')
    """
    prefix = "" if is_group or key in (CHECKPOINT, "test_on") else key.rpartition(".")[2]
    return prefix + "+".join(value_name(key, value) for value in values)


def slug(value: str) -> str:
    """Write a value so that it can be a part of a file's name, and of an argument without quotes."""
    plain = re.sub(r"[^\w.+-]+", "-", value).strip("-")
    return plain if len(plain) <= 40 else f"{plain[:30]}-{_digest(value)}"


def shorten(name: str) -> str:
    """Cut a name that is too long for a folder; a digest of the whole keeps it apart from others."""
    return (
        name
        if len(name) <= _MOST_CHARACTERS
        else f"{name[: _MOST_CHARACTERS - 10]}-{_digest(name)}"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
