"""The run card: the facts needed to trust or to repeat a run, years later."""

from __future__ import annotations

import json
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from zsad.atomic_write import write_whole
from zsad.reports.text_tables import TextTable, markdown_lines

_PACKAGE = "zsad"
Facts = Mapping[str, Any]
Timing = Mapping[str, int | float]
_SECRETS = "api_?key|access_?key|token|secret|password|passwd|credentials?"
_SECRET_KEY = re.compile(rf"(^|[._-])({_SECRETS})$", re.IGNORECASE)
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_HIDDEN = "(hidden)"


def run_card(
    *,
    config: Facts,
    seed: int | None,
    weights: Mapping[str, str | None],
    trained_on: Any,
    device: torch.device | str,
    precision: str,
    world_size: int = 1,
    timing: Timing | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Gather the facts of a run as plain values, ready for JSON.

    The environment is not read; secrets are hidden.

    Args:
        config: The whole configuration, plain.
        seed: Of all random numbers.
        weights: Name of each set of weights → hash of the loaded file.
        trained_on: The training data; ``None`` for training-free methods.
        device: The model's.
        precision: The trainer's.
        world_size: Number of processes.
        timing: ``images``, ``seconds`` and ``images_per_second``; ``None`` where not measured.
        notes: Warnings for readers of the results, such as "not zero-shot".
    """
    device = torch.device(device)
    return {
        "notes": list(notes),
        "command": _without_secrets(sys.argv),
        "git": git_state(Path(__file__).parent),
        "seed": seed,
        "weights": dict(weights),
        "trained_on": trained_on,
        "device": device_name(device),
        "precision": precision,
        "world_size": world_size,
        "timing": None if timing is None else dict(timing),
        "peak_memory_mib": _peak_memory_mib(device),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(),
        "config": _hide(config),
    }


def write_run_card(card: Facts, folder: Path) -> tuple[Path, Path]:
    """Write ``run_card.json`` and the shorter ``run_card.md`` and return their paths."""
    text = json.dumps(card, indent=2, default=str, ensure_ascii=False)
    page = _markdown(card)
    return (
        write_whole(folder / "run_card.json", text + "\n"),
        write_whole(folder / "run_card.md", page),
    )


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit and cleanliness of the clone of this package, ``None`` outside of a clone."""
    git = shutil.which("git")
    # An installed copy may lie inside somebody else's clone, which does not track it.
    if git is None or _git(git, folder, "ls-files", "--error-unmatch", "../types.py") is None:
        return None
    return {
        "commit": _git(git, folder, "rev-parse", "HEAD"),
        "dirty": bool(_git(git, folder, "status", "--porcelain")),
    }


def package_versions() -> dict[str, str]:
    """Return the installed versions of this package and of its dependencies."""
    names = []
    for requirement in metadata.requires(_PACKAGE) or ():
        if "extra ==" not in requirement:
            names.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    installed = {_normalized(found.name): found.version for found in metadata.distributions()}
    versions = {}
    for name in (_PACKAGE, *sorted(names)):
        if _normalized(name) in installed:
            versions[name] = installed[_normalized(name)]
    return versions


def device_name(device: torch.device) -> str:
    """Return the maker's name of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = platform.processor() or platform.machine()
    return f"{device.type} ({processor}, {torch.get_num_threads()} threads)"


def _peak_memory_mib(device: torch.device) -> dict[str, float]:
    """Return the peak memory of this process so far."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak = {"process": round(usage.ru_maxrss / unit, 1)}
    if device.type == "cuda":
        allocated = torch.cuda.max_memory_allocated(device)
        peak["gpu"] = round(allocated / 2**20, 1)
    return peak


def _git(git: str, folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(
        [git, "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _normalized(name: str) -> str:
    """Return the name of a package in the normal form of registries."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _hide(value: Any, key: str = "") -> Any:
    """Copy a configuration without the values of secrets and without user names in addresses."""
    if value is not None and _SECRET_KEY.search(key):
        return _HIDDEN
    if isinstance(value, Mapping):
        return {str(inner): _hide(item, str(inner)) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hide(item) for item in value]
    if isinstance(value, str):
        return _USER_IN_URL.sub(_HIDDEN, value)
    return value


def _without_secrets(arguments: Sequence[str]) -> str:
    """Write a command line, with the values of secrets hidden in ``key=value``."""
    shown = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals:
            shown.append(f"{key}={_hide(value, key)}")
        else:
            shown.append(_hide(argument))
    return " ".join(shown)


def _markdown(card: Facts) -> str:
    """Write the card as a short page, without the configuration and the smaller packages."""
    weights = []
    for name, value in card["weights"].items():
        weights.append(f"{name} {value or 'random'}")
    peaks = []
    for kind, mib in card["peak_memory_mib"].items():
        peaks.append(f"{mib:.0f} MiB ({kind})")
    packages = card["packages"]
    torch_version = packages.get("torch")
    own_version = packages.get(_PACKAGE)
    rows = {
        "command": f"`{card['command']}`",
        "commit": _commit(card["git"]),
        "seed": str(card["seed"]),
        "weights": ", ".join(weights),
        "trained on": str(card["trained_on"] or "nothing"),
        "device": (
            f"{card['device']}, precision {card['precision']}, {card['world_size']} process(es)"
        ),
        "timing": _speed(card["timing"]),
        "peak memory": ", ".join(peaks),
        "software": f"Python {card['python']}, torch {torch_version}, {_PACKAGE} {own_version}",
    }
    notes = [f"> {note}\n" for note in card["notes"]]
    table = TextTable(["", ""], list(rows.items()), text_columns=2)
    return "\n".join(["# Run card", "", *notes, *markdown_lines(table), ""])


def _commit(git: Facts | None) -> str:
    if git is None:
        return "not a clone"
    changes = " with local changes" if git["dirty"] else ""
    return f"{git['commit']}{changes}"


def _speed(timing: Timing | None) -> str:
    if timing is None:
        return "not measured"
    speed = f"{timing['images_per_second']:.2f} a second"
    return f"{timing['images']} images in {timing['seconds']:.1f} s ({speed})"
