"""The run card: what one needs to know, years later, to trust or to repeat a run."""

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

_PACKAGE = "zsad"
_SECRET_KEY = re.compile(
    r"(^|[._-])(api_?key|access_?key|token|secret|password|passwd|credentials?)$", re.IGNORECASE
)
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_HIDDEN = "(hidden)"


def run_card(
    *,
    config: Mapping[str, Any],
    seed: int | None,
    weights: Mapping[str, str | None],
    trained_on: Any,
    device: torch.device | str,
    precision: str,
    world_size: int = 1,
    timing: Mapping[str, int | float] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Gather what a run was, as plain values ready for JSON. The environment is not read; secrets are hidden.

    Args:
        config: The whole configuration, plain.
        seed: Of all random numbers.
        weights: Name of each set of weights, and the hash of what was loaded.
        trained_on: What the learned part was learned on; ``None`` for training-free methods.
        device: Where the model ran.
        precision: The trainer's.
        world_size: Number of processes.
        timing: ``images``, ``seconds`` and ``images_per_second``; ``None`` where not measured.
        notes: What a reader of the results has to know, such as "not zero-shot".
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


def write_run_card(card: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write ``run_card.json`` and the shorter ``run_card.md`` and return their paths."""
    text = json.dumps(card, indent=2, default=str, ensure_ascii=False)
    return write_whole(folder / "run_card.json", text + "\n"), write_whole(
        folder / "run_card.md", _markdown(card)
    )


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit and cleanliness of the clone that this package runs from, or ``None`` outside of one."""
    git = shutil.which("git")
    # An installed copy may lie inside somebody else's clone, which does not track it.
    if git is None or _git(git, folder, "ls-files", "--error-unmatch", "../types.py") is None:
        return None
    return {
        "commit": _git(git, folder, "rev-parse", "HEAD"),
        "dirty": bool(_git(git, folder, "status", "--porcelain")),
    }


def package_versions() -> dict[str, str]:
    """Return the installed versions of this package and of what it depends on."""
    names = (
        re.split(r"[^\w.-]", line, maxsplit=1)[0]
        for line in metadata.requires(_PACKAGE) or ()
        if "extra ==" not in line
    )
    installed = {_plain(found.name): found.version for found in metadata.distributions()}
    return {
        name: installed[_plain(name)]
        for name in (_PACKAGE, *sorted(names))
        if _plain(name) in installed
    }


def device_name(device: torch.device) -> str:
    """Return the name that the maker gave to a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.processor() or platform.machine()}, {torch.get_num_threads()} threads)"


def _peak_memory_mib(device: torch.device) -> dict[str, float]:
    """Return the most memory that this process has held so far."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)}
    if device.type == "cuda":
        peak["gpu"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return peak


def _git(git: str, folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(
        [git, "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _plain(name: str) -> str:
    """Return the name of a package as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _hide(value: Any, key: str = "") -> Any:
    """Copy a configuration without the values of secrets and without user names in addresses."""
    if value is not None and _SECRET_KEY.search(key):
        return _HIDDEN
    if isinstance(value, Mapping):
        return {str(inner): _hide(item, str(inner)) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hide(item) for item in value]
    return _USER_IN_URL.sub(_HIDDEN, value) if isinstance(value, str) else value


def _without_secrets(arguments: Sequence[str]) -> str:
    """Write a command line, with the values of secrets hidden in ``key=value``."""
    shown = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        shown.append(f"{key}{equals}{_hide(value, key)}" if equals else _hide(argument))
    return " ".join(shown)


def _markdown(card: Mapping[str, Any]) -> str:
    """Write the card as a short page, without the configuration and the smaller packages."""
    git, packages = card["git"], card["packages"]
    state = (
        f"{git['commit']}{' with local changes' if git['dirty'] else ''}" if git else "not a clone"
    )
    speed = "{images} images in {seconds:.1f} s ({images_per_second:.2f} a second)"
    rows = {
        "command": f"`{card['command']}`",
        "commit": state,
        "seed": card["seed"],
        "weights": ", ".join(
            f"{name} {value or 'random'}" for name, value in card["weights"].items()
        ),
        "trained on": card["trained_on"] or "nothing",
        "device": f"{card['device']}, precision {card['precision']}, {card['world_size']} process(es)",
        "timing": speed.format(**card["timing"]) if card["timing"] else "not measured",
        "peak memory": ", ".join(
            f"{value:.0f} MiB ({kind})" for kind, value in card["peak_memory_mib"].items()
        ),
        "software": f"Python {card['python']}, torch {packages.get('torch')}, zsad {packages.get('zsad')}",
    }
    lines = [
        "# Run card",
        "",
        *(f"> {note}\n" for note in card["notes"]),
        "| | |",
        "| :--- | :--- |",
    ]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows.items()), ""])
