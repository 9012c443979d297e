"""Turn a download into a checked index; the download itself is never altered."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zsad.atomic_write import write_whole
from zsad.data.index import SHOWN_PROBLEMS, Problem
from zsad.data.layouts import Layout
from zsad.data.locations import ROOTS_FILE, remember_root, write_json
from zsad.data.prepare.downloads import find_download
from zsad.data.prepare.missing_files import completeness_notes, missing_masks
from zsad.data.prepare.record_checks import (
    Progress,
    file_problems,
    inconsistencies,
    threshold_remarks,
)
from zsad.data.prepare.user_folders import (
    USER_FOLDER,
    USER_LAYOUTS,
    UserImages,
    resolve_layout,
    table_layout,
)
from zsad.data.sources import Folders, Record, Tree, split_suffix


@dataclass(frozen=True)
class PreparedDataset:
    """What ``prepare`` made.

    Attributes:
        index: The index file.
        dataset_yaml: The dataset's configuration; a user's own is kept as it is.
        counts: (phase, category, normal, anomalous, masks of anomalous) per phase and category.
        notes: What a user should know, though it stops nothing.
    """

    index: Path
    dataset_yaml: Path
    counts: list[tuple[str, str, int, int, int]]
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the counts as a table, then the notes."""
        head = ("phase", "category", "normal", "anomalous", "with mask")
        rows = [head, *(tuple(str(value) for value in row) for row in self.counts)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([f"wrote {self.index}", *lines, *(f"note: {note}" for note in self.notes)])


@dataclass(frozen=True)
class PrepareOptions:
    """How ``prepare`` reads a download.

    Attributes:
        normal: Other names of the normal folder than the layout's (``ok``).
        mask_suffix: Another end of mask names than the layout's (``_GT``).
        mask_threshold: Another mask rule than the layout's: defective above this value (0-255).
        table: A CSV file that lists the images, instead of a layout.
        allow_missing_masks: Accept anomalous images without their masks; their pixels then count nowhere.
        skip_bad_images: Leave out images that cannot be used, and write down which; otherwise they stop everything.
        compare_checksum: Compare an archive with its published checksum.
    """

    normal: Sequence[str] = ()
    mask_suffix: str | None = None
    mask_threshold: int | None = None
    table: Path | None = None
    allow_missing_masks: bool = False
    skip_bad_images: bool = False
    compare_checksum: bool = True


def prepare(
    name: str,
    root: Path | None = None,
    layout: str | None = None,
    *,
    data_json: Path = Path("data_json"),
    conf: Path = Path("conf/dataset"),
    progress: Progress | None = None,
    unpacking: Progress | None = None,
    **choices: Any,
) -> PreparedDataset:
    """Write ``data_json/NAME.json`` for a download, remember its root, give it a ``conf/dataset/NAME.yaml``.

    Args:
        name: Name of the dataset from now on.
        root: The download: a folder (one nested top folder is accepted), an archive, or a folder of archives. ``None``:
            where a run would look for it.
        layout: Row of ``LAYOUTS``, or ``folder`` for images of one's own; the row of the same name where ``None``.
        data_json: Folder of the indexes.
        conf: Folder of the dataset configurations.
        progress: Called after every image.
        unpacking: Called with the bytes read of archives and the bytes in all.
        **choices: Fields of ``PrepareOptions``.

    Raises:
        FileNotFoundError: No such root; where to get the download.
        ValueError: Unknown layout, a folder of another layout, or files that do not fit; all of those are counted.
    """
    chosen = PrepareOptions(**choices)
    _check_name(name, layout)
    row = (
        USER_FOLDER
        if chosen.table
        else resolve_layout(layout or name).named(tuple(chosen.normal), chosen.mask_suffix)
    )
    compare = chosen.compare_checksum
    folder, remarks = find_download(
        name, row, root, data_json=data_json, compare=compare, progress=unpacking
    )
    if chosen.table:
        row = table_layout(chosen.table, folder)
    if chosen.mask_threshold is not None:
        row = replace(row, mask_threshold=chosen.mask_threshold)
    tree = row.scan(folder)
    records = _read_records(name, row, tree)
    wrong = list(inconsistencies(records))
    if not chosen.allow_missing_masks:
        _require_named_masks(records, row, tree)
    sound, broken = _sort_out(records, tree.root, progress)
    used = sound if chosen.skip_bad_images else records  # what is left out needs no mask
    missing = [] if chosen.allow_missing_masks else missing_masks(row, used)
    index = data_json / f"{name}.json"
    if wrong or missing or (broken and not (chosen.skip_bad_images and sound)):
        raise ValueError(_refusal(index, folder, [*wrong, *broken, *missing]))
    write_json(index, index_content(sound))
    remember_root(name, folder, data_json)
    dataset_yaml, kept = _write_dataset_yaml(
        conf / f"{name}.yaml", name, row.mask_threshold, chosen.mask_threshold
    )
    remarks += [
        *kept,
        *_skipped(index, broken, len(records) - len(sound)),
        *_notes(tree),
        *completeness_notes(row, tree, sound),
    ]
    remarks += [
        *_left_out(row, tree, records),
        *threshold_remarks(sound, tree.root, row.mask_threshold),
    ]
    return PreparedDataset(index, dataset_yaml, count_records(sound), remarks)


def _check_name(name: str, layout: str | None) -> None:
    if name in USER_LAYOUTS and layout is None:
        raise ValueError(
            f"give the images a name: zsad prepare {name} ROOT --name NAME; it is then dataset=NAME"
        )
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name) or f"{name}.json" == ROOTS_FILE:
        raise ValueError(
            f"{name!r} cannot name a dataset: use letters, digits, _ and - (not {Path(ROOTS_FILE).stem})"
        )


def _read_records(name: str, row: Layout, tree: Tree) -> list[Record]:
    """Return the samples of a download in their order; without a folder that says the category it is the name."""
    records = [
        each if each.category else replace(each, category=name) for each in row.records(tree)
    ]
    if not records:
        raise ValueError(
            f"{tree.root} has the folders of {row.title}, but no image in them; is the download complete?"
        )
    return sorted_records(records)


def sorted_records(records: Iterable[Record]) -> list[Record]:
    """Return records by phase and category; within a category in the order they came, which is the natural one."""
    return sorted(records, key=lambda record: (record.phase, record.category))


def index_content(records: Iterable[Record]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the content of an index; ``train`` and ``test`` are always there, since published readers expect them."""
    phases: dict[str, dict[str, list[dict[str, Any]]]] = {"train": {}, "test": {}}
    for record in records:
        phases.setdefault(record.phase, {}).setdefault(record.category, []).append(
            {
                "img_path": record.image,
                "mask_path": list(record.masks) if len(record.masks) > 1 else "".join(record.masks),
                "cls_name": record.category,
                "specie_name": record.defect,
                "anomaly": None if record.is_anomalous is None else int(record.is_anomalous),
            }
        )
    return phases


def count_records(records: Iterable[Record]) -> list[tuple[str, str, int, int, int]]:
    """Return (phase, category, normal, anomalous, anomalous with a mask), in the order of the records.

    Images whose label is not published are in no column.
    """
    labels: Counter[tuple[str, str, bool | None]] = Counter()
    masked: Counter[tuple[str, str]] = Counter()
    keys: dict[tuple[str, str], None] = {}
    for record in records:
        key = (record.phase, record.category)
        keys[key] = None
        labels[*key, record.is_anomalous] += 1
        masked[key] += bool(record.is_anomalous and record.masks)
    return [(*key, labels[*key, False], labels[*key, True], masked[key]) for key in keys]


def _sort_out(
    records: Sequence[Record], root: Path, progress: Progress | None
) -> tuple[list[Record], list[Problem]]:
    """Return the records whose files are sound, and everything that is wrong with the others."""
    problems = file_problems(records, root, progress)
    sound = [record for record, found in zip(records, problems, strict=True) if not found]
    return sound, [problem for found in problems for problem in found]


def _require_named_masks(records: Sequence[Record], row: Layout, tree: Tree) -> None:
    """Refuse files of other names where masks belong: they would be taken for none."""
    anomalous = [record for record in records if record.is_anomalous]
    has_none = bool(anomalous) and not any(record.masks for record in anomalous)
    for source in row.sources if has_none else ():
        if isinstance(source, Folders) and (files := source.mask_files(tree)):
            raise ValueError(_strangers_text(source, files, tree))


def _strangers_text(source: Folders, files: Sequence[str], tree: Tree) -> str:
    """Return the sentence about files that lie where masks belong, though none is named after an image."""
    folder, _, name = (source.mask or "").rpartition("/")
    expected = split_suffix(name.replace("<mask_suffix>", source.mask_suffix))[0]
    suffix = "''" if source.mask_suffix else "_mask"
    return (
        f"{tree.path('')}: {folder} holds {len(files)} files such as {files[0]}, none named {expected} after its image;"
        f" try --mask-suffix {suffix}, or whatever follows <stem> there (--allow-missing-masks does without them)"
    )


def _refusal(index: Path, root: Path, problems: Sequence[Problem]) -> str:
    """Return what is wrong, counted; the whole list goes to a file where it is too long for a screen."""
    kinds = ", ".join(
        f"{count} x {kind}" for kind, count in Counter(problem.kind for problem in problems).items()
    )
    shown = "\n".join(f"  {problem}" for problem in problems[:SHOWN_PROBLEMS])
    more = len(problems) - SHOWN_PROBLEMS
    tail = (
        f"\n  … and {more} more, all in {_write_list(index, 'problems', problems)}"
        if more > 0
        else ""
    )
    return (
        f"no index written for {index.stem}: {root} has {kinds}\n{shown}{tail}\nFetch these files again"
        f" (--on-bad-image skip leaves out images that cannot be read,"
        f" --allow-missing-masks accepts anomalous images without masks)"
    )


def _write_list(index: Path, what: str, problems: Sequence[Problem]) -> Path:
    return write_whole(
        index.with_name(f"{index.stem}.{what}.txt"), "".join(f"{problem}\n" for problem in problems)
    )


def _skipped(index: Path, problems: Sequence[Problem], count: int) -> Iterator[str]:
    """Write down what was skipped and yield the remark about it; take away the lists of an earlier call."""
    for what in ("problems", "skipped"):
        index.with_name(f"{index.stem}.{what}.txt").unlink(missing_ok=True)
    if problems:
        yield f"{count} of the images skipped; which and why: {_write_list(index, 'skipped', problems)}"


def _notes(tree: Tree) -> list[str]:
    return [f"{link} is a link to a folder and was not followed" for link in tree.linked_folders]


def _left_out(row: Layout, tree: Tree, records: Sequence[Record]) -> Iterator[str]:
    """Yield how many of one's own images are in no index, lest a misspelled folder go unseen."""
    if not isinstance(row, UserImages):
        return
    used = {path for record in records for path in (record.image, *record.masks)}
    if rest := [file for file in tree.files if tree.base + file not in used]:
        yield f"not in the index: {len(rest)} of {len(tree.files)} files, such as {rest[0]}"


def _write_dataset_yaml(
    path: Path, name: str, mask_threshold: int, wanted: int | None
) -> tuple[Path, list[str]]:
    """Write a missing configuration, or another threshold into one that an earlier call wrote.

    Returns it, and a remark if a user's own may say another threshold.
    """
    quoted = json.dumps(name, ensure_ascii=False)  # 01, null, on and 1e3 are no strings to YAML
    head = f"defaults: [_json, _self_]\nname: {quoted}\nmask_threshold: "
    there = path.read_text(encoding="utf-8") if path.exists() else None
    is_ours = there is None or re.fullmatch(re.escape(head) + r"[0-9]+\n", there)
    if there is not None and not (is_ours and wanted is not None):
        says_so = f"mask_threshold: {mask_threshold}\n" in there
        kept = f"{path} is there and was kept: the mask_threshold in it counts, not {wanted}; change it there"
        return path, [] if wanted is None or says_so else [kept]
    return write_whole(path, f"{head}{mask_threshold}\n"), []
