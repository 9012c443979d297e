"""Names of runs and of their choices, as parts of folder names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

CHECKPOINT = "ckpt_path"
_MAX_NAME_LENGTH = 90
_MAX_VALUE_LENGTH = 40
_WEIGHT_SUFFIXES = (".ckpt", ".pth", ".safetensors")
_QUOTES = ("'", '"')


def run_name(path: str | None) -> str:
    """Name the source of a checkpoint, for the folder of the run that uses it.

    >>> run_name("runs/train/anomalyclip_visa_seed1/checkpoints/epoch_03.ckpt")
    'anomalyclip_visa_seed1_epoch_03'
    >>> run_name("runs/train/anomalyclip_visa_seed1")
    'anomalyclip_visa_seed1'
    >>> run_name("published/epoch_15.pth"), run_name(None)
    ('published_epoch_15', 'nothing')
    """
    if path is None:
        return "nothing"
    file = Path(path)
    if file.suffix not in _WEIGHT_SUFFIXES:
        return file.name  # a run folder
    folder = file.parent
    if folder.name != "checkpoints":
        parts = (folder.name, file.stem)
        return "_".join(part for part in parts if part)
    run = folder.parent.name
    if file.stem == "last":
        return run
    return f"{run}_{file.stem}"


def shots_name(shots: int, seed: int) -> str:
    """Name the references of a test, for its folder.

    >>> shots_name(0, 111), shots_name(4, 111)
    ('', '_4shot_seed111')
    """
    if not shots:
        return ""
    return f"_{shots}shot_seed{seed}"


def tested_on(several: Sequence[str] | None, one: str) -> str:
    """Name the tested datasets of a run, for its folder.

    >>> tested_on(None, "visa"), tested_on(["mvtec", "btad"], "visa")
    ('visa', 'mvtec+btad')
    >>> tested_on(["mvtec", "btad", "mpdd"], "visa")
    'mvtec+2_more'
    """
    names = list(several or [one])
    if len(names) <= 2:
        return "+".join(names)
    num_more = len(names) - 1
    return f"{names[0]}+{num_more}_more"


def value_name(key: str, value: str) -> str:
    """Name the value of a key.

    >>> value_name("ckpt_path", "runs/train/anomalyclip_visa_seed1")
    'anomalyclip_visa_seed1'
    >>> value_name("dataset.root", "'/data/my images'")
    'data-my-images'
    """
    name = value
    for quote in _QUOTES:
        if len(value) > 1 and value.startswith(quote) and value.endswith(quote):
            name = value[1:-1]
    if key == CHECKPOINT:
        name = run_name(name)
    return slug(name)


def label(key: str, values: Sequence[str], *, is_group: bool) -> str:
    """Name a choice by its values, a number by its key, too.

    >>> label("backbone", ["pocket"], is_group=True)
    'pocket'
    >>> label("model.method.sigma", ["0.5", "4"], is_group=False)
    'sigma0.5+4'
    """
    names = "+".join(value_name(key, value) for value in values)
    if is_group or key in (CHECKPOINT, "test_on"):
        return names
    return key.rpartition(".")[2] + names


def slug(value: str) -> str:
    """Return a value as a part of a file's name, and of an argument without quotes."""
    name = re.sub(r"[^\w.+-]+", "-", value)
    name = name.strip("-")
    if len(name) <= _MAX_VALUE_LENGTH:
        return name
    beginning = name[: _MAX_VALUE_LENGTH - 10]
    return f"{beginning}-{_digest(value)}"


def shorten(name: str) -> str:
    """Cut a name that is too long for a folder; a digest keeps it apart from others."""
    if len(name) <= _MAX_NAME_LENGTH:
        return name
    beginning = name[: _MAX_NAME_LENGTH - 10]
    return f"{beginning}-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
