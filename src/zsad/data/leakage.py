"""What tells images apart without keeping them, so that a test can say whether an image was learned from.

Legend: n, m images, k words of 64 bits, S side of the thumbnail.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image, ImageOps

from zsad.data.images import DECODE_ERRORS, PIL_FORMATS, UnreadableImageError, to_eight_bits
from zsad.types import Sample

log = logging.getLogger("zsad")

# The numbers below are one choice, measured together (tests/data/test_leakage.py): change one, raise the version.
_VERSION = 1
_THUMBNAIL_PX = 64
_DRAFT_PX = 8 * _THUMBNAIL_PX  # a JPEG is decoded no smaller than this
_FREQUENCIES = np.arange(
    4, 20
)  # half-cycles per side: finer than pose and light, coarser than JPEG and resizing
_POSITIONS = np.pi / _THUMBNAIL_PX * (np.arange(_THUMBNAIL_PX) + 0.5)
_BASIS = (
    np.cos(np.outer(_FREQUENCIES, _POSITIONS)) * (2 / _THUMBNAIL_PX) ** 0.5
)  # rows of an orthonormal DCT
_WORDS = len(_FREQUENCIES) ** 2 // 64
_NEAR_BITS = 16  # of 256: copies differ by less, different pictures of one product by more
_FEATURELESS = 0.5  # mean size of a coefficient, in grey levels: below is rounding, which would match by accident

_CHUNK_PAIRS = 1_000_000  # about 10 MB at a time
_LOG_EVERY_S = 10.0
_EXAMPLES = 3
_SHOWN_PARTS = 3  # of a path: enough to find it below the dataset's root
_NAMED = 5  # categories in a sentence


@dataclass(frozen=True)
class Fingerprints:
    """What is remembered of a set of images: 40 bytes each, and the names of their categories.

    Attributes:
        content: (n,) first 64 bits of a hash of the file, byte by byte.
        perceptual_hash: (n, 4) signs of 256 cosine coefficients of the grey image; 0 for an image
            without features, which is like no other.
        categories: Sorted names.
        paths: Where the images are; empty when read from a checkpoint.
    """

    content: Int64[np.ndarray, " n"]
    perceptual_hash: Int64[np.ndarray, "n k"]
    categories: tuple[str, ...]
    paths: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.content)

    def to_state(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, for a checkpoint: 54 characters an image.

        Paths stay out of it: they may tell who had the images.
        """
        return {
            "version": _VERSION,
            "content": _packed(self.content),
            "look": _packed(self.perceptual_hash),
            "categories": list(self.categories),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Fingerprints":
        """Undo ``to_state``.

        Raises:
            ValueError: If another version of zsad wrote it, whose pictures would look like none of today's.
        """
        if state.get("version") != _VERSION:
            raise ValueError(
                f"fingerprints of version {state.get('version')}, expected {_VERSION}: what was learned from cannot be "
                "compared with what is tested. Train again with this version, or test with the one that trained"
            )
        try:
            content, look = (
                _unpacked(state["content"]),
                _unpacked(state["look"]).reshape(-1, _WORDS),
            )
            categories = tuple(map(str, state["categories"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"damaged fingerprints ({error}): take the checkpoint from where it was made"
            ) from error
        if len(content) != len(look):
            raise ValueError(
                f"damaged fingerprints ({len(content)} files, {len(look)} pictures): take the checkpoint from where it "
                "was made"
            )
        return cls(content, look, categories)


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of what is tested was learned from.

    Attributes:
        tested: Number of tested images.
        duplicates: How many of them are, byte by byte, files that were learned from.
        near_duplicates: How many more look the same: saved again, resized, or without colour.
        categories: Names that occur on both sides, as the tested side writes them.
        examples: A few paths of the images that ``duplicates`` and ``near_duplicates`` count.
    """

    tested: int
    duplicates: int
    near_duplicates: int
    categories: tuple[str, ...]
    examples: tuple[str, ...] = ()

    @property
    def is_zero_shot(self) -> bool:
        """Whether no tested image was learned from. A category of the same name alone does not contradict it."""
        return self.duplicates + self.near_duplicates == 0

    def sentences(self) -> list[str]:
        """Say what a reader of the results has to know; nothing where nothing is shared."""
        shown = ", ".join(
            Path(*Path(path).parts[-_SHOWN_PARTS:]).as_posix() for path in self.examples
        )
        examples = f" (such as {shown})" if shown else ""
        said = []
        if self.duplicates:
            said.append(
                f"not zero-shot: {self.duplicates} of {self.tested} tested images were learned from{examples}"
            )
        if self.near_duplicates:
            examples = "" if self.duplicates else examples
            said.append(
                f"not zero-shot: {self.near_duplicates} of {self.tested} tested images look like "
                f"copies of images that were learned from{examples}"
            )
        if self.categories:
            distinct = "; their images are others" if self.is_zero_shot else ""
            said.append(
                f"categories of the same name were learned: {_listed(self.categories)}{distinct}"
            )
        return said


def _packed(words: Int64[np.ndarray, "..."]) -> str:
    return base64.b64encode(words.astype("<i8").tobytes()).decode("ascii")


def _unpacked(text: str) -> Int64[np.ndarray, " n"]:
    return np.frombuffer(base64.b64decode(text, validate=True), "<i8").astype(np.int64)


def compute_fingerprints(samples: Sequence[Sample], threads: int | None = None) -> Fingerprints:
    """Read every image once and remember what tells it from others; masks and labels play no part.

    Large JPEGs are decoded at a fraction of their size. What takes long says in the log how far it is.

    Args:
        samples: Images and their categories.
        threads: By default one per core, eight at most.

    Raises:
        FileNotFoundError: No such file.
        UnreadableImageError: A file that cannot be decoded.
    """
    content = np.empty(len(samples), dtype=np.int64)
    look = np.empty((len(samples), _WORDS), dtype=np.int64)
    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(_fingerprint, (sample.image_path for sample in samples))
        for i, words in enumerate(_told(found, len(samples))):
            content[i], look[i] = words
    categories = tuple(sorted({sample.category for sample in samples}))
    return Fingerprints(
        content, look, categories, tuple(str(sample.image_path) for sample in samples)
    )


def find_overlap(learned: Fingerprints, tested: Fingerprints) -> Overlap:
    """Compare what is tested with what was learned from."""
    same = np.isin(tested.content, learned.content)
    near = _has_near(tested.perceptual_hash, learned.perceptual_hash) & ~same
    known = {_plain(name) for name in learned.categories}
    shared = [*np.flatnonzero(same), *np.flatnonzero(near)][:_EXAMPLES] if tested.paths else []
    return Overlap(
        tested=len(tested),
        duplicates=int(same.sum()),
        near_duplicates=int(near.sum()),
        categories=tuple(name for name in tested.categories if _plain(name) in known),
        examples=tuple(tested.paths[i] for i in shared),
    )


def _fingerprint(path: Path) -> tuple[np.int64, Int64[np.ndarray, " k"]]:
    data = path.read_bytes()
    content = np.frombuffer(blake2b(data, digest_size=8).digest(), dtype="<i8")[0]
    return np.int64(content), _look(_thumbnail(data, path))


def _thumbnail(data: bytes, path: Path) -> UInt8[np.ndarray, "s s"]:
    """Return the picture upright, grey, and small. Bilinear: a box of few pixels would move with the picture's size."""
    try:
        with Image.open(io.BytesIO(data), formats=PIL_FORMATS) as image:
            image.draft("L", (_DRAFT_PX, _DRAFT_PX))  # heeded by JPEG alone
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            small = (
                to_eight_bits(image)
                .convert("L")
                .resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.BILINEAR)
            )
    except DECODE_ERRORS as error:
        text = (
            f"cannot read {path} ({error}): fetch it again; zsad verify NAME lists every such file"
        )
        raise UnreadableImageError(text) from error
    return np.asarray(small)


def _look(thumbnail: UInt8[np.ndarray, "s s"]) -> Int64[np.ndarray, " k"]:
    """Hash a picture by the signs of its middle frequencies, those along the axes left out.

    Why: the lowest frequencies are the product and its light, which a whole dataset shares; vignetting and the edges
    of the frame lie on the axes; the highest do not survive JPEG. Signs do not depend on contrast and brightness.
    """
    coefficients = _BASIS @ thumbnail.astype(np.float64) @ _BASIS.T
    if np.abs(coefficients).mean() < _FEATURELESS:
        return np.zeros(_WORDS, dtype=np.int64)
    return np.packbits(coefficients > 0).view("<i8").astype(np.int64)


def _has_near(
    tested: Int64[np.ndarray, "m k"], learned: Int64[np.ndarray, "n k"]
) -> Bool[np.ndarray, " m"]:
    """Tell which rows have a row within ``_NEAR_BITS`` on the other side; rows of zeros have none."""
    found = np.zeros(len(tested), dtype=bool)
    others = learned[learned.any(axis=1)].view(
        np.uint64
    )  # unsigned: numpy counts the bits of absolute values
    rows = np.flatnonzero(tested.any(axis=1))
    step = max(1, _CHUNK_PAIRS // max(1, len(others)))
    for chunk in (rows[i : i + step] for i in range(0, len(rows), step)):
        words = tested[chunk].view(np.uint64)
        # The first word alone rules out nearly every pair.
        i, j = np.nonzero(np.bitwise_count(words[:, None, 0] ^ others[None, :, 0]) <= _NEAR_BITS)
        distances = np.bitwise_count(words[i] ^ others[j]).sum(axis=1)
        found[chunk[i[distances <= _NEAR_BITS]]] = True
    return found


def _told(found: Iterable[Any], total: int) -> Iterator[Any]:
    """Pass things on, and log from time to time how many."""
    said = time.monotonic()
    for done, each in enumerate(found, start=1):
        yield each
        if time.monotonic() - said > _LOG_EVERY_S:
            said = time.monotonic()
            log.info("fingerprints: %d of %d images", done, total)


def _plain(name: str) -> str:
    """Write ``Metal_Nut`` and ``metal-nut`` as ``metal nut``."""
    return " ".join(re.split(r"[\s_-]+", name.strip().casefold()))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
