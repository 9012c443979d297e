"""Predict for pictures that belong to no dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from zsad.config import renamed_keys
from zsad.data.images import ImageDataset, collate
from zsad.data.index import read_unlabelled
from zsad.data.layouts import LAYOUTS
from zsad.data.locations import find_index, find_root
from zsad.data.sources import IMAGE_SUFFIXES, natural_key
from zsad.model_files.learned import find_checkpoint, read_learned_state
from zsad.types import Batch, Sample

UNLABELLED = "unlabelled"


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the image files that are meant: files as they are, folders searched through in natural order.

    Raises:
        FileNotFoundError: If a path does not exist, or nothing in a folder looks like an image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such image or folder: {path}")
        inside = [path] if path.is_file() else _images_below(path)
        if not inside:
            raise FileNotFoundError(
                f"no images below {path}: expected names in {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        found += inside
    return list(dict.fromkeys(found))


def read_provenance(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint says about itself, under present names; empty for published files.

    Raises:
        FileNotFoundError, ValueError: As ``read_learned_state``.
    """
    learned = read_learned_state(find_checkpoint(checkpoint))
    return renamed_keys.rename_learned(learned).provenance


def image_loader(files: Sequence[Path], image_size: int | None, category: str) -> DataLoader[Batch]:
    """Return batches of one image whose truth is unknown."""
    return sample_loader([_sample(path, category) for path in files], image_size)


def unlabelled_samples(name: str, data_json: Path, track: str = "") -> list[Sample]:
    """Return the images of a prepared dataset's test phase whose labels are not published.

    Args:
        name: The dataset.
        data_json: Folder of the indexes.
        track: Only those below a folder of this name, where there are any: a challenge may have several tracks, with
            images of equal names.

    Raises:
        FileNotFoundError, ValueError: If it is not prepared, or has no such images.
    """
    root = find_root(name, None, data_json)
    images = read_unlabelled(find_index(name, data_json, LAYOUTS), root, "test")
    found = [(path, category) for category, paths in images.items() for path in paths]
    of_track = [
        (path, category) for path, category in found if track in path.relative_to(root).parts
    ]
    return [_sample(path, category) for path, category in of_track or found]


def sample_loader(samples: Sequence[Sample], image_size: int | None) -> DataLoader[Batch]:
    """Return batches of one image."""
    return DataLoader(ImageDataset(samples, image_size), batch_size=1, collate_fn=collate)


def _sample(path: Path, category: str) -> Sample:
    return Sample(path, None, category, UNLABELLED, is_anomalous=True)


def _images_below(folder: Path) -> list[Path]:
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES
    )
    return sorted(files, key=lambda path: natural_key(path.as_posix()))
