"""Fingerprints of images: 40 bytes each, by which copies are recognised without the images.

Legend: n images, k words of 64 bits, s side of the thumbnail.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps

from zsad.data.decoding import open_image, to_eight_bits
from zsad.types import Sample

log = logging.getLogger("zsad")

# The numbers below, and NEAR_BITS of leakage.py, are one choice, measured together
# (tests/data/test_leakage.py): change one, raise the version.
_VERSION = 1
_THUMBNAIL_PX = 64
_DRAFT_PX = 8 * _THUMBNAIL_PX  # a JPEG is decoded no smaller than this
# Half-cycles per side: finer than pose and light, coarser than JPEG and resizing.
_FREQUENCIES = np.arange(4, 20)
_POSITIONS = np.pi / _THUMBNAIL_PX * (np.arange(_THUMBNAIL_PX) + 0.5)
# Rows of an orthonormal DCT.
_BASIS = np.cos(np.outer(_FREQUENCIES, _POSITIONS)) * (2 / _THUMBNAIL_PX) ** 0.5
_WORDS = len(_FREQUENCIES) ** 2 // 64
# Mean size of a coefficient, in grey levels. Below is rounding, which would match by accident.
_FEATURELESS = 0.5

_MAX_THREADS = 8
_LOG_EVERY_S = 10.0


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of a set of images, and the names of their categories.

    Attributes:
        content: (n,) first 64 bits of a hash of the file, byte by byte.
        perceptual_hash: (n, 4) signs of 256 cosine coefficients of the grey image; 0 for an image
            without features, which is like no other.
        categories: Sorted names.
        paths: Paths of the images; empty when read from a checkpoint.
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
            "content": _encode(self.content),
            "look": _encode(self.perceptual_hash),  # the key of version 0.1
            "categories": list(self.categories),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Fingerprints":
        """Undo ``to_state``.

        Raises:
            ValueError: Damaged, or of another version, whose hashes cannot be compared with these.
        """
        if state.get("version") != _VERSION:
            raise ValueError(
                f"fingerprints of version {state.get('version')}, expected {_VERSION}: the "
                "training images cannot be compared with the tested ones. Train again with this "
                "version, or test with the one that trained"
            )
        try:
            content = _decode(state["content"])
            perceptual_hash = _decode(state["look"]).reshape(-1, _WORDS)
            categories = tuple(map(str, state["categories"]))
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(str(error)) from error
        if len(content) != len(perceptual_hash):
            raise _damaged(f"{len(content)} files, {len(perceptual_hash)} images")
        return cls(content, perceptual_hash, categories)


def compute_fingerprints(samples: Sequence[Sample], threads: int | None = None) -> Fingerprints:
    """Read every image once and return the fingerprints; masks and labels play no part.

    Large JPEGs are decoded at a fraction of their size. Progress is logged every ten seconds.

    Args:
        samples: Images and their categories.
        threads: By default one per core, eight at most.

    Raises:
        FileNotFoundError: No such file.
        UnreadableImageError: A file that cannot be decoded.
    """
    threads = threads or min(_MAX_THREADS, os.cpu_count() or 1)
    paths = [sample.image_path for sample in samples]
    content = np.empty(len(samples), dtype=np.int64)
    hashes = np.empty((len(samples), _WORDS), dtype=np.int64)
    with ThreadPoolExecutor(threads) as pool:
        results = _log_progress(pool.map(_compute_fingerprint, paths), len(samples))
        for i, (content_word, hash_words) in enumerate(results):
            content[i] = content_word
            hashes[i] = hash_words
    categories = sorted({sample.category for sample in samples})
    return Fingerprints(content, hashes, tuple(categories), tuple(map(str, paths)))


def _compute_fingerprint(path: Path) -> tuple[np.int64, Int64[np.ndarray, " k"]]:
    data = path.read_bytes()
    digest = blake2b(data, digest_size=8).digest()
    content = np.frombuffer(digest, dtype="<i8")[0]
    return np.int64(content), _perceptual_hash(_thumbnail(data, path))


def _thumbnail(data: bytes, path: Path) -> UInt8[np.ndarray, "s s"]:
    """Return the image upright, grey, and small.

    Bilinear: a box of few pixels would move with the image's size.
    """
    with open_image(path, io.BytesIO(data)) as image:
        image.draft("L", (_DRAFT_PX, _DRAFT_PX))  # JPEG alone; other formats ignore it
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        grey = to_eight_bits(image).convert("L")
        small = grey.resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.BILINEAR)
    return np.asarray(small)


def _perceptual_hash(thumbnail: UInt8[np.ndarray, "s s"]) -> Int64[np.ndarray, " k"]:
    """Hash an image by the signs of its middle frequencies, those along the axes left out.

    Why: the lowest frequencies are the product and its light, which a whole dataset shares;
    vignetting and the edges of the frame lie on the axes; the highest do not survive JPEG. Signs
    do not depend on contrast and brightness.
    """
    coefficients = _BASIS @ thumbnail.astype(np.float64) @ _BASIS.T
    if np.abs(coefficients).mean() < _FEATURELESS:
        return np.zeros(_WORDS, dtype=np.int64)
    words = np.packbits(coefficients > 0).view("<i8")
    return words.astype(np.int64)


def _log_progress(items: Iterable[Any], total: int) -> Iterator[Any]:
    """Pass items on, and log their number from time to time."""
    last_log = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last_log > _LOG_EVERY_S:
            last_log = time.monotonic()
            log.info("fingerprints: %d of %d images", done, total)


def _encode(words: Int64[np.ndarray, "..."]) -> str:
    return base64.b64encode(words.astype("<i8").tobytes()).decode("ascii")


def _decode(text: str) -> Int64[np.ndarray, " n"]:
    data = base64.b64decode(text, validate=True)
    return np.frombuffer(data, "<i8").astype(np.int64)


def _damaged(reason: str) -> ValueError:
    return ValueError(
        f"damaged fingerprints ({reason}): copy the checkpoint again from its original place"
    )
