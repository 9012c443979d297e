"""The files of the VisA challenge (VAND 2023), in the one form that is known to have been accepted: SAA+'s.

``Kshot/RUN/CLASS/TYPE/classification/NAME.txt`` holds an image score, ``…/segmentation/NAME.npz`` its map.

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

UNLABELLED = "Unknown"  # TYPE: no label of the challenge's images is known
SIZE_PX = 400
_UNFINISHED = ".unfinished"  # a folder of maps, each in a file of its own

_ROUNDING = 1e-5  # relative: what resizing makes of a constant map

Map = NDArray[np.floating[Any]]
Range = tuple[float, float]
_NOTHING_YET: Range = (math.inf, -math.inf)


class SubmissionWriter(Callback):
    """Write a submission from predictions as they come, in any order, one process.

    Scores and maps are scaled by the smallest and the largest of their class, which are known only in the end. Until
    then every map lies on disk, not in memory: 0.64 MB an image at 400 px.

    Args:
        folder: Where ``0shot`` … goes.
        shots: Normal images of each class that the method was shown.
        run: Which choice of them; 0 where there is none.
        size_px: Side of the written maps; ``None`` keeps the size of the predicted ones.
        score_of_map: Take the maximum of the scaled map for the image score, as SAA+ does, not the method's score.
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
        self._classes: defaultdict[str, _Class] = defaultdict(_Class)
        self._count = 0

    def start(self) -> None:
        """Make an empty folder.

        Raises:
            ValueError: If it holds a submission already: old files among new ones would be submitted too.
        """
        if self.folder.exists() and any(path.name != _UNFINISHED for path in self.folder.iterdir()):
            raise ValueError(
                f"{self.folder} holds a submission already: remove it, or choose another folder or run"
            )
        self._classes.clear()
        self._remove_unfinished()
        self._unfinished.mkdir(parents=True)

    def add(self, batch: Batch, prediction: Prediction) -> None:
        """Put the predictions of a batch aside.

        Raises:
            ValueError: Two images of one name in a class, a class name that is a path, or values that are not finite.
        """
        maps, scores = (
            resized(prediction.map, self.size_px).cpu().numpy(),
            prediction.score.tolist(),
        )
        for category, path, score, anomaly_map in zip(
            batch.category, batch.path, scores, maps, strict=True
        ):
            if (self.folder / category).resolve().parent != self.folder.resolve():
                raise ValueError(
                    f"class {category!r} of {path} cannot name a folder: give it a name without slashes"
                )
            self._count += 1
            file = f"{self._count}.npy"
            self._classes[category].add(path, file, score, anomaly_map)
            np.save(self._unfinished / file, anomaly_map)

    def finish(self) -> list[Path]:
        """Write the files of all classes and return their paths."""
        written = [
            path for name, each in sorted(self._classes.items()) for path in self._write(name, each)
        ]
        self._remove_unfinished()
        return written

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Make an empty folder."""
        if trainer.world_size > 1:
            raise ValueError(
                f"a submission is written by one process, got {trainer.world_size}: set trainer.devices=1"
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
        """Put the predictions of a batch aside."""
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

    def _write(self, name: str, predicted: _Class) -> Iterator[Path]:
        for stem, file, score in predicted.images:
            anomaly_map = _scaled(np.load(self._unfinished / file), predicted.map_range)
            own = _scaled(np.array([score]), predicted.score_range)
            value = (anomaly_map if self.score_of_map else own).max()
            yield from write_image(self.folder / name / UNLABELLED, stem, float(value), anomaly_map)


@dataclass
class _Class:
    """What is known of a class so far; its maps are on disk."""

    images: list[tuple[str, str, float]] = field(
        default_factory=list
    )  # name, file of the map, score
    stems: dict[str, str] = field(default_factory=dict)  # the image of each name
    score_range: Range = _NOTHING_YET
    map_range: Range = _NOTHING_YET

    def add(self, path: str, file: str, score: float, anomaly_map: Map) -> None:
        """Take note of an image."""
        stem = Path(path).stem
        if stem in self.stems:
            raise ValueError(
                f"two images of one class are named {stem}, {self.stems[stem]} and {path}: a submission holds one of "
                f"them. If they are of two tracks, prepare a folder that holds one track, and name that with --dataset"
            )
        if not np.isfinite([score, anomaly_map.min(), anomaly_map.max()]).all():
            raise ValueError(
                f"the score or the map of {path} is not finite: predict with precision=32-true"
            )
        self.stems[stem] = path
        self.images.append((stem, file, score))
        self.score_range = _widened(self.score_range, score, score)
        self.map_range = _widened(
            self.map_range, float(anomaly_map.min()), float(anomaly_map.max())
        )


def write_submission(
    predictions: Iterable[tuple[Batch, Prediction]], folder: Path, **options: Any
) -> list[Path]:
    """Write a submission from predictions as they come; the options are those of ``SubmissionWriter``."""
    writer = SubmissionWriter(folder, **options)
    writer.start()
    for batch, prediction in predictions:
        writer.add(batch, prediction)
    return writer.finish()


def write_image(folder: Path, name: str, score: float, anomaly_map: Map) -> tuple[Path, Path]:
    """Write the two files of an image, both values in [0, 1], and return their paths."""
    packed = io.BytesIO()
    np.savez_compressed(packed, img=np.round(255 * anomaly_map).astype(np.uint8))
    return (
        write_whole(folder / "classification" / f"{name}.txt", f"{score:.5f}"),
        write_whole(folder / "segmentation" / f"{name}.npz", packed.getvalue()),
    )


def resized(maps: Float[Tensor, "b h w"], size_px: int | None) -> Float[Tensor, "b new_h new_w"]:
    """Resize maps bicubically (a = -3/4, no antialiasing), as OpenCV does and thus SAA+'s evaluation."""
    maps = maps.float()
    if size_px in (None, maps.shape[1]) and size_px in (None, maps.shape[2]):
        return maps
    return F.interpolate(
        maps[:, None], size=(size_px, size_px), mode="bicubic", align_corners=False
    )[:, 0]


def _scaled(values: Map, value_range: Range) -> Map:
    """Scale so that the range becomes [0, 1]; all zeros where it is no wider than the rounding of float32."""
    low, high = value_range
    is_constant = high - low <= _ROUNDING * max(abs(low), abs(high))
    return np.zeros_like(values) if is_constant else (values - low) / (high - low)


def _widened(value_range: Range, low: float, high: float) -> Range:
    return min(value_range[0], low), max(value_range[1], high)
