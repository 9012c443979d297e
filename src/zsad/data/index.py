"""Read and check an index: the field's ``meta.json``, paths relative to the dataset root.

The format is defined in ``data_json/README.md``.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zsad.data.index_entries import Entries, check_entries, is_unlabelled, problem_error
from zsad.data.locations import did_you_mean, read_json
from zsad.data.path_check import PathChecker
from zsad.types import Sample

_YAML_WORDS = {None: "null", True: "true", False: "false"}


def read_index(
    path: Path, root: Path, phase: str, categories: Sequence[str] | None = None
) -> list[Sample]:
    """Return the labelled samples of one phase, in file order, every file checked to exist.

    Args:
        path: The index.
        root: The folder its paths are relative to.
        phase: ``train`` or ``test``, in any case (some published files say ``Test``).
        categories: Only these; all where ``None``.

    Raises:
        ValueError: Broken file, unknown phase or category, no labels at all, or wrong entries; all
            of them are counted.
        FileNotFoundError: Images or masks are missing on disk, and nothing else is wrong.
    """
    with _paused_garbage_collector():
        entries = select_categories(phase_entries(path, phase), categories, path)
        labelled = _split_by_label(entries)[0]
        if not labelled:
            raise ValueError(
                f"{path}: the labels of phase {phase!r} are not published, so it can be "
                "predicted, but neither tested nor learned from: zsad predict CHECKPOINT FOLDER"
            )
        samples, problems = check_entries(labelled, PathChecker(root))
    if problems:
        raise problem_error(path, root, problems)
    return samples


def read_unlabelled(
    path: Path, root: Path, phase: str, categories: Sequence[str] | None = None
) -> dict[str, list[Path]]:
    """Return category → images without a published label of one phase, for predictions only.

    Raises:
        ValueError, FileNotFoundError: As ``read_index``; every image of the phase has a label.
    """
    entries = select_categories(phase_entries(path, phase), categories, path)
    unlabelled = _split_by_label(entries)[1]
    if not unlabelled:
        raise ValueError(
            f"{path}: every image of phase {phase!r} has a label, "
            "expected some without (anomaly: null)"
        )
    checker = PathChecker(root)
    _, problems = check_entries(unlabelled, checker)
    if problems:
        raise problem_error(path, root, problems)
    images: dict[str, list[Path]] = {}
    for category, part in unlabelled.items():
        images[category] = []
        for entry in part:
            _, image, _ = checker.resolve(entry["img_path"])
            images[category].append(image)
    return images


def index_phases(path: Path) -> dict[str, Entries]:
    """Return phase → category → entries; only the shape of the file is checked."""
    phases = read_json(path)
    if not isinstance(phases, dict):
        raise _not_an_index(path)
    for phase, part in phases.items():
        if not isinstance(part, dict):
            raise _not_an_index(path)
        for category, entries in part.items():
            if not isinstance(entries, list):
                kind = type(entries).__name__
                raise ValueError(
                    f"{path}: {phase} → {category} is {kind}, expected a list of entries"
                )
    return phases


def phase_entries(path: Path, phase: str) -> Entries:
    """Return the entries of one phase; the error names the phases that have any."""
    phases = index_phases(path)
    filled = [name for name, part in phases.items() if any(part.values())]
    for name in filled:
        if name.lower() == phase.lower():
            return {category: entries for category, entries in phases[name].items() if entries}
    if not filled:
        raise ValueError(
            f"{path} lists no images at all; make it anew with zsad prepare {path.stem} ROOT"
        )
    others = ", ".join(filled)
    raise ValueError(
        f"{path} has no images in phase {phase!r}; it has some in {others} "
        "(dataset.train_phase=, dataset.test_phase=)"
    )


def category_names(categories: Any) -> list[str] | None:
    """Return category names as an index writes them.

    A single name, or a number, is that one category; YAML reads ``true`` and ``null`` as values.

    >>> category_names([1, "gear", True]), category_names("gear"), category_names(2)
    (['1', 'gear', 'true'], ['gear'], ['2'])
    """
    if categories is None:
        return None
    if isinstance(categories, str) or not isinstance(categories, Iterable):
        categories = [categories]
    names = []
    for category in categories:
        is_word = category is None or isinstance(category, bool)
        names.append(_YAML_WORDS[category] if is_word else str(category))
    return names


def select_categories(entries: Entries, categories: Sequence[str] | None, path: Path) -> Entries:
    """Keep the named categories, in the order of the index."""
    if categories is None:
        return entries
    for name in categories:
        if name not in entries:
            known = ", ".join(entries)
            hint = did_you_mean(name, entries)
            raise ValueError(f"{path} has no category {name}. Known: {known}.{hint}")
    return {name: part for name, part in entries.items() if name in categories}


def _not_an_index(path: Path) -> ValueError:
    return ValueError(
        f'{path} is no index: expected {{"train": {{category: [...]}}, "test": {{...}}}}'
    )


def _split_by_label(entries: Entries) -> tuple[Entries, Entries]:
    """Return the entries with a published label, and those without; no category is empty."""
    labelled: Entries = {}
    unlabelled: Entries = {}
    for category, part in entries.items():
        for entry in part:
            target = unlabelled if is_unlabelled(entry) else labelled
            target.setdefault(category, []).append(entry)
    return labelled, unlabelled


@contextmanager
def _paused_garbage_collector() -> Iterator[None]:
    """Pause the garbage collector, which would walk 150,000 new samples again and again.

    That takes 40 % of the time and finds nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
