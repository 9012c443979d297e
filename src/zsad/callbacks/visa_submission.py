"""Files of the VisA challenge (VAND 2023), in the form of SAA+: no other accepted form is known.

``Kshot/RUN/CLASS/TYPE/classification/NAME.txt`` holds an image score, ``…/segmentation/NAME.npz``
its map.

Source: github.com/caoyunkang/Segment-Any-Anomaly. The organisers' own specification was not found.
"""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import io
import math
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from lightning import Callback
from numpy.typing import NDArray
from torch import Tensor

from zsad.atomic_write import write_whole
from zsad.types import Batch, Prediction

UNLABELLED = "Unknown"  # TYPE: the labels of the challenge's images are not public
SIZE_PX = 400
_UNFINISHED = ".unfinished"  # a folder of maps, each in a file of its own

_ROUNDING = 1e-5  # relative: the spread of a constant map after resizing

Map = NDArray[np.floating[Any]]
Range = tuple[float, float]
_EMPTY: Range = (math.inf, -math.inf)


class SubmissionWriter(Callback):
    """Writes a submission from predictions in any order, in a single process.

    Scores and maps are scaled by the smallest and the largest of their class, known only in the
    end. Until then every map lies on disk, not in memory: 0.64 MB an image at 400 px.

    Args:
        folder: Parent folder of ``0shot`` …
        shots: Reference images of each class.
        run: Number of the choice of reference images; 0 where there are none.
        size_px: Side of the written maps; ``None`` keeps the size of the predicted maps.
        score_of_map: Take the maximum of the scaled map for the image score, as SAA+ does, not the
            method's score.
    """

    def __init__(
        self,
        folder: str | Path,
        shots: int = 0,
        run: int = 0,
        size_px: int | None = SIZE_PX,
        score_of_map: bool = False,
    ) -> None:
        self.folder = Path(folder) / f"{shots}shot" / str(run)
        self.size_px = size_px
        self.score_of_map = score_of_map
        self._classes: defaultdict[str, _ClassPredictions] = defaultdict(_ClassPredictions)
        self._count = 0

    def start(self) -> None:
        """Make an empty folder.

        Raises:
            ValueError: If it holds a submission already: its files would be submitted, too.
        """
        if self.folder.exists() and any(path.name != _UNFINISHED for path in self.folder.iterdir()):
            raise ValueError(
                f"{self.folder} holds a submission already: remove it, or choose another folder "
                "or run"
            )
        self._classes.clear()
        self._remove_unfinished()
        self._unfinished.mkdir(parents=True)

    def add(self, batch: Batch, prediction: Prediction) -> None:
        """Store the predictions of a batch.

        Raises:
            ValueError: Two images of a class share a name, the name of a class is a path, or values
                are not finite.
        """
        maps = resized(prediction.map, self.size_px).cpu().numpy()
        scores = prediction.score.tolist()
        for i, path in enumerate(batch.path):
            category = batch.category[i]
            if (self.folder / category).resolve().parent != self.folder.resolve():
                raise ValueError(
                    f"class {category!r} of {path} cannot name a folder: give it a name without "
                    "slashes"
                )
            self._count += 1
            file = f"{self._count}.npy"
            self._classes[category].add(path, file, scores[i], maps[i])
            np.save(self._unfinished / file, maps[i])

    def finish(self) -> list[Path]:
        """Write the files of all classes and return their paths."""
        written: list[Path] = []
        for name in sorted(self._classes):
            written += self._write(name, self._classes[name])
        self._remove_unfinished()
        return written

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Make an empty folder."""
        if trainer.world_size > 1:
            raise ValueError(
                f"a submission is written by one process, got {trainer.world_size}: "
                "set trainer.devices=1"
            )
        self.start()

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Prediction,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Store the predictions of a batch."""
        self.add(batch, outputs)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the files."""
        self.finish()

    @property
    def _unfinished(self) -> Path:
        return self.folder / _UNFINISHED

    def _remove_unfinished(self) -> None:
        if self._unfinished.is_dir():
            shutil.rmtree(self._unfinished)

    def _write(self, name: str, predicted: _ClassPredictions) -> Iterator[Path]:
        for stem, file, score in predicted.images:
            anomaly_map = _scaled(np.load(self._unfinished / file), predicted.map_range)
            image_score = _scaled(np.array([score]), predicted.score_range)
            value = anomaly_map.max() if self.score_of_map else image_score.max()
            folder = self.folder / name / UNLABELLED
            yield from write_image(folder, stem, float(value), anomaly_map)


@dataclass
class _ClassPredictions:
    """The predictions of a class so far; the maps are on disk.

    Attributes:
        images: Name, file of the map, and score of each image.
        stems: Name of each image → its path.
        score_range: Smallest and largest score.
        map_range: Smallest and largest value of the maps.
    """

    images: list[tuple[str, str, float]] = field(default_factory=list)
    stems: dict[str, str] = field(default_factory=dict)
    score_range: Range = _EMPTY
    map_range: Range = _EMPTY

    def add(self, path: str, file: str, score: float, anomaly_map: Map) -> None:
        """Add an image."""
        stem = Path(path).stem
        if stem in self.stems:
            raise ValueError(
                f"two images of one class are named {stem}, {self.stems[stem]} and {path}: a "
                "submission holds one of them. If they are of two tracks, prepare a folder that "
                "holds one track, and name that with --dataset"
            )
        low = float(anomaly_map.min())
        high = float(anomaly_map.max())
        if not np.isfinite([score, low, high]).all():
            raise ValueError(
                f"the score or the map of {path} is not finite: predict with precision=32-true"
            )
        self.stems[stem] = path
        self.images.append((stem, file, score))
        self.score_range = _widened(self.score_range, score, score)
        self.map_range = _widened(self.map_range, low, high)


def write_submission(
    predictions: Iterable[tuple[Batch, Prediction]], folder: Path, **options: Any
) -> list[Path]:
    """Write a submission from predictions; the options are those of ``SubmissionWriter``."""
    writer = SubmissionWriter(folder, **options)
    writer.start()
    for batch, prediction in predictions:
        writer.add(batch, prediction)
    return writer.finish()


def write_image(folder: Path, name: str, score: float, anomaly_map: Map) -> tuple[Path, Path]:
    """Write the two files of an image, score and map in [0, 1], and return their paths."""
    grey = np.round(255 * anomaly_map).astype(np.uint8)
    packed = io.BytesIO()
    np.savez_compressed(packed, img=grey)
    score_file = folder / "classification" / f"{name}.txt"
    map_file = folder / "segmentation" / f"{name}.npz"
    return (write_whole(score_file, f"{score:.5f}"), write_whole(map_file, packed.getvalue()))


def resized(maps: Float[Tensor, "b h w"], size_px: int | None) -> Float[Tensor, "b new_h new_w"]:
    """Resize maps bicubically (a = -3/4, no antialiasing), as OpenCV and SAA+'s evaluation."""
    maps = maps.float()
    if size_px in (None, maps.shape[1]) and size_px in (None, maps.shape[2]):
        return maps
    size = (size_px, size_px)
    channel = F.interpolate(maps[:, None], size=size, mode="bicubic", align_corners=False)
    return channel[:, 0]


def _scaled(values: Map, value_range: Range) -> Map:
    """Scale the range to [0, 1]; all zeros if it is no wider than the rounding of float32."""
    low, high = value_range
    if high - low <= _ROUNDING * max(abs(low), abs(high)):
        return np.zeros_like(values)
    return (values - low) / (high - low)


def _widened(value_range: Range, low: float, high: float) -> Range:
    lowest, highest = value_range
    return min(lowest, low), max(highest, high)
