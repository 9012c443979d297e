"""Detected regions as a COCO file, for annotation tools."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from lightning import Callback

from zsad.distributed import gather_objects
from zsad.functional import rle
from zsad.types import Batch, Detections, Prediction

_DESCRIPTION = (
    "Regions that a method found. Boxes and masks are in pixels of the image as the method saw it: "
    "width and height. A category is what the detector calls a region, and the score is its weight "
    "in the anomaly map."
)


class DetectionWriter(Callback):
    """Writes the detections of every image; nothing for methods without a detector.

    The file holds ``images``, ``categories`` (the phrases) and ``annotations`` with ``bbox`` (x, y,
    width, height, cut at the image's border), ``score``, ``segmentation`` (run lengths) and
    ``area``. Until the last image every process keeps its annotations on disk, not in memory.

    Args:
        file: The JSON file; an earlier file is removed when a run begins.
        on_test: Also write the detections of tests, not of ``zsad predict`` alone.
    """

    def __init__(self, file: str | Path, on_test: bool = False) -> None:
        self.file = Path(file)
        self.on_test = on_test
        self._images: list[_StoredImage] = []
        self._phrases: set[str] = set()

    def on_predict_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Remove the file of an earlier run."""
        self._start(trainer)

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Prediction,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Store the detections of a batch."""
        self._add(trainer.global_rank, outputs, batch)

    def on_predict_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Join the detections of all processes."""
        self._finish(trainer)

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Remove the file of an earlier run."""
        if self.on_test:
            self._start(trainer)

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Store the detections of a batch."""
        if self.on_test:
            self._add(trainer.global_rank, outputs, batch)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Join the detections of all processes."""
        if self.on_test:
            self._finish(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Remove unfinished files."""
        shutil.rmtree(self._unfinished, ignore_errors=True)

    @property
    def _unfinished(self) -> Path:
        return self.file.with_name(f".{self.file.name}.unfinished")

    def _part(self, rank: int) -> Path:
        return self._unfinished / f"{rank}.jsonl"

    def _start(self, trainer: Any) -> None:
        self._images = []
        self._phrases = set()
        if trainer.is_global_zero:
            self.file.unlink(missing_ok=True)
            shutil.rmtree(self._unfinished, ignore_errors=True)
        trainer.strategy.barrier()  # no process writes before

    def _add(self, rank: int, prediction: Prediction, batch: Batch) -> None:
        if not prediction.detections:
            return
        height, width = prediction.map.shape[1:]
        self._unfinished.mkdir(parents=True, exist_ok=True)
        with self._part(rank).open("ab") as part:
            for path, detections in zip(batch.path, prediction.detections, strict=True):
                self._images.append(_StoredImage(path, width, height, rank, part.tell()))
                self._phrases.update(detections.phrases)
                line = json.dumps(_annotations(detections, height, width))
                part.write(line.encode() + b"\n")

    def _finish(self, trainer: Any) -> None:
        images: list[_StoredImage] = []
        phrases: set[str] = set()
        for some_images, some_phrases in gather_objects((self._images, self._phrases)):
            images += some_images
            phrases |= some_phrases
        if trainer.is_global_zero and images:
            joined = self._unfinished / "joined.json"
            with joined.open("w", encoding="utf-8") as file:
                self._write(file, _by_path(images), sorted(phrases))
            joined.replace(self.file)
            shutil.rmtree(self._unfinished)
        self._images = []

    def _write(self, file: TextIO, stored: Sequence[_StoredImage], phrases: Sequence[str]) -> None:
        """Write the COCO file with a line for each image, category and annotation."""
        images = []
        for number, image in enumerate(stored, start=1):
            size = {"width": image.width, "height": image.height}
            images.append({"id": number, "file_name": image.path, **size})
        categories = []
        for number, phrase in enumerate(phrases, start=1):
            categories.append({"id": number, "name": phrase})
        info = json.dumps({"description": _DESCRIPTION})
        file.write(f'{{"info": {info}')
        _write_list(file, "images", images)
        _write_list(file, "categories", categories)
        _write_list(file, "annotations", self._numbered(stored, phrases))
        file.write("}\n")

    def _numbered(
        self, stored: Sequence[_StoredImage], phrases: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """Yield the annotations of all images with their identifiers."""
        category_ids = {phrase: number for number, phrase in enumerate(phrases, start=1)}
        ids = count(1)
        for image_id, image in enumerate(stored, start=1):
            for annotation in self._read(image):
                yield {
                    "id": next(ids),
                    "image_id": image_id,
                    "category_id": category_ids[annotation.pop("phrase")],
                    **annotation,
                    "iscrowd": 0,
                }

    def _read(self, image: _StoredImage) -> list[dict[str, Any]]:
        file = self._part(image.rank)
        try:
            with file.open("rb") as part:
                part.seek(image.offset)
                return json.loads(part.readline())
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{file} of process {image.rank} cannot be seen from here: set paths.output_dir to "
                "a folder that all machines share"
            ) from error


@dataclass(frozen=True, slots=True)
class _StoredImage:
    """An image with the place of its annotations: the file of a process, and an offset in bytes."""

    path: str
    width: int
    height: int
    rank: int
    offset: int


def _by_path(images: Iterable[_StoredImage]) -> list[_StoredImage]:
    """Sort images by path; of an image that several processes saw, the first remains."""
    first: dict[str, _StoredImage] = {}
    for image in images:
        first.setdefault(image.path, image)
    return [first[path] for path in sorted(first)]


def _annotations(detections: Detections, height: int, width: int) -> list[dict[str, Any]]:
    boxes = detections.boxes.tolist()
    scores = detections.scores.tolist()
    annotations = []
    for i, phrase in enumerate(detections.phrases):
        left, right = (_clip(x, width) for x in boxes[i][0::2])
        top, bottom = (_clip(y, height) for y in boxes[i][1::2])
        box = (left, top, right - left, bottom - top)
        annotation = {
            "bbox": [round(number, 2) for number in box],
            "score": round(scores[i], 6),
            "phrase": phrase,
            "area": round((right - left) * (bottom - top), 2),
        }
        if detections.masks:
            mask = detections.masks[i]
            annotation["segmentation"] = {"size": list(mask.size), "counts": mask.counts.tolist()}
            annotation["area"] = rle.area(mask)
        annotations.append(annotation)
    return annotations


def _clip(position: float, side: int) -> int | float:
    return min(max(position, 0.0), side)


def _write_list(file: TextIO, name: str, entries: Iterable[dict[str, Any]]) -> None:
    file.write(f",\n{json.dumps(name)}: [")
    separator = "\n"
    for entry in entries:
        file.write(separator + json.dumps(entry))
        separator = ",\n"
    file.write("]")
