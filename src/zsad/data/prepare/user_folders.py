"""Anybody's own images, as people sort them: folders good/ and bad/, masks beside or apart, or one table."""

from __future__ import annotations

import csv
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from zsad.data.layouts import Layout, find_layout
from zsad.data.prepare.archives import STAMP_FILE
from zsad.data.sources import Record, Tree, natural_key, split_suffix

NORMAL = ("good", "ok", "normal", "negative", "free", "no_defect", "defect_free")
ANOMALOUS = (
    "bad",
    "ng",
    "nok",
    "ko",
    "defect",
    "defects",
    "defective",
    "anomaly",
    "anomalous",
    "abnormal",
    "positive",
)
NORMAL_LABELS = ("0", *NORMAL, "no", "false")
ANOMALOUS_LABELS = ("1", *ANOMALOUS, "yes", "true")
PHASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MASKS = ("masks", "mask", "ground_truth", "ground truth", "groundtruth", "gt")
MASK_SUFFIXES = ("_mask", "-mask", "_masks", "_gt", "_label")
# Heads of a table's columns, the usual name first.
COLUMNS = {
    "image": (
        "image",
        "img_path",
        "image_path",
        "img",
        "path",
        "file",
        "filename",
        "file_name",
        "image_id",
    ),
    "label": ("label", "anomaly", "is_anomalous", "target", "class"),
    "mask": ("mask", "mask_path", "ground_truth", "gt"),
    "category": ("category", "cls_name", "object", "class_name", "product"),
    "defect": ("defect", "specie_name", "defect_type", "anomaly_type", "kind", "type"),
    "phase": ("phase", "split", "set", "subset"),
}
SHOWN_LABELS = 5


@dataclass(frozen=True)
class UserImages(Layout):
    """A layout that is not recognised but read, whatever the folders are: its source says what it misses."""

    def scan(self, root: Path) -> Tree:
        """List the images of a folder; what was packed into an archive as one folder is that folder."""
        shown = [path for path in root.iterdir() if not path.name.startswith((".", "__MACOSX"))]
        is_packed = (root / STAMP_FILE).exists() and len(shown) == 1 and shown[0].is_dir()
        return Tree.scan(root, f"{shown[0].name}/" if is_packed else "")

    def is_published(self, records: Iterable[Record]) -> bool:  # noqa: ARG002 - whatever they are
        """Tell that nobody published them, so nothing can be missing."""
        return False

    def named(self, normal: tuple[str, ...] = (), mask_suffix: str | None = None) -> Layout:
        """Return a copy that reads other names for normal folders and masks."""
        sources = (
            UserFolders(normal or NORMAL, MASK_SUFFIXES if mask_suffix is None else (mask_suffix,)),
        )
        return replace(self, sources=sources)


@dataclass(frozen=True)
class ImageLocation:
    """Where an image or a mask lies, phase taken out.

    Attributes:
        file: The file, relative to the base.
        phase: Of the index; empty where no folder says it.
        folders: The other folders above it, but for that of masks.
        stem: Its name without extension.
    """

    file: str
    phase: str
    folders: tuple[str, ...]
    stem: str

    @classmethod
    def from_path(cls, file: str, without: Sequence[str] = ()) -> ImageLocation:
        """Take a path apart."""
        *folders, name = file.split("/")
        phase = next((PHASES[folder.lower()] for folder in folders if folder.lower() in PHASES), "")
        kept = tuple(folder for folder in folders if folder.lower() not in {*PHASES, *without})
        return cls(file, phase, kept, split_suffix(name)[0])


@dataclass(frozen=True)
class UserFolders:
    """Samples whose label is the name of a folder: ``good/``, ``bad/``, ``bad/KIND/``, or ``KIND/`` beside ``good/``.

    Folders above the label are the category, but for those that name a phase (``train``, ``test``).
    Masks lie below ``masks/`` or ``ground_truth/`` in the folders of their images or fewer of them, or beside the image
    with an end such as ``_mask``.
    """

    normal: tuple[str, ...] = NORMAL
    mask_suffixes: tuple[str, ...] = MASK_SUFFIXES

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a tree.

        Raises:
            ValueError: No folder says what is good or bad, or no mask is named after an image.
        """
        masks = _MaskFiles(tree, self.mask_suffixes)
        images = [ImageLocation.from_path(file) for file in tree.files if file not in masks.files]
        labels = _Labels(images, self.normal)
        records = [
            record
            for location in images
            if (record := self._record(location, labels, masks)) is not None
        ]
        if not records:
            raise ValueError(
                f"{tree.path('')} holds {len(images)} images, none in a folder {self.normal[0]}/ or {ANOMALOUS[0]}/. "
                f"Sort them into such folders (kinds of defect into folders of {ANOMALOUS[0]}/), or list them with "
                f"--table; zsad predict needs no labels"
            )
        masks.require_pairs(tree, records)
        yield from records

    def _record(self, location: ImageLocation, labels: _Labels, masks: _MaskFiles) -> Record | None:
        """Return the sample of an image; ``None`` where no folder says its label."""
        depth, is_anomalous = labels.find(location)
        if depth is None:
            return None
        above, label, kinds = (
            location.folders[:depth],
            location.folders[depth],
            location.folders[depth + 1 :],
        )
        return Record(
            phase=location.phase or "test",
            category="_".join(above),
            image=masks.base + location.file,
            masks=tuple(masks.base + mask for mask in masks.find(location, above, label, kinds))
            if is_anomalous
            else (),
            defect=("_".join(kinds) or label) if is_anomalous else "good",
            is_anomalous=is_anomalous,
        )


class _Labels:
    """Which folder above an image says whether it is normal."""

    def __init__(self, images: Sequence[ImageLocation], normal: Sequence[str]) -> None:
        self._names = dict.fromkeys(ANOMALOUS, True) | dict.fromkeys(
            (name.lower() for name in normal), False
        )
        self._start = 0
        levels = zip(
            *(location.folders for location in images), strict=False
        )  # as deep as the shallowest image
        common = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
        if any(self._depth(location, common) is not None for location in images):
            self._start = (
                common  # a folder around everything says nothing, though it be called defects/
            )
        self._plain = self._folders_with(images, False) - self._folders_with(images, True)

    def find(self, location: ImageLocation) -> tuple[int | None, bool]:
        """Return how many folders lie above the one that says the label, and whether it says anomalous."""
        depth = self._depth(location, self._start)
        if depth is not None:
            return depth, self._names[location.folders[depth].lower()]
        # Kinds of defect beside the normal folder, as in MVTec AD.
        return next(
            (d for d in range(len(location.folders)) if location.folders[:d] in self._plain), None
        ), True

    def _depth(self, location: ImageLocation, start: int) -> int | None:
        return next(
            (
                d
                for d in range(start, len(location.folders))
                if location.folders[d].lower() in self._names
            ),
            None,
        )

    def _folders_with(
        self, images: Sequence[ImageLocation], is_anomalous: bool
    ) -> set[tuple[str, ...]]:
        """Return the folders that hold one of normal (of anomalous) images."""
        found = [(location, self._depth(location, self._start)) for location in images]
        return {
            location.folders[:depth]
            for location, depth in found
            if depth is not None and self._names[location.folders[depth].lower()] is is_anomalous
        }


class _MaskFiles:
    """The masks of a tree, by the folders that they share with their images, and their stem."""

    def __init__(self, tree: Tree, suffixes: Sequence[str]) -> None:
        self.base = tree.base
        self._suffixes = tuple(suffix for suffix in suffixes if suffix)
        stems = {split_suffix(file)[0] for file in tree.files}
        self.files = {file for file in tree.files if self._is_mask(file, stems)}
        self._by_key: dict[tuple[str, ...], list[ImageLocation]] = {}
        for file in tree.files:
            if file in self.files:
                location = ImageLocation.from_path(file, without=MASKS)
                self._by_key.setdefault((*location.folders, self._bare(location.stem)), []).append(
                    location
                )

    def find(
        self, image: ImageLocation, above: tuple[str, ...], label: str, kinds: tuple[str, ...]
    ) -> list[str]:
        """Return the mask of an image: the one that shares most of its folders."""
        for folders in ((*above, label, *kinds), (*above, *kinds), (*above, label), above):
            found = self._by_key.get((*folders, image.stem), [])
            if found := [mask for mask in found if mask.phase in ("", image.phase or "test")]:
                if len(found) > 1:
                    names = ", ".join(mask.file for mask in found)
                    raise ValueError(
                        f"{image.file} has more than one mask of its name: {names}. Keep one."
                    )
                return [found[0].file]
        return []

    def require_pairs(self, tree: Tree, records: Sequence[Record]) -> None:
        """Refuse masks none of which is named after an image: they would be taken for none."""
        if (
            self.files
            and not any(record.masks for record in records)
            and any(r.is_anomalous for r in records)
        ):
            first = min(self.files, key=natural_key)
            raise ValueError(
                f"{tree.path('')} holds {len(self.files)} masks such as {first}, none of them named after a defective "
                f"image; try --mask-suffix with what follows the image's name there"
            )

    def _is_mask(self, file: str, stems: set[str]) -> bool:
        if any(folder.lower() in MASKS for folder in file.split("/")[:-1]):
            return True
        stem = split_suffix(file)[0]
        return any(
            stem.endswith(suffix) and stem.removesuffix(suffix) in stems
            for suffix in self._suffixes
        )

    def _bare(self, stem: str) -> str:
        return next(
            (stem.removesuffix(suffix) for suffix in self._suffixes if stem.endswith(suffix)), stem
        )


@dataclass(frozen=True)
class UserTable:
    """Samples that a CSV file lists: image and label; mask, category, defect and phase where it has such columns."""

    table: Path

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the rows of the table; paths are relative to the root.

        Raises:
            ValueError: No such columns, or labels that say neither normal nor anomalous; all of these are counted.
        """
        rows = self._rows()
        labels = {row["label"]: _label(row["label"]) for row in rows}
        if unknown := [label for label, meaning in labels.items() if meaning is None]:
            shown = ", ".join(repr(label) for label in unknown[:SHOWN_LABELS])
            raise ValueError(
                f"{self.table}: {len(unknown)} unknown labels ({shown}), expected {', '.join(NORMAL_LABELS)}; or "
                f"{', '.join(ANOMALOUS_LABELS)}; kinds of defect belong in a column named defect"
            )
        for row in rows:
            is_anomalous = bool(labels[row["label"]])
            phase = row["phase"].lower()
            yield Record(
                phase=PHASES.get(phase, phase) or "test",
                category=row["category"],
                image=tree.base + row["image"].replace("\\", "/"),
                masks=(tree.base + row["mask"].replace("\\", "/"),)
                if row["mask"] and is_anomalous
                else (),
                defect=row["defect"] if is_anomalous else "good",
                is_anomalous=is_anomalous,
            )

    def _rows(self) -> list[dict[str, str]]:
        """Read the table, values stripped, columns under the names of ``COLUMNS``."""
        text = _text(self.table)
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)
        rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
        columns = _columns(rows.fieldnames or (), self.table)
        table = [
            {ours: (row[theirs] or "").strip() for ours, theirs in columns.items()} for row in rows
        ]
        return [dict.fromkeys(COLUMNS, "") | row for row in table if row["image"]]


def _text(table: Path) -> str:
    """Read a table in UTF-8, or in the UTF-16 that spreadsheets write with a mark at its start."""
    data = table.read_bytes()
    try:
        return data.decode(
            "utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
        )
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{table} is not in UTF-8 (byte {error.start}): save it again as CSV in UTF-8, lest names be misread"
        ) from error


def _columns(heads: Sequence[str], table: Path) -> Mapping[str, str]:
    """Return which head of a table stands for which column."""
    spelled = {head.strip().lower().replace(" ", "_"): head for head in heads}
    found = {
        ours: spelled[name]
        for ours, names in COLUMNS.items()
        for name in reversed(names)
        if name in spelled
    }
    if missing := [column for column in ("image", "label") if column not in found]:
        raise ValueError(
            f"{table} has no column {' and no column '.join(missing)}, got {', '.join(heads) or 'none'}; expected "
            f"image,label and if you like mask,category,defect,phase"
        )
    return found


def _label(text: str) -> bool | None:
    """Return whether a label means anomalous; ``None`` where it means nothing known."""
    word = text.lower().replace(" ", "_").replace("-", "_").removesuffix(".0")
    if word in NORMAL_LABELS:
        return False
    return True if word in ANOMALOUS_LABELS else None


USER_FOLDER = UserImages(
    title="images of your own",
    page="",
    licence="yours",
    sources=(UserFolders(),),
    mask_threshold=127,
    group="own",
    how="put good images into ROOT/good and defective ones into ROOT/bad (kinds of defect in folders below it), and "
    "masks of the same names into ROOT/masks, if there are any: zsad prepare folder ROOT --name NAME; "
    "or list them: zsad prepare folder ROOT --name NAME --table labels.csv",
)
USER_LAYOUTS: dict[str, Layout] = {"folder": USER_FOLDER}


def resolve_layout(name: str) -> Layout:
    """Return ``folder``, or a row of the table of layouts."""
    return USER_LAYOUTS[name] if name in USER_LAYOUTS else find_layout(name)


def table_layout(table: Path, root: Path) -> Layout:
    """Return the layout of images that a table lists; the table is looked for here, then below the root.

    Raises:
        FileNotFoundError: No such table.
    """
    for location in (table, root / table):
        if location.is_file():
            return replace(USER_FOLDER, sources=(UserTable(location),))
    raise FileNotFoundError(
        f"no table {table}, neither here nor in {root}; expected a CSV file with image,label"
    )
