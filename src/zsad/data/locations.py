"""Locations of indexes and of the images of datasets on this machine."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zsad.atomic_write import write_whole

ROOTS_FILE = "roots.json"
GENERATED = "synthetic"  # names of generated datasets begin so


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean visa?", or nothing where no known name is near.

    >>> did_you_mean("vsia", ["mvtec", "visa"])
    ' Did you mean visa?'
    """
    matches = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f" Did you mean {matches[0]}?" if matches else ""


def dataset_names(data_json: Path) -> list[str]:
    """Return the names of the datasets with an index."""
    names = {path.stem for path in data_json.glob("*.json")}
    return sorted(names - {Path(ROOTS_FILE).stem})


def find_index(name: str, data_json: Path, preparable: Iterable[str] = ()) -> Path:
    """Return the index of a dataset.

    Args:
        name: Dataset name, the stem of its index file.
        data_json: Folder of the indexes.
        preparable: Names that ``zsad prepare`` knows without an index, for a better message.

    Raises:
        FileNotFoundError: No such index. The message names the known ones, the nearest name and
            the command.
    """
    path = data_json / f"{name}.json"
    if path.is_file() and path.name != ROOTS_FILE:
        return path
    known = dataset_names(data_json)
    if name in preparable:
        fix = f"It is a known download: zsad prepare {name} ROOT"
    elif name.startswith(GENERATED):
        fix = f"It is generated, not downloaded: zsad prepare {GENERATED}"
    else:
        hint = did_you_mean(name, [*known, *preparable])
        fix = f"{hint} To add one: zsad prepare {name} ROOT --layout mvtec".strip()
    known_text = ", ".join(known) or "none yet"
    raise FileNotFoundError(f"no {path}. Known: {known_text}. {fix}")


def saved_roots(data_json: Path) -> dict[str, str]:
    """Return the roots that ``zsad prepare`` saved on this machine, by dataset."""
    path = data_json / ROOTS_FILE
    return read_json(path) if path.is_file() else {}


def save_root(name: str, root: Path, data_json: Path) -> None:
    """Save the root of a dataset for later runs on this machine."""
    roots = saved_roots(data_json)
    roots[name] = str(root.resolve())
    write_json(data_json / ROOTS_FILE, roots)


def find_root(name: str, root: str | Path | None, data_json: Path) -> Path:
    """Return the folder that the paths of an index are relative to.

    ``root`` wins if given; then the root that ``zsad prepare`` saved, ``$ZSAD_DATASETS/NAME``,
    ``datasets/NAME``.

    Raises:
        FileNotFoundError: None of them is a folder. The message lists them, and both fixes.
    """
    candidates = _candidate_roots(name, root, data_json)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate.absolute()
    looked_in = ", ".join(map(str, candidates))
    raise FileNotFoundError(
        f"no images of {name}: looked in {looked_in}. "
        f"Either zsad prepare {name} /path/to/{name}, or pass dataset.root=/path/to/{name}"
    )


def _candidate_roots(name: str, root: str | Path | None, data_json: Path) -> list[Path]:
    if root is not None:
        return [Path(root).expanduser()]
    roots: list[Path] = []
    saved = saved_roots(data_json).get(name)
    if saved:
        roots.append(Path(saved))
    shared = os.environ.get("ZSAD_DATASETS")
    if shared:
        roots.append(Path(shared).expanduser() / name)
    roots.append(Path("datasets") / name)
    return roots


def read_json(path: Path) -> Any:
    """Read a JSON file; the error gives the line that breaks it."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not valid JSON ({error}); make it anew with zsad prepare {path.stem} ROOT"
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file so that a reader sees the old or the new one, never half of it."""
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
