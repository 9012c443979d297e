"""The regions that a method found, as one COCO file that annotation tools open."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lightning import Callback

from zsad.distributed import gather_objects
from zsad.functional import rle
from zsad.types import Batch, Detections, Prediction

_DESCRIPTION = (
    "Regions that a method found. Boxes and masks are in pixels of the image as the method saw it: width and height. "
    "A category is what the detector calls a region, and the score is its weight in the anomaly map."
)


class DetectionWriter(Callback):
    """Write what a method found in each image; nothing for methods that have no detector.

    The file holds ``images``, ``categories`` (the phrases) and ``annotations`` with ``bbox`` (x, y, width, height, cut
    at the image's border), ``score``, ``segmentation`` (run lengths) and ``area``. Until all images are through, every
    process keeps its own on disk, not in memory.

    Args:
        file: The JSON file; an earlier one is removed when a run begins.
        on_test: Write it of tests, too, not of ``zsad predict`` alone.
    """

    def __init__(self, file: str | Path, on_test: bool = False) -> None:
        self.file = Path(file)
        self.on_test = on_test
        self._pages: list[_Page] = []
        self._phrases: set[str] = set()

    def on_predict_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier run."""
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
        """Put what was found aside."""
        self._add(trainer.global_rank, outputs, batch)

    def on_predict_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Join what all processes found."""
        self._finish(trainer)

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier run."""
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
        """Put what was found aside."""
        if self.on_test:
            self._add(trainer.global_rank, outputs, batch)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Join what all processes found."""
        if self.on_test:
            self._finish(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave nothing unfinished behind."""
        shutil.rmtree(self._aside, ignore_errors=True)

    @property
    def _aside(self) -> Path:
        return self.file.with_name(f".{self.file.name}.unfinished")

    def _part(self, rank: int) -> Path:
        return self._aside / f"{rank}.jsonl"

    def _start(self, trainer: Any) -> None:
        self._pages, self._phrases = [], set()
        if trainer.is_global_zero:
            self.file.unlink(missing_ok=True)
            shutil.rmtree(self._aside, ignore_errors=True)
        trainer.strategy.barrier()  # no process writes before

    def _add(self, rank: int, prediction: Prediction, batch: Batch) -> None:
        if not prediction.detections:
            return
        height, width = prediction.map.shape[1:]
        self._aside.mkdir(parents=True, exist_ok=True)
        with self._part(rank).open("ab") as part:
            for path, found in zip(batch.path, prediction.detections, strict=True):
                self._pages.append(_Page(path, width, height, rank, part.tell()))
                self._phrases |= set(found.phrases)
                part.write(json.dumps(list(_annotations(found, height, width))).encode() + b"\n")

    def _finish(self, trainer: Any) -> None:
        gathered = gather_objects((self._pages, self._phrases))
        pages = _by_path(page for some, _ in gathered for page in some)
        if trainer.is_global_zero and pages:
            joined = self._aside / "joined.json"
            with joined.open("w", encoding="utf-8") as file:
                self._write(
                    file, pages, sorted({phrase for _, some in gathered for phrase in some})
                )
            joined.replace(self.file)
            shutil.rmtree(self._aside)
        self._pages = []

    def _write(self, file: TextIO, pages: Sequence[_Page], phrases: Sequence[str]) -> None:
        """Write the COCO file page by page, with one line for each image, category and annotation."""
        numbers = {phrase: number for number, phrase in enumerate(phrases, start=1)}
        images = [
            {"id": number, "file_name": page.path, "width": page.width, "height": page.height}
            for number, page in enumerate(pages, start=1)
        ]
        file.write(f'{{"info": {json.dumps({"description": _DESCRIPTION})}')
        _write_list(file, "images", images)
        _write_list(
            file,
            "categories",
            ({"id": number, "name": phrase} for phrase, number in numbers.items()),
        )
        _write_list(file, "annotations", self._numbered(pages, numbers))
        file.write("}\n")

    def _numbered(
        self, pages: Sequence[_Page], numbers: dict[str, int]
    ) -> Iterator[dict[str, Any]]:
        count = 0
        for image, page in enumerate(pages, start=1):
            for annotation in self._read(page):
                count += 1
                category = numbers[annotation.pop("phrase")]
                yield {
                    "id": count,
                    "image_id": image,
                    "category_id": category,
                    **annotation,
                    "iscrowd": 0,
                }

    def _read(self, page: _Page) -> list[dict[str, Any]]:
        try:
            with self._part(page.rank).open("rb") as part:
                part.seek(page.offset)
                return json.loads(part.readline())
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self._part(page.rank)} of process {page.rank} cannot be seen from here: set paths.output_dir to a "
                "folder that all machines share"
            ) from error


@dataclass(frozen=True, slots=True)
class _Page:
    """Where the annotations of an image are put aside, and what is known of it."""

    path: str
    width: int
    height: int
    rank: int
    offset: int


def _by_path(pages: Iterable[_Page]) -> list[_Page]:
    """Sort pages by their images; of an image that several processes saw, one remains."""
    first: dict[str, _Page] = {}
    for page in pages:
        first.setdefault(page.path, page)
    return [first[path] for path in sorted(first)]


def _annotations(found: Detections, height: int, width: int) -> Iterator[dict[str, Any]]:
    for i, (box, score, phrase) in enumerate(
        zip(found.boxes.tolist(), found.scores.tolist(), found.phrases, strict=True)
    ):
        x0, y0, x1, y1 = (
            min(max(at, 0.0), side) for at, side in zip(box, (width, height) * 2, strict=True)
        )
        annotation = {
            "bbox": [round(number, 2) for number in (x0, y0, x1 - x0, y1 - y0)],
            "score": round(score, 6),
            "phrase": phrase,
            "area": round((x1 - x0) * (y1 - y0), 2),
        }
        if found.masks:
            runs = found.masks[i]
            annotation["segmentation"] = {"size": list(runs.size), "counts": runs.counts.tolist()}
            annotation["area"] = rle.area(runs)
        yield annotation


def _write_list(
    file: TextIO, name: str, entries: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]
) -> None:
    file.write(f",\n{json.dumps(name)}: [")
    for i, entry in enumerate(entries):
        file.write(("," if i else "") + "\n" + json.dumps(entry))
    file.write("]")
