"""The layout of a raw download: facts, sources of samples, and recognition of folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from zsad.data.sources import Folders, Listing, Record, Source, Tree

MAX_DEPTH = 2  # folders that archives put around a download


@dataclass(frozen=True)
class Layout:
    """A download: its facts for users, the sources of its samples, the patterns of its folders.

    Patterns are paths below the base folder in which ``*`` stands for anything, ``<category>`` for
    each of the categories and ``<normal>`` for each name of the normal folder.

    Attributes:
        title: Its name in the literature.
        homepage: Address of its web page.
        licence: Terms of use, as its authors state them.
        sources: Sources of its samples.
        mask_threshold: A mask pixel is defective above this value (0-255).
        group: ``industrial`` or ``medical``: datasets whose results are averaged together.
        instructions: One sentence: how to get it, and what must lie where.
        unique_patterns: Patterns that only this download has; one match is enough.
        shared_patterns: Patterns that other downloads may have, too; one match is enough where no
            other download is recognised.
        top_folders: Names of its top folder; a folder of this name that matches a shared pattern is
            this download.
        categories: Its categories, where they are folders; a folder with half of them that matches
            a shared pattern is this download.
        archive: File name of the download, empty where there is none, or several.
        sha256: Checksum of the archive, empty where none is published.
        md5: The same, where the authors publish this one.
        bytes: Approximate size of the download; ``None`` where unknown.
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

    def with_names(
        self,
        normal: tuple[str, ...] = (),
        mask_suffix: str | None = None,
        mask_prefix: str | None = None,
    ) -> Layout:
        """Return a copy that reads other names for normal folders and masks (``ok``, ``_GT``).

        Raises:
            ValueError: If the download lists its samples in tables.
        """
        if not normal and mask_suffix is None and mask_prefix is None:
            return self
        renamed: list[Source] = []
        for source in self.sources:
            if not isinstance(source, Folders):
                raise ValueError(
                    f"{self.title} names its files in its own tables; --normal, --mask-suffix "
                    "and --mask-prefix do not apply"
                )
            renamed.append(source.with_names(normal, mask_suffix, mask_prefix))
        return replace(self, sources=tuple(renamed))

    def is_certain(self, listing: Listing, folder: str) -> bool:
        """Return whether a folder holds this layout directly, and no other."""
        if any(listing.has(folder, pattern) for pattern in self._unique_patterns):
            return True
        known = set(self.categories).intersection(listing.folders(folder))
        has_known_categories = bool(self.categories) and 2 * len(known) >= len(self.categories)
        has_known_name = listing.name(folder) in self.top_folders
        return (has_known_categories or has_known_name) and self.is_possible(listing, folder)

    def is_possible(self, listing: Listing, folder: str) -> bool:
        """Return whether a folder may hold this layout directly."""
        return any(listing.has(folder, pattern) for pattern in self._shared_patterns)

    def scan(self, root: Path) -> Tree:
        """List the files of a download that is recognised as this layout, in the root or below it.

        Raises:
            ValueError: The folder holds another download, none, or this one more than once.
        """
        bases, others = self._find(Listing(root))
        if not bases:
            hint = f". {self.instructions}"
            if others:
                hint = "; it looks like " + " or ".join(others)
            raise ValueError(
                f"{root} does not look like {self.title}: expected {self.expected} below it{hint}"
            )
        if len(bases) > 1:
            names = ", ".join(base.rstrip("/") for base in bases)
            raise ValueError(
                f"{root} holds {self.title} more than once: name one of {names} as ROOT"
            )
        return Tree.scan(root, bases[0])

    def _find(self, listing: Listing) -> tuple[list[str], list[str]]:
        """Return the folders that hold this layout, else the names of other layouts that fit."""
        for fits in (Layout.is_certain, Layout.is_possible):
            bases = _matching_folders(listing, partial(fits, self))
            if bases:
                return bases, []
            others = _matching_layouts(listing, fits)
            if others:
                return [], others
        return [], []

    def records(self, tree: Tree) -> Iterator[Record]:
        """Yield the samples of a download."""
        for source in self.sources:
            yield from source.records(tree)

    def is_published(self, records: Iterable[Record]) -> bool:
        """Return whether samples are the published ones, not a user's own in the same folders."""
        if not self.categories:
            return True
        found = {record.category for record in records}
        return 2 * len(found.intersection(self.categories)) > len(found)

    @property
    def expected(self) -> str:
        """The patterns that must lie below the root, ``CATEGORY`` for any category."""
        patterns = (*self.unique_patterns, *self.shared_patterns)
        return " or ".join(self._fill_in(patterns, ("CATEGORY",)))

    @cached_property
    def _unique_patterns(self) -> list[str]:
        return self._fill_in(self.unique_patterns, self.categories)

    @cached_property
    def _shared_patterns(self) -> list[str]:
        return self._fill_in(self.shared_patterns, self.categories)

    def _fill_in(self, patterns: Iterable[str], categories: Iterable[str]) -> list[str]:
        """Replace ``<category>`` and ``<normal>`` by each of their names."""
        normal_names: dict[str, None] = {}  # a set that keeps the order
        for source in self.sources:
            if isinstance(source, Folders):
                normal_names |= dict.fromkeys(source.normal)
        filled = _replace_field(patterns, "<category>", categories)
        return _replace_field(filled, "<normal>", normal_names)


def _replace_field(patterns: Iterable[str], field: str, values: Iterable[str]) -> list[str]:
    """Return the patterns with a field once for each value, all others as they are."""
    replaced: list[str] = []
    for pattern in patterns:
        if field in pattern:
            replaced += [pattern.replace(field, value) for value in values]
        else:
            replaced.append(pattern)
    return replaced


def _matching_layouts(listing: Listing, fits: Callable[[Layout, Listing, str], bool]) -> list[str]:
    """Return the names of the layouts that a folder fits."""
    from zsad.data.layouts import LAYOUTS  # the table, whose rows need this module first

    matching: list[str] = []
    for name, layout in LAYOUTS.items():
        if _matching_folders(listing, partial(fits, layout)):
            matching.append(name)
    return matching


def _matching_folders(listing: Listing, fits: Callable[[Listing, str], bool]) -> list[str]:
    """Return the folders that fit and are nearest to the root: ``""``, or nested with a slash."""
    folders = [""]
    for _ in range(MAX_DEPTH + 1):
        matching = [folder for folder in folders if fits(listing, folder)]
        if matching:
            return matching
        nested: list[str] = []
        for folder in folders:
            nested += [f"{folder}{name}/" for name in listing.folders(folder)]
        folders = nested
    return []
