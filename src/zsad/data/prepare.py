"""Turn a download into a checked index; the download itself is never altered."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zsad.data.images import UnreadableImageError, size_difference, upright_size
from zsad.data.index import SHOWN_PROBLEMS, Disk, Problem
from zsad.data.layouts import Layout, find_layout
from zsad.data.roots import ROOTS_FILE, remember_root, write_json
from zsad.data.sources import Folders, Record, Tree, split_suffix

Progress = Callable[[int, int], None]  # (images done, images in all)


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` made.

    Attributes:
        index: The index file.
        dataset_yaml: The dataset's configuration, written only where it was missing.
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
        lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([f"wrote {self.index}", *lines, *(f"note: {note}" for note in self.notes)])


def prepare(
    name: str,
    root: Path,
    layout: str | None = None,
    *,
    data_json: Path = Path("data_json"),
    conf: Path = Path("conf/dataset"),
    normal: Sequence[str] = (),
    mask_suffix: str | None = None,
    allow_missing_masks: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Write ``data_json/NAME.json`` for a download, remember its root, give it a ``conf/dataset/NAME.yaml``.

    Args:
        name: Name of the dataset from now on.
        root: The unpacked download; one nested top folder is accepted.
        layout: Row of ``LAYOUTS``; the row of the same name where ``None``.
        data_json: Folder of the indexes.
        conf: Folder of the dataset configurations.
        normal: Other names of the normal folder than the layout's (``ok``).
        mask_suffix: Another end of mask names than the layout's (``_GT``).
        allow_missing_masks: Accept anomalous images without their masks; their pixels then count nowhere.
        progress: Called after every image.

    Raises:
        FileNotFoundError: No such root.
        ValueError: Unknown layout, a folder of another layout, or files that do not fit; all of those are counted.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name) or f"{name}.json" == ROOTS_FILE:
        raise ValueError(f"{name!r} cannot name a dataset: use letters, digits, _ and - (not {Path(ROOTS_FILE).stem})")
    row = find_layout(layout or name).named(tuple(normal), mask_suffix)
    tree = row.scan(_existing(root, name))
    records = sorted_records(row.records(tree))
    if not records:
        raise ValueError(f"{root} has the folders of {row.title}, but no image in them; is the download complete?")
    problems = [] if allow_missing_masks else _missing_masks(records, row, tree)
    problems = [*_inconsistencies(records), *_broken_files(records, tree.root, progress), *problems]
    if problems:
        raise ValueError(_refusal(name, root, problems))
    index = data_json / f"{name}.json"
    write_json(index, index_content(records))
    remember_root(name, root, data_json)
    dataset_yaml = _write_dataset_yaml(conf / f"{name}.yaml", name, row.mask_threshold)
    return Prepared(index, dataset_yaml, count_records(records), _notes(tree))


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
                "anomaly": int(record.is_anomalous),
            }
        )
    return phases


def count_records(records: Iterable[Record]) -> list[tuple[str, str, int, int, int]]:
    """Return (phase, category, normal, anomalous, anomalous with a mask), in the order of the records."""
    total: Counter[tuple[str, str]] = Counter()
    anomalous: Counter[tuple[str, str]] = Counter()
    masked: Counter[tuple[str, str]] = Counter()
    for record in records:
        key = (record.phase, record.category)
        total[key] += 1
        anomalous[key] += record.is_anomalous
        masked[key] += record.is_anomalous and bool(record.masks)
    return [(*key, total[key] - anomalous[key], anomalous[key], masked[key]) for key in total]


def _existing(root: Path, name: str) -> Path:
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}: unpack the download and run zsad prepare {name} /path/to/it")
    return root.absolute()


def _inconsistencies(records: Sequence[Record]) -> Iterator[Problem]:
    """Yield images listed twice, masks that two images share, and files that are image and mask at once."""
    images = Counter(record.image for record in records)
    masks = Counter(mask for record in records for mask in record.masks)
    yield from (Problem("listed twice", image, "") for image, count in images.items() if count > 1)
    yield from (Problem("mask of two images", mask, "") for mask, count in masks.items() if count > 1)
    yield from (Problem("both image and mask", path, "") for path in images.keys() & masks.keys())


def _broken_files(records: Sequence[Record], root: Path, progress: Progress | None) -> Iterator[Problem]:
    """Yield files that are missing, leave the root, cannot be opened, or differ in size from their image."""
    disk = Disk(root)
    for done, record in enumerate(records, start=1):
        yield from check_headers(record.image, record.masks, disk)
        if progress is not None:
            progress(done, len(records))


def check_headers(image: str, masks: Sequence[str], disk: Disk) -> Iterator[Problem]:
    """Yield what is wrong with an image and its masks as far as file headers tell."""
    sizes: dict[str, tuple[int, int]] = {}
    for path in (image, *masks):
        _, problem = disk.locate(path)
        if problem:
            yield Problem(problem, path, "")
            continue
        try:
            sizes[path] = upright_size(Path(disk.root, path))
        except UnreadableImageError as error:
            yield Problem("unreadable", path, str(error.__cause__))
    for mask in masks:
        if image in sizes and mask in sizes and sizes[image] != sizes[mask]:
            detail = size_difference(Path(image), sizes[image], Path(mask), sizes[mask])
            yield Problem("sizes differ", mask, detail)


def _missing_masks(records: Sequence[Record], row: Layout, tree: Tree) -> list[Problem]:
    """Return the anomalous images without masks, unless the whole download has none."""
    anomalous = [record for record in records if record.is_anomalous]
    if any(record.masks for record in anomalous):
        return [Problem("no mask", record.image, "") for record in anomalous if not record.masks]
    for source in row.sources if anomalous else ():
        if isinstance(source, Folders) and (files := source.mask_files(tree)):
            raise ValueError(_strangers_text(source, files, tree))
    return []


def _strangers_text(source: Folders, files: Sequence[str], tree: Tree) -> str:
    """Return the sentence about files that lie where masks belong, though none is named after an image."""
    folder, _, name = (source.mask or "").rpartition("/")
    expected = split_suffix(name.replace("<mask_suffix>", source.mask_suffix))[0]
    suffix = "''" if source.mask_suffix else "_mask"
    return (
        f"{tree.path('')}: {folder} holds {len(files)} files such as {files[0]}, none named {expected} after its image;"
        f" try --mask-suffix {suffix}, or whatever follows <stem> there (--allow-missing-masks does without them)"
    )


def _refusal(name: str, root: Path, problems: Sequence[Problem]) -> str:
    kinds = ", ".join(f"{count} x {kind}" for kind, count in Counter(problem.kind for problem in problems).items())
    shown = "\n".join(f"  {problem}" for problem in problems[:SHOWN_PROBLEMS])
    more = len(problems) - SHOWN_PROBLEMS
    tail = f"\n  … and {more} more" if more > 0 else ""
    return (
        f"no index written for {name}: {root} has {kinds}\n{shown}{tail}\nFetch these files again"
        f" (--allow-missing-masks accepts anomalous images without masks)"
    )


def _notes(tree: Tree) -> list[str]:
    return [f"{link} is a link to a folder and was not followed" for link in tree.linked_folders]


def _write_dataset_yaml(path: Path, name: str, mask_threshold: int) -> Path:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        quoted = json.dumps(name, ensure_ascii=False)  # 01, null, on and 1e3 are no strings to YAML
        text = f"defaults: [_json, _self_]\nname: {quoted}\nmask_threshold: {mask_threshold}\n"
        path.write_text(text, encoding="utf-8")
    return path
