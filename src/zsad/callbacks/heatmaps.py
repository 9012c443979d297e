"""Heat maps of the tested images, and one contact sheet per category."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Callback
from PIL import Image
from torch import Tensor

from zsad.distributed import gather_objects
from zsad.reports.figures.contact_sheet import Thumbnail, draw_contact_sheet
from zsad.reports.figures.extremes import Shortlist
from zsad.reports.figures.mask_outlines import outline_mask
from zsad.reports.figures.overlays import ValueRange, draw_heatmap, draw_overlay
from zsad.reports.figures.png_files import remove_own_pngs, save_png
from zsad.reports.figures.rgb_arrays import Size, fit_longest_side, to_rgb_array
from zsad.reports.figures.sampling import representative_samples
from zsad.types import Batch, Detections, Prediction, Sample

_SMALLEST_PANEL_PX = 256
_LARGEST_PANEL_PX = 1024  # methods that see photographs at their own size have maps of that size
_THUMBNAIL_PX = 180
_SIDEWAYS = 5  # EXIF orientations from here on swap width and height


class HeatmapWriter(Callback):
    """Write a heat map per image, ``folder/category/defect/stem.png``, and a sheet per category, ``category.png``.

    The sheet shows the highest-scored normal images, and the lowest- and highest-scored defective ones, of all images.

    Args:
        folder: Where to write. A test first removes the pictures that an earlier run left there; no other files.
        max_per_category: Heat maps to write of one category, half of them of normal images, the others spread over the
            kinds of defect; ``None`` for all. Without a data module that lists its ``test_samples`` the first images
            are taken. Every image given to ``predict`` is written.
        value_range: Values at the two ends of the colours. Fixed, so that normal images do not glow; ``None`` stretches
            each map by its own minimum and maximum.
        keep_aspect: Draw in the proportions of the image file, not in those of the network's input.
        sheet_columns: Images in one row of a contact sheet; 0 for no sheets.
        threshold: Regions of a map from this value on get a contour.
    """

    def __init__(
        self,
        folder: str | Path,
        max_per_category: int | None = 20,
        value_range: Sequence[float] | None = (0.0, 1.0),
        keep_aspect: bool = True,
        sheet_columns: int = 6,
        threshold: float | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.max_per_category = max_per_category
        self.value_range: ValueRange | None = (
            None if value_range is None else (value_range[0], value_range[1])
        )
        self.keep_aspect = keep_aspect
        self.sheet_columns = sheet_columns
        self.threshold = threshold
        self._start()

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier run, remove its pictures, and choose the images to write."""
        self._start()
        if trainer.is_global_zero:
            remove_own_pngs(self.folder)
        trainer.strategy.barrier()  # no process writes before
        self._chosen = self._choose(trainer.datamodule)

    def on_predict_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier run."""
        self._start()

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw what is chosen, and keep thumbnails of candidates for the sheet."""
        for shot in _shots(outputs, batch):
            if self._is_wanted(shot, trainer.world_size):
                self._write(shot, self._subfolder(shot.category, shot.kind))
            if self.sheet_columns:
                shortlist = self._shortlists.setdefault(
                    shot.category, Shortlist(self.sheet_columns)
                )
                shortlist.offer(
                    shot.score, shot.path, shot.is_anomalous, partial(self._thumbnail, shot)
                )

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw every image. Nothing is known about it, so its folder is the category alone."""
        for shot in _shots(outputs, batch):
            self._write(shot, self.folder / folder_name(shot.category))

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Join the candidates of all processes and write the sheets."""
        shortlists = _joined(self._shortlists)
        if trainer.is_global_zero:
            for category, shortlist in shortlists.items():
                title = f"{category}: image scores (logit margin)"
                sheet = draw_contact_sheet(title, shortlist.rows())
                save_png(sheet, self.sheet_path(category))
        self._shortlists = {}

    @property
    def files(self) -> dict[str, Path]:
        """The heat map of each image that was chosen to have one."""
        return {source: path for path, source in self._owner.items()}

    def sheet_path(self, category: str) -> Path:
        """Return where the contact sheet of a category is."""
        return self.folder / f"{folder_name(category)}.png"

    def _start(self) -> None:
        self._chosen: set[str] | None = None  # paths; None: not known beforehand
        self._seen: Counter[tuple[str, bool]] = Counter()
        self._shortlists: dict[str, Shortlist] = {}
        self._owner: dict[Path, str] = {}

    def _choose(self, data: Any) -> set[str] | None:
        """Choose images and name their files, from the whole index: every process comes to the same."""
        samples: Sequence[Sample] = getattr(data, "test_samples", ())
        if not samples:
            return None
        chosen = (
            samples if self._per_label is None else representative_samples(samples, self._per_label)
        )
        for sample in chosen:
            kind = _kind(sample.defect, sample.is_anomalous)
            self._free_path(self._subfolder(sample.category, kind), sample.image_path)
        return {str(sample.image_path) for sample in chosen}

    @property
    def _per_label(self) -> int | None:
        return self.max_per_category and max(1, self.max_per_category // 2)

    def _is_wanted(self, shot: _Shot, world_size: int) -> bool:
        if self._chosen is not None:
            return shot.path in self._chosen
        self._seen[shot.category, shot.is_anomalous] += 1
        limit = self._per_label and max(1, self._per_label // world_size)
        return limit is None or self._seen[shot.category, shot.is_anomalous] <= limit

    def _subfolder(self, category: str, kind: str) -> Path:
        return self.folder / folder_name(category) / folder_name(kind)

    def _write(self, shot: _Shot, folder: Path) -> None:
        longest = min(max(_SMALLEST_PANEL_PX, *shot.anomaly_map.shape), _LARGEST_PANEL_PX)
        size = fit_longest_side(self._size(shot), longest)
        caption = (
            f"{shot.category} · {shot.kind} · {Path(shot.path).name} · score {shot.score:+.2f}"
        )
        drawn = draw_overlay(
            shot.image,
            shot.anomaly_map,
            shot.mask,
            size=size,
            value_range=self.value_range,
            caption=caption,
            threshold=self.threshold,
            detections=shot.detections,
        )
        save_png(drawn, self._free_path(folder, Path(shot.path)))

    def _thumbnail(self, shot: _Shot) -> Thumbnail:
        plain = to_rgb_array(shot.image, fit_longest_side(self._size(shot), _THUMBNAIL_PX))
        heated = draw_heatmap(plain, shot.anomaly_map, self.value_range)
        if shot.mask is not None and shot.is_anomalous:
            plain, heated = outline_mask(plain, shot.mask), outline_mask(heated, shot.mask)
        return Thumbnail((plain, heated), f"{shot.score:+.2f}  {shot.kind}", shot.is_anomalous)

    def _size(self, shot: _Shot) -> Size:
        source = Path(shot.path)
        if self.keep_aspect and source.is_file():
            return _upright_size(source)
        return shot.anomaly_map.shape[1], shot.anomaly_map.shape[0]

    def _free_path(self, folder: Path, source: Path) -> Path:
        """Name a file after its image; where another image has that name, also after its folder, then with a number."""
        names = (
            source.stem,
            f"{source.parent.name}_{source.stem}",
            *(f"{source.stem}_{n}" for n in range(2, 10_000)),
        )
        path = next(
            p for p in (folder / f"{name}.png" for name in names) if self._is_free(p, source)
        )
        self._owner[path] = str(source)
        return path

    def _is_free(self, path: Path, source: Path) -> bool:
        return self._owner.get(path, str(source)) == str(source)


@dataclass(frozen=True, slots=True)
class _Shot:
    """One image of a batch, still on the device of the batch: only what is drawn is fetched from there."""

    image: Tensor
    anomaly_map: Tensor
    mask: Tensor | None
    score: float
    is_anomalous: bool
    category: str
    kind: str
    path: str
    detections: Detections | None = None


def _shots(prediction: Prediction, batch: Batch) -> Iterator[_Shot]:
    for i, category in enumerate(batch.category):
        is_anomalous = bool(batch.is_anomalous[i])
        yield _Shot(
            image=batch.image[i],
            anomaly_map=prediction.map[i],
            mask=batch.mask[i] if batch.has_mask[i] else None,
            score=float(prediction.score[i]),
            is_anomalous=is_anomalous,
            category=category,
            kind=_kind(batch.defect[i], is_anomalous),
            path=batch.path[i],
            detections=prediction.detections[i] if prediction.detections else None,
        )


def _kind(defect: str, is_anomalous: bool) -> str:
    return defect or ("defective" if is_anomalous else "good")


def _joined(mine: dict[str, Shortlist]) -> dict[str, Shortlist]:
    """Join the shortlists of all processes."""
    joined: dict[str, Shortlist] = {}
    for shortlists in gather_objects(mine):
        for category, shortlist in shortlists.items():
            if category in joined:
                joined[category].merge(shortlist)
            else:
                joined[category] = shortlist
    return joined


def _upright_size(path: Path) -> Size:
    with Image.open(path) as image:
        # Pillow turns a TIFF itself. The base class reads the header; a PNG's own method would decode the whole file.
        turned = image.format != "TIFF" and Image.Image.getexif(image).get(0x0112, 1) >= _SIDEWAYS
        return (image.height, image.width) if turned else image.size


def folder_name(name: str) -> str:
    """Turn a name from an index into one that stays inside its folder."""
    return re.sub(r"[^\w\-. ]", "_", name).lstrip(".") or "_"
