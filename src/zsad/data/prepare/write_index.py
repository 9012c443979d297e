"""Write the checked index of a download; the download itself is never altered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zsad.atomic_write import restored_on_failure
from zsad.data.index_entries import Problem
from zsad.data.layouts import Layout
from zsad.data.locations import save_root, write_json
from zsad.data.prepare.columns import align_columns
from zsad.data.prepare.dataset_names import check_name, require_free_name
from zsad.data.prepare.dataset_yaml import write_dataset_yaml
from zsad.data.prepare.downloads import find_download
from zsad.data.prepare.index_content import Counts, count_records, index_content, sorted_records
from zsad.data.prepare.missing_files import (
    completeness_notes,
    label_notes,
    missing_masks,
    require_named_masks,
)
from zsad.data.prepare.problem_lists import list_skipped, refusal
from zsad.data.prepare.record_checks import (
    Progress,
    choose_threshold,
    file_problems,
    find_value_ranges,
    inconsistencies,
)
from zsad.data.prepare.user_folders import USER_FOLDER, USER_FOLDER_NAME, UserImages, resolve_layout
from zsad.data.prepare.user_tables import table_layout
from zsad.data.sources import Record, Tree


@dataclass(frozen=True)
class PreparedDataset:
    """Files that ``prepare`` wrote, with the counts of the index.

    Attributes:
        index: The index file.
        dataset_yaml: The dataset's configuration; a user's own is kept as it is.
        counts: (phase, category, normal, anomalous, masks of anomalous) per phase and category.
        notes: Facts that a user should know, though they stop nothing.
    """

    index: Path
    dataset_yaml: Path
    counts: list[Counts]
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the counts as a table, then the notes."""
        rows: list[tuple[str, ...]] = [("phase", "category", "normal", "anomalous", "with mask")]
        for counts in self.counts:
            rows.append(tuple(map(str, counts)))
        lines = [f"wrote {self.index}", *align_columns(rows)]
        for note in self.notes:
            lines.append(f"note: {note}")
        return "\n".join(lines)


@dataclass(frozen=True)
class PrepareOptions:
    """Options for reading a download.

    Attributes:
        normal: Other names of the normal folder than the layout's (``ok``).
        mask_suffix: Another suffix of mask names than the layout's (``_GT``).
        mask_prefix: A prefix of mask names (``mask_``).
        mask_threshold: Another mask rule than the layout's: defective above this value (0-255).
        table: A CSV file that lists the images, instead of a layout.
        allow_missing_masks: Accept anomalous images without their masks; their pixels then count
            nowhere.
        skip_bad_images: Leave out images that cannot be used, and list them in a file; otherwise
            they stop everything.
        overwrite: Replace a dataset of the same name whose images lie in another folder.
        compare_checksum: Compare an archive with its published checksum.
    """

    normal: Sequence[str] = ()
    mask_suffix: str | None = None
    mask_prefix: str | None = None
    mask_threshold: int | None = None
    table: Path | None = None
    allow_missing_masks: bool = False
    skip_bad_images: bool = False
    overwrite: bool = False
    compare_checksum: bool = True


@dataclass(frozen=True)
class CheckedRecords:
    """Records of a download after the check of all files.

    Attributes:
        sound: Records without a problem in their files.
        conflicts: Files that records must not share.
        broken: Problems in the files of the other records.
        missing: Anomalous images without the masks that the download publishes.
    """

    sound: list[Record]
    conflicts: list[Problem]
    broken: list[Problem]
    missing: list[Problem]

    @property
    def problems(self) -> list[Problem]:
        """Return every problem."""
        return [*self.conflicts, *self.broken, *self.missing]

    def is_usable(self, skip_bad_images: bool) -> bool:
        """Tell whether an index of the sound records can be written."""
        if self.conflicts or self.missing:
            return False
        return not self.broken or (skip_bad_images and bool(self.sound))


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
    """Write ``data_json/NAME.json`` and ``conf/dataset/NAME.yaml`` and remember the root.

    Args:
        name: Name of the dataset from now on.
        root: The download: a folder (one nested top folder is accepted), an archive, or a folder
            of archives. ``None``: the folder in which a run would look for it.
        layout: Row of ``LAYOUTS``, or ``folder`` for images of a user; the row of the same name
            where ``None``.
        data_json: Folder of the indexes.
        conf: Folder of the dataset configurations.
        progress: Called after every image.
        unpacking: Called with the bytes read of archives and the bytes in all.
        **choices: Fields of ``PrepareOptions``.

    Raises:
        FileNotFoundError: No such root; the message says how to get the download.
        ValueError: Unknown layout, a folder of another layout, or files that do not fit; all of
            those are counted. A name that cannot be said, or is taken.
    """
    options = PrepareOptions(**choices)
    check_name(name, layout)
    row = _choose_layout(layout or name, options)
    folder, notes = find_download(
        name, row, root, data_json=data_json, compare=options.compare_checksum, progress=unpacking
    )
    chosen_layout = USER_FOLDER_NAME if options.table else layout
    require_free_name(name, folder, chosen_layout, data_json, options.overwrite)
    if options.table:
        row = table_layout(options.table, folder)
    if options.mask_threshold is not None:
        row = replace(row, mask_threshold=options.mask_threshold)
    tree = row.scan(folder)
    records = _read_records(name, row, tree)
    checked = _check_records(records, row, tree, options, progress)
    index = data_json / f"{name}.json"
    if not checked.is_usable(options.skip_bad_images):
        raise refusal(index, folder, checked.problems)
    sound = checked.sound
    threshold, mask_notes = choose_threshold(
        sound, tree.root, row.mask_threshold, is_fixed=_is_rule_fixed(row, options)
    )
    wanted = options.mask_threshold
    if threshold != row.mask_threshold:
        wanted = threshold
    value_ranges, range_notes = find_value_ranges(sound, tree.root)
    dataset_yaml = conf / f"{name}.yaml"
    with restored_on_failure(index, dataset_yaml):
        if options.overwrite:
            dataset_yaml.unlink(missing_ok=True)
        write_json(index, index_content(sound, value_ranges))
        yaml_notes = write_dataset_yaml(dataset_yaml, name, threshold, wanted)[1]
        save_root(name, folder, data_json)
    notes += yaml_notes
    notes += list_skipped(index, checked.broken, len(records) - len(sound))
    notes += _link_notes(tree)
    notes += label_notes(sound)
    notes += completeness_notes(row, tree, sound)
    notes += _unused_notes(row, tree, records)
    notes += mask_notes + range_notes
    return PreparedDataset(index, dataset_yaml, count_records(sound), notes)


def _choose_layout(name: str, options: PrepareOptions) -> Layout:
    """Return the layout by which a download is found; a table replaces its sources later."""
    if options.table:
        return USER_FOLDER
    layout = resolve_layout(name)
    return layout.with_names(tuple(options.normal), options.mask_suffix, options.mask_prefix)


def _is_rule_fixed(row: Layout, options: PrepareOptions) -> bool:
    """Tell whether the mask rule is the user's or the download's, not a default for own images."""
    if options.mask_threshold is not None:
        return True
    return options.table is None and not isinstance(row, UserImages)


def _read_records(name: str, row: Layout, tree: Tree) -> list[Record]:
    """Return the samples of a download in the order of the index.

    The dataset's name is the category of samples without a folder of a category.
    """
    records: list[Record] = []
    for record in row.records(tree):
        records.append(record if record.category else replace(record, category=name))
    if not records:
        raise ValueError(
            f"{tree.root} has the folders of {row.title}, but no image in them; "
            f"is the download complete?"
        )
    return sorted_records(records)


def _check_records(
    records: Sequence[Record],
    row: Layout,
    tree: Tree,
    options: PrepareOptions,
    progress: Progress | None,
) -> CheckedRecords:
    """Check names and files of all records."""
    conflicts = list(inconsistencies(records))
    if not options.allow_missing_masks:
        require_named_masks(records, row, tree)
    sound: list[Record] = []
    broken: list[Problem] = []
    all_problems = file_problems(records, tree.root, progress)
    for record, problems in zip(records, all_problems, strict=True):
        broken += problems
        if not problems:
            sound.append(record)
    missing: list[Problem] = []
    if not options.allow_missing_masks:
        # An image that is left out needs no mask.
        missing = missing_masks(row, sound if options.skip_bad_images else records)
    return CheckedRecords(sound, conflicts, broken, missing)


def _link_notes(tree: Tree) -> list[str]:
    return [f"{link} is a link to a folder and was not followed" for link in tree.linked_folders]


def _unused_notes(row: Layout, tree: Tree, records: Sequence[Record]) -> list[str]:
    """Return the note about a user's images that are in no index: a folder may be misspelled."""
    if not isinstance(row, UserImages):
        return []
    used: set[str] = set()
    for record in records:
        used.update((record.image, *record.masks))
    unused = [file for file in tree.files if tree.base + file not in used]
    if not unused:
        return []
    return [f"not in the index: {len(unused)} of {len(tree.files)} files, such as {unused[0]}"]
