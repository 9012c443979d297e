"""Writes keys.json with version 0.1 of zsad: every leaf key of its configurations with its value, and every group.

Run with the source of version 0.1 (commit 79eaaa8): PYTHONPATH=OLD/src python make_keys.py OUT/keys.json

The file is {"groups": {group: [choices]}, "train": [{"choices": […], "keys": {key: value}}], "test": …}. A composition
lists those keys alone that are new, or have another value than in the first composition of its script; one of test.py
those of them alone that train.py does not have.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OUTPUT = "paths.output_dir=/nowhere"
# Groups of the list of defaults; each choice is composed by itself.
ROOT = (
    "dataset",
    "augmentation",
    "backbone",
    "model",
    "tiling",
    "metrics",
    "robustness",
    "feature_cache",
    "trainer",
    "callbacks",
    "logger",
    "experiment",
)
# Groups that are put somewhere into a model or a callback: group -> (its place, what has such a place).
PLACED = {
    "ensemble": ("model.method.prompts", "model=winclip"),
    "prompts": ("model.method.prompts", "model=saa_plus"),
    "prompts/sam3": ("model.method.prompts", "model=sam3"),
    "tagger": ("model.method.tagger", "model=dot"),
    "language": ("model.method.language", "model=dot"),
    "inpainter": ("callbacks.restoration.inpainter", "model=anomalyclip"),
}


def compositions() -> list[list[str]]:
    from zsad import build

    listed = [[], *([f"{group}={name}"] for group in ROOT for name in build.choices(group))]
    for group, (place, owner) in PLACED.items():
        listed += [[owner, f"{group}@{place}={name}"] for name in build.choices(group)]
    return listed


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if str(key).startswith("_"):
            continue
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def without(keys: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if key not in known or known[key] != value}


def groups() -> dict[str, list[str]]:
    from zsad import build

    folders = sorted(folder.relative_to(build.CONF).as_posix() for folder in build.CONF.rglob("*") if folder.is_dir())
    return {folder: build.choices(folder) for folder in folders if not folder.endswith("__pycache__")}


def main() -> None:
    """Compose everything, for both scripts."""
    from omegaconf import OmegaConf

    from zsad import build

    composed: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for script, listed in composed.items():
        for at, choices in enumerate(compositions()):
            config = build.compose(script, [*choices, OUTPUT])
            keys = leaves(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
            known = listed[0]["keys"] if listed else {}
            keys = without(keys, known)
            if script == "test":
                keys = without(keys, composed["train"][at]["keys"])
            listed.append({"choices": choices, "keys": keys})
    lines = [f'{{"groups": {json.dumps(groups())}']
    for script, listed in composed.items():
        rows = ",\n".join(json.dumps(one, ensure_ascii=False, sort_keys=True) for one in listed)
        lines.append(f'"{script}": [\n{rows}\n]')
    Path(sys.argv[1]).write_text(",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
