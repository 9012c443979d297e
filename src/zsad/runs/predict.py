"""Images without labels: files of a user, and unlabelled images of prepared datasets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from zsad.config import renamed_keys
from zsad.data.image_files import IMAGE_SUFFIXES, natural_key
from zsad.data.images import ImageDataset, collate
from zsad.data.index import read_unlabelled
from zsad.data.layouts import LAYOUTS
from zsad.data.locations import find_index, find_root
from zsad.data.value_range import ValueRange, check_value_range, find_stored_values
from zsad.model_files.learned import read_learned_state
from zsad.model_files.run_checkpoints import find_checkpoint
from zsad.types import Batch, Sample

UNLABELLED = "unlabelled"


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return image files: given files as they are, files of folders in natural order.

    Raises:
        FileNotFoundError: If a path does not exist, or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such image or folder: {path}")
        inside = [path] if path.is_file() else _images_below(path)
        if not inside:
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise FileNotFoundError(f"no images below {path}: expected names in {suffixes}")
        found += inside
    return list(dict.fromkeys(found))


def read_provenance(checkpoint: Path) -> dict[str, Any]:
    """Return the provenance of a checkpoint, under present names; empty for published files.

    Raises:
        FileNotFoundError, ValueError: As ``read_learned_state``.
    """
    learned = read_learned_state(find_checkpoint(checkpoint))
    return renamed_keys.rename_learned(learned).provenance


def image_loader(
    files: Sequence[Path],
    image_size: int | None,
    category: str,
    value_range: ValueRange | None = None,
) -> DataLoader[Batch]:
    """Return a loader of single image files of one category, without labels."""
    return sample_loader([_sample(path, category, value_range) for path in files], image_size)


def choose_value_range(
    files: Sequence[Path], given: Sequence[int | float] | None, kept: Sequence[int | float] | None
) -> tuple[ValueRange | None, list[str]]:
    """Return the values shown as black and as white in images of more than 8 bits, and a note.

    Args:
        files: All images of the prediction; their range is one, found over all of them.
        given: The range of the user, taken before all others.
        kept: The range of the images that the thresholds were chosen on.

    Raises:
        ValueError: ``given`` or ``kept`` is no range.
    """
    stored = find_stored_values(files)
    if stored is None:
        return None, []
    chosen = given or kept
    if chosen is not None:
        low, high = check_value_range(chosen)
        source = "as given" if given else "as for the thresholds"
        return (low, high), [f"values of 16 bits and more: {low:.6g} to {high:.6g}, {source}"]
    if stored.is_usual:
        return None, []
    of_one = " (by this image alone: another may be shown otherwise)"
    note = stored.describe() + (of_one if len(stored.files) == 1 else "")
    return stored.range, [f"{note}; another range: --set dataset.value_range=[LOW,HIGH]"]


def unlabelled_samples(name: str, data_json: Path, track: str = "") -> list[Sample]:
    """Return the images of a prepared dataset's test phase whose labels are not published.

    Args:
        name: The dataset.
        data_json: Folder of the indexes.
        track: Only images below a folder of this name, if there are any: a challenge may have
            several tracks, with images of equal names.

    Raises:
        FileNotFoundError, ValueError: If it is not prepared, or has no such images.
    """
    root = find_root(name, None, data_json)
    images = read_unlabelled(find_index(name, data_json, LAYOUTS), root, "test")
    value_range, _ = choose_value_range([*chain.from_iterable(images.values())], None, None)
    samples = []
    of_track = []
    for category, paths in images.items():
        for path in paths:
            sample = _sample(path, category, value_range)
            samples.append(sample)
            if track in path.relative_to(root).parts:
                of_track.append(sample)
    return of_track or samples


def sample_loader(samples: Sequence[Sample], image_size: int | None) -> DataLoader[Batch]:
    """Return a loader of batches of one image."""
    return DataLoader(ImageDataset(samples, image_size), batch_size=1, collate_fn=collate)


def _sample(path: Path, category: str, value_range: ValueRange | None = None) -> Sample:
    return Sample(path, None, category, UNLABELLED, is_anomalous=True, value_range=value_range)


def _images_below(folder: Path) -> list[Path]:
    files = []
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
            files.append(path)
    return sorted(files, key=lambda path: natural_key(path.as_posix()))
