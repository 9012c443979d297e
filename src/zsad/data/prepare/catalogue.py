"""The datasets that are known: what they are, where they come from, and what of them is on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsad.data.index import index_phases
from zsad.data.layouts import LAYOUTS, Layout
from zsad.data.locations import GENERATED, dataset_names, did_you_mean, find_root
from zsad.data.prepare.downloads import download_instructions, format_size
from zsad.data.prepare.user_folders import USER_LAYOUTS, resolve_layout

GROUPS_OF_MACHINE = ("own", GENERATED)  # which may be empty
HEADS = ("dataset", "group", "images", "size", "licence", "here", "page")
LICENCE_WIDTH = 18
GAP = "  "


@dataclass(frozen=True)
class DatasetRow:
    """A dataset: the facts of its download, and what is here.

    Attributes:
        name: As in ``dataset=NAME``.
        group: ``industrial``, ``medical``, ``synthetic`` or ``own``.
        images: Published number, empty where unknown.
        size: Of the download, empty where unknown.
        licence: Terms of use.
        here: How many images its index lists, and whether their folder is there.
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
        """Return the texts of a line."""
        licence = self.licence.partition(";")[0].partition(",")[0]
        if len(licence) > LICENCE_WIDTH:
            licence = f"{licence[: LICENCE_WIDTH - 1].rstrip()}…"
        return (self.name, self.group, self.images, self.size, licence, self.here, self.page)


def list_datasets(data_json: Path, group: str | None = None) -> list[DatasetRow]:
    """Return every known download, then every other dataset that has an index.

    Raises:
        ValueError: No such group.
    """
    own = [name for name in dataset_names(data_json) if name not in LAYOUTS]
    found = [_row(name, LAYOUTS.get(name), data_json) for name in (*LAYOUTS, *own)]
    groups = sorted({*GROUPS_OF_MACHINE, *(row.group for row in found)})
    if group is not None and group not in groups:
        raise ValueError(
            f"no group {group}. Known: {', '.join(groups)}.{did_you_mean(group, groups)}"
        )
    return sorted((row for row in found if group in (None, row.group)), key=lambda row: row.group)


def format_table(rows: Sequence[DatasetRow], width: int) -> str:
    """Return a line each; with the page where the lines then still fit into ``width`` columns."""
    cells = [HEADS, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADS))]
    if sum(widths) + len(GAP) * (len(widths) - 1) > width:
        widths = widths[:-1]
    lines = [
        GAP.join(text.ljust(size) for text, size in zip(line, widths, strict=False)).rstrip()
        for line in cells
    ]
    about = f"{len(rows)} datasets. zsad datasets NAME: where to get one, and what must lie where; zsad prepare NAME"
    return "\n".join([*lines, "", about])


def describe_dataset(name: str, data_json: Path) -> str:
    """Return all that is known of one dataset."""
    prepared = dataset_names(data_json)
    if name in prepared and name not in LAYOUTS:
        return f"{name}: prepared on this machine\n  here         {_here(name, data_json)}"
    if name not in LAYOUTS and name not in USER_LAYOUTS:
        known = [*LAYOUTS, *USER_LAYOUTS, *prepared]
        raise ValueError(
            f"no dataset {name}. Known: {', '.join(known)}.{did_you_mean(name, known)}"
        )
    layout = resolve_layout(name)
    command = "zsad prepare folder ROOT --name NAME" if name in USER_LAYOUTS else ""
    lines = [download_instructions(name, layout, command), f"  group        {layout.group}"]
    if layout.images:
        lines.append(f"  images       {layout.images:,}")
    if layout.sha256 or layout.md5:
        lines.append(
            f"  checksum     {f'sha256 {layout.sha256}' if layout.sha256 else f'md5 {layout.md5}'}"
        )
    here = _here(name, data_json) if name in LAYOUTS else ""
    return "\n".join([*lines, f"  here         {here}"] if here else lines)


def _row(name: str, layout: Layout | None, data_json: Path) -> DatasetRow:
    here = _here(name, data_json)
    if layout is None:
        return DatasetRow(
            name, GENERATED if name.startswith(GENERATED) else "own", "", "", "", here, ""
        )
    images = "" if layout.images is None else f"{layout.images:,}"
    return DatasetRow(
        name, layout.group, images, format_size(layout.bytes), layout.licence, here, layout.page
    )


def _here(name: str, data_json: Path) -> str:
    """Return what of a dataset is on this machine: an index, its images, both or nothing."""
    has_root = True
    try:
        find_root(name, None, data_json)
    except FileNotFoundError:
        has_root = False
    index = data_json / f"{name}.json"
    if not index.is_file():
        return "folder, no index" if has_root else ""
    phases = index_phases(index)
    count = sum(len(entries) for categories in phases.values() for entries in categories.values())
    return f"{count:,} images" if has_root else "index only"
