"""What a row of the table of layouts says, and how a download is recognised as one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from zsad.data.sources import Folders, Listing, Record, Source, Tree

MAX_DEPTH = 2  # folders that archives put around a download


@dataclass(frozen=True)
class Layout:
    """A download: how to recognise it, where its samples lie, and the facts a user needs.

    Patterns are paths below the base folder in which ``*`` stands for anything, ``<category>`` for each of the
    categories and ``<normal>`` for each name of the normal folder.

    Attributes:
        title: Its name in the literature.
        homepage: Home page.
        licence: Terms of use, as its authors state them.
        sources: What finds the samples.
        mask_threshold: A mask pixel is defective above this value (0-255).
        group: ``industrial`` or ``medical``: what its results are averaged with.
        instructions: One sentence: how to get it, and what must lie where.
        unique_patterns: Patterns that only this download has; one match is enough.
        shared_patterns: Patterns that other downloads may have, too; one match is enough where no other download
            is recognised.
        top_folders: Names of its top folder; a folder of this name and this shape is this download.
        categories: Its categories, where they are folders; half of them in this shape are this download.
        archive: File name of the download, empty where there is none, or several.
        sha256: Checksum of the archive, empty where none is published.
        md5: The same, where the authors publish this one.
        bytes: Size of the download, about; ``None`` where unknown.
        images: Published number of images; ``None`` where none is published.
    """

    title: str
    homepage: str
    licence: str
    sources: tuple[Source, ...]
    mask_threshold: int
    group: str
    instructions: str
    unique_patterns: tuple[str, ...] = ()
    shared_patterns: tuple[str, ...] = ()
    top_folders: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    archive: str = ""
    sha256: str = ""
    md5: str = ""
    bytes: int | None = None
    images: int | None = None

    def with_names(self, normal: tuple[str, ...] = (), mask_suffix: str | None = None) -> Layout:
        """Return a copy that reads other names for normal folders and masks (``ok``, ``_GT``)."""
        if not normal and mask_suffix is None:
            return self
        folders = tuple(source for source in self.sources if isinstance(source, Folders))
        if len(folders) != len(self.sources):
            raise ValueError(
                f"{self.title} names its files in its own tables; --normal and --mask-suffix do not apply"
            )
        return replace(
            self, sources=tuple(source.with_names(normal, mask_suffix) for source in folders)
        )

    def is_certain(self, listing: Listing, folder: str) -> bool:
        """Tell whether a folder holds this layout directly, and no other."""
        if any(listing.has(folder, pattern) for pattern in self._unique_patterns):
            return True
        known = len(set(self.categories).intersection(listing.folders(folder)))
        is_known = bool(self.categories) and 2 * known >= len(self.categories)
        return (is_known or listing.name(folder) in self.top_folders) and self.is_possible(
            listing, folder
        )

    def is_possible(self, listing: Listing, folder: str) -> bool:
        """Tell whether a folder may hold this layout directly."""
        return any(listing.has(folder, pattern) for pattern in self._shared_patterns)

    def scan(self, root: Path) -> Tree:
        """List the files of a download, once it is recognised as this layout; nested top folders are accepted.

        Raises:
            ValueError: The folder holds another download, none, or this one more than once.
        """
        listing = Listing(root)
        bases = _places(listing, self.is_certain)
        if not bases and not (others := _recognised(listing, Layout.is_certain)):
            bases = _places(listing, self.is_possible)
            others = [] if bases else _recognised(listing, Layout.is_possible)
        if not bases:
            hint = f"; it looks like {' or '.join(others)}" if others else f". {self.instructions}"
            raise ValueError(
                f"{root} does not look like {self.title}: expected {self.expected} below it{hint}"
            )
        if len(bases) > 1:
            names = ", ".join(base.rstrip("/") for base in bases)
            raise ValueError(
                f"{root} holds {self.title} more than once: name one of {names} as ROOT"
            )
        return Tree.scan(root, bases[0])

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a download."""
        for source in self.sources:
            yield from source.records(tree)

    def is_published(self, records: Iterable[Record]) -> bool:
        """Tell whether samples are the published ones, rather than somebody's own in the same folders."""
        found = {record.category for record in records}
        return not self.categories or 2 * len(found.intersection(self.categories)) > len(found)

    @property
    def expected(self) -> str:
        """What must lie below the root: the patterns, ``CATEGORY`` for any category."""
        return " or ".join(
            self._spelled((*self.unique_patterns, *self.shared_patterns), ("CATEGORY",))
        )

    @cached_property
    def _unique_patterns(self) -> list[str]:
        return self._spelled(self.unique_patterns, self.categories)

    @cached_property
    def _shared_patterns(self) -> list[str]:
        return self._spelled(self.shared_patterns, self.categories)

    def _spelled(self, patterns: tuple[str, ...], categories: tuple[str, ...]) -> list[str]:
        """Put names in the place of ``<category>`` and ``<normal>``."""
        normals = {
            name: None
            for source in self.sources
            if isinstance(source, Folders)
            for name in source.normal
        }
        for name, values in (("<category>", categories), ("<normal>", tuple(normals))):
            patterns = tuple(
                pattern.replace(name, value)
                for pattern in patterns
                for value in (values if name in pattern else ("",))
            )
        return list(patterns)


def _recognised(listing: Listing, fits: Callable[[Layout, Listing, str], bool]) -> list[str]:
    """Return the names of the rows that a folder fits."""
    from zsad.data.layouts import LAYOUTS  # the table, whose rows need this module first

    return [name for name, layout in LAYOUTS.items() if _places(listing, partial(fits, layout))]


def _places(listing: Listing, fits: Callable[[Listing, str], bool]) -> list[str]:
    """Return ``""``, or the nested folders with a slash, that fit; those nearest to the root only."""
    folders = [""]
    for _ in range(MAX_DEPTH + 1):
        found = [folder for folder in folders if fits(listing, folder)]
        if found:
            return found
        folders = [f"{folder}{name}/" for folder in folders for name in listing.folders(folder)]
    return []
