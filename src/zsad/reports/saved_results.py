"""The results of a finished test in full precision, for a test on several datasets that is started again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zsad.atomic_write import write_whole
from zsad.types import Results

FILE = "results.json"


def save_results(
    folder: Path, results: Results, notes: Sequence[str], decisions: Mapping[str, Any]
) -> Path:
    """Write ``results.json``; last of all files of a test, so that where it is all others are, too.

    Args:
        folder: Of the test.
        results: What was measured.
        notes: What a reader has to know.
        decisions: What decides about the results.
    """
    content = {"results": asdict(results), "notes": list(notes), "decisions": dict(decisions)}
    return write_whole(
        folder / FILE, json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"
    )


def load_results(
    folder: Path,
    decisions: Mapping[str, Any],
    rename: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
) -> tuple[Results, list[str]] | None:
    """Return results and notes, if there are any and the same decided about them, to the last bit as they were.

    Args:
        folder: Of the test.
        decisions: What decides about its results now.
        rename: Gives decisions that an earlier version stored the present names.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if rename(content.get("decisions") or {}) != json.loads(
        json.dumps(dict(decisions), default=str)
    ):
        return None
    kept = content["results"]
    pairs = {name: (good, bad) for name, (good, bad) in kept.pop("images").items()}
    ends = {name: _pairs(row) for name, row in kept.pop("intervals").items()}
    means = _pairs(kept.pop("mean_intervals"))
    return Results(**kept, images=pairs, intervals=ends, mean_intervals=means), content["notes"]


def _pairs(row: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    return {name: (low, high) for name, (low, high) in row.items()}
