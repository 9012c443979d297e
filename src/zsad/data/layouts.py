"""One table of raw folder layouts: what a download looks like, where it comes from, how its masks are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from zsad.data.roots import did_you_mean
from zsad.data.sources import Folders, Record, Source, Tree, VisaTable, matches_below


@dataclass(frozen=True)
class Layout:
    """A download: how to recognise it, where its samples lie, and the facts a user needs.

    Attributes:
        title: Its name in the literature.
        page: Home page.
        licence: Terms of use, as its authors state them.
        sources: What finds the samples.
        landmarks: Patterns below the base folder; one match is enough to recognise the layout. ``<normal>`` stands
            for the names of the normal folder.
        mask_threshold: A mask pixel is defective above this value (0-255).
        archive: File name of the download, empty where there is none.
        sha256: Checksum of the archive, empty where none is published.
    """

    title: str
    page: str
    licence: str
    sources: tuple[Source, ...]
    landmarks: tuple[str, ...]
    mask_threshold: int
    archive: str = ""
    sha256: str = ""

    def named(self, normal: tuple[str, ...] = (), mask_suffix: str | None = None) -> Layout:
        """Return a copy that reads other names for normal folders and masks (``ok``, ``_GT``)."""
        if not normal and mask_suffix is None:
            return self
        folders = tuple(source for source in self.sources if isinstance(source, Folders))
        if len(folders) != len(self.sources):
            raise ValueError(f"{self.title} names its files in its own tables; --normal and --mask-suffix do not apply")
        return replace(self, sources=tuple(source.named(normal, mask_suffix) for source in folders))

    def fits(self, base: Path) -> bool:
        """Tell whether a folder holds this layout directly."""
        return any(matches_below(base, landmark) for landmark in self._spelled_landmarks())

    def base_below(self, root: Path) -> str | None:
        """Return ``""``, or the one nested top folder with a slash, where this layout begins; ``None`` if nowhere."""
        if self.fits(root):
            return ""
        nested = [folder.name for folder in _visible_folders(root) if self.fits(folder)]
        if len(nested) > 1:
            raise ValueError(f"{root} holds {self.title} more than once: name one of {', '.join(nested)} as ROOT")
        return f"{nested[0]}/" if nested else None

    def scan(self, root: Path) -> Tree:
        """List the files of a download, once it is recognised as this layout."""
        base = self.base_below(root)
        if base is None:
            others = [name for name, layout in LAYOUTS.items() if layout.base_below(root) is not None]
            hint = f"; it looks like {' or '.join(others)}" if others else ""
            expected = " or ".join(self._spelled_landmarks())
            raise ValueError(f"{root} does not look like {self.title}: expected {expected} below it{hint}")
        return Tree.scan(root, base)

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a download."""
        for source in self.sources:
            yield from source.records(tree)

    def _spelled_landmarks(self) -> list[str]:
        normals = {name: None for source in self.sources if isinstance(source, Folders) for name in source.normal}
        spelled = [landmark.replace("<normal>", name) for landmark in self.landmarks for name in normals or ("",)]
        return list(dict.fromkeys(spelled))


def _visible_folders(root: Path) -> list[Path]:
    folders = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    return sorted(folder for folder in folders if not folder.name.startswith((".", "__MACOSX")))


_VISA = Layout(
    title="VisA",
    page="https://github.com/amazon-science/spot-diff",
    licence="CC BY 4.0",
    sources=(VisaTable("split_csv/1cls.csv"),),
    landmarks=("split_csv/1cls.csv",),
    mask_threshold=0,  # masks hold class numbers 1-9, so they look black
    archive="VisA_20220922.tar",
    sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
)

LAYOUTS: dict[str, Layout] = {
    "mvtec": Layout(
        title="MVTec AD",
        page="https://www.mvtec.com/company/research/datasets/mvtec-ad",
        licence="CC BY-NC-SA 4.0",
        sources=(
            Folders(
                image="<category>/<phase:train|test>/<defect>/<stem>.*",
                mask="<category>/ground_truth/<defect>/<stem><mask_suffix>.*",
                mask_suffix="_mask",
            ),
        ),
        landmarks=("*/test/<normal>", "*/train/<normal>"),
        mask_threshold=127,
        archive="mvtec_anomaly_detection.tar.xz",
        sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
    ),
    "visa": _VISA,
    "visa_2cls_fewshot": replace(
        _VISA,
        title="VisA (2cls_fewshot)",
        sources=(VisaTable("split_csv/2cls_fewshot.csv"),),
        landmarks=("split_csv/2cls_fewshot.csv",),
    ),
    "visa_2cls_highshot": replace(
        _VISA,
        title="VisA (2cls_highshot)",
        sources=(VisaTable("split_csv/2cls_highshot.csv"),),
        landmarks=("split_csv/2cls_highshot.csv",),
    ),
    "mtd": Layout(
        title="MTD (magnetic tile defects)",
        page="https://github.com/abin24/Magnetic-tile-defect-datasets.",
        licence="none stated; the authors ask for citation",
        sources=(
            Folders(
                image="MT_<defect>/Imgs/<stem>.jpg",
                mask="MT_<defect>/Imgs/<stem>.png",
                category="magnetic_tile",
                normal=("Free",),
                defects={name.capitalize(): name for name in ("blowhole", "break", "crack", "fray", "uneven")},
                masks_of_normal=True,
            ),
        ),
        landmarks=("MT_Free/Imgs", "MT_Blowhole/Imgs"),
        mask_threshold=127,  # the edges are soft and no pixel convention is published
    ),
}


def find_layout(name: str) -> Layout:
    """Return a row of the table; the error names its neighbours."""
    if name in LAYOUTS:
        return LAYOUTS[name]
    raise ValueError(
        f"no layout {name}. Known: {', '.join(LAYOUTS)}.{did_you_mean(name, LAYOUTS)} "
        f"For folders CATEGORY/test/good and CATEGORY/test/DEFECT use --layout mvtec."
    )
