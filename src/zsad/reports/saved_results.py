"""Results of a finished test in full precision, to resume a test on several datasets."""

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
    """Write ``results.json``, the last file of a test: if it exists, all others do.

    Args:
        folder: Of the test.
        results: The results.
        notes: Warnings for readers of the results.
        decisions: The settings that decide about the results.
    """
    content = {"results": asdict(results), "notes": list(notes), "decisions": dict(decisions)}
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    return write_whole(folder / FILE, text + "\n")


def load_results(
    folder: Path,
    decisions: Mapping[str, Any],
    rename: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
) -> tuple[Results, list[str]] | None:
    """Return results and notes, equal to the last bit.

    Returns ``None`` where there are none, or other settings decided about them.

    Args:
        folder: Of the test.
        decisions: The settings that decide about the results now.
        rename: Gives the settings of an earlier version their present names.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
        content = json.loads(text)
    except (OSError, ValueError):
        return None
    as_stored = json.loads(json.dumps(dict(decisions), default=str))
    then = rename(content.get("decisions") or {})
    if _without_nulls(then) != _without_nulls(as_stored):
        return None
    fields = content["results"]
    _restore_tuples(fields["images"])
    _restore_tuples(fields["mean_intervals"])
    for intervals in fields["intervals"].values():
        _restore_tuples(intervals)
    return Results(**fields), content["notes"]


def _without_nulls(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that say something: a key that came later is null where nobody set it."""
    return {key: value for key, value in settings.items() if value is not None}


def _restore_tuples(pairs: dict[str, Any]) -> None:
    """Turn the lists of JSON into tuples again."""
    for name, pair in pairs.items():
        pairs[name] = tuple(pair)
