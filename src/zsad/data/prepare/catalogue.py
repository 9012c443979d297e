"""List the known datasets: size, licence, page, and the files of each on this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from zsad.data.index import index_phases
from zsad.data.layouts import LAYOUTS, Layout
from zsad.data.locations import GENERATED, dataset_names, did_you_mean, find_root
from zsad.data.prepare.columns import align_columns
from zsad.data.prepare.downloads import download_instructions, format_size
from zsad.data.prepare.user_folders import USER_LAYOUTS, resolve_layout

USER_GROUP = "own"
GROUPS_OF_MACHINE = (USER_GROUP, GENERATED)  # these may be empty
HEADS = ("dataset", "group", "images", "size", "licence", "here", "page")
LICENCE_WIDTH = 18


@dataclass(frozen=True)
class DatasetRow:
    """A dataset: the facts of its download, and its state on this machine.

    Attributes:
        name: As in ``dataset=NAME``.
        group: ``industrial``, ``medical``, ``synthetic`` or ``own``.
        images: Published number, empty where unknown.
        size: Of the download, empty where unknown.
        licence: Terms of use.
        here: Number of images in its index, and whether their folder is there.
        page: Home page.
    """

    name: str
    group: str
    images: str
    size: str
    licence: str
    here: str
    page: str

    def cells(self) -> tuple[str, ...]:
        """Return the texts of a line, the licence in short."""
        licence = re.split("[;,]", self.licence)[0]
        if len(licence) > LICENCE_WIDTH:
            shortened = licence[: LICENCE_WIDTH - 1]
            licence = f"{shortened.rstrip()}…"
        return astuple(replace(self, licence=licence))


def list_datasets(data_json: Path, group: str | None = None) -> list[DatasetRow]:
    """Return every known download, then every other dataset that has an index.

    Raises:
        ValueError: No such group.
    """
    rows: list[DatasetRow] = []
    groups: set[str] = set(GROUPS_OF_MACHINE)
    for name in dict.fromkeys([*LAYOUTS, *dataset_names(data_json)]):
        row = _row(name, LAYOUTS.get(name), data_json)
        rows.append(row)
        groups.add(row.group)
    if group is not None and group not in groups:
        known = sorted(groups)
        hint = did_you_mean(group, known)
        raise ValueError(f"no group {group}. Known: {', '.join(known)}.{hint}")
    shown = [row for row in rows if group in (None, row.group)]
    return sorted(shown, key=lambda row: row.group)


def format_table(rows: Sequence[DatasetRow], width: int) -> str:
    """Return a line per dataset; with its page if the lines then fit into ``width`` columns."""
    cells = [HEADS, *map(DatasetRow.cells, rows)]
    lines = align_columns(cells)
    if max(map(len, lines)) > width:
        lines = align_columns([line[:-1] for line in cells])
    about = (
        f"{len(rows)} datasets. zsad datasets NAME: where to get one, and its files; "
        f"zsad prepare NAME"
    )
    return "\n".join([*lines, "", about])


def describe_dataset(name: str, data_json: Path) -> str:
    """Return all facts about a dataset.

    Raises:
        ValueError: No such dataset.
    """
    prepared = dataset_names(data_json)
    is_download = name in LAYOUTS
    if name in prepared and not is_download:
        return f"{name}: prepared on this machine\n  here         {_here(name, data_json)}"
    if not is_download and name not in USER_LAYOUTS:
        known = [*LAYOUTS, *USER_LAYOUTS, *prepared]
        hint = did_you_mean(name, known)
        raise ValueError(f"no dataset {name}. Known: {', '.join(known)}.{hint}")
    layout = resolve_layout(name)
    command = "" if is_download else "zsad prepare folder ROOT --name NAME"
    lines = [download_instructions(name, layout, command), f"  group        {layout.group}"]
    if layout.images:
        lines.append(f"  images       {layout.images:,}")
    if layout.sha256:
        lines.append(f"  checksum     sha256 {layout.sha256}")
    elif layout.md5:
        lines.append(f"  checksum     md5 {layout.md5}")
    here = _here(name, data_json) if is_download else ""
    if here:
        lines.append(f"  here         {here}")
    return "\n".join(lines)


def _row(name: str, layout: Layout | None, data_json: Path) -> DatasetRow:
    here = _here(name, data_json)
    if layout is None:
        group = GENERATED if name.startswith(GENERATED) else USER_GROUP
        return DatasetRow(name, group, images="", size="", licence="", here=here, page="")
    images = "" if layout.images is None else f"{layout.images:,}"
    size = format_size(layout.bytes)
    return DatasetRow(name, layout.group, images, size, layout.licence, here, layout.homepage)


def _here(name: str, data_json: Path) -> str:
    """Return the state of a dataset on this machine: index, images, both or nothing."""
    has_root = True
    try:
        find_root(name, None, data_json)
    except FileNotFoundError:
        has_root = False
    index = data_json / f"{name}.json"
    if not index.is_file():
        return "folder, no index" if has_root else ""
    count = 0
    for categories in index_phases(index).values():
        count += sum(map(len, categories.values()))
    return f"{count:,} images" if has_root else "index only"
