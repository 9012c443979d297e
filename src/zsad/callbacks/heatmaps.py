"""Heat maps of the tested images, and a contact sheet for each category."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Callback

from zsad.callbacks.file_names import ImageFileNames, folder_name
from zsad.callbacks.image_predictions import (
    ImagePrediction,
    defect_kind,
    image_predictions,
    upright_size,
)
from zsad.distributed import gather_objects
from zsad.reports.figures.contact_sheet import Thumbnail, draw_contact_sheet
from zsad.reports.figures.extremes import Shortlist
from zsad.reports.figures.mask_outlines import outline_mask
from zsad.reports.figures.overlays import ValueRange, draw_heatmap, draw_overlay
from zsad.reports.figures.png_files import remove_own_pngs, save_png
from zsad.reports.figures.rgb_arrays import Size, fit_longest_side, to_rgb_array
from zsad.reports.figures.sampling import representative_samples
from zsad.types import Batch, Sample

_SMALLEST_PANEL_PX = 256
_LARGEST_PANEL_PX = 1024  # methods that take images at their own size have maps of that size
_THUMBNAIL_PX = 180


class HeatmapWriter(Callback):
    """Writes heat maps of images, and a contact sheet for each category.

    Heat maps are ``folder/category/defect/stem.png``, sheets ``folder/category.png``. A sheet shows
    the highest-scored normal images, and the lowest- and highest-scored defective ones, of all
    images.

    Args:
        folder: Folder of the images. A test first removes the heat maps of an earlier run there; no
            other files.
        max_per_category: Heat maps of a category, half of them of normal images, the others spread
            over the kinds of defect; ``None`` for all. Without a data module that lists its
            ``test_samples`` the first images are taken. ``predict`` draws every image.
        value_range: Values at the two ends of the colours. Fixed, so that normal images do not
            glow; ``None`` stretches each map by its own minimum and maximum.
        keep_aspect: Draw in the proportions of the image file, not in those of the network's input.
        sheet_columns: Images in a row of a contact sheet; 0 for no sheets.
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
        self.value_range: ValueRange | None = None
        if value_range is not None:
            self.value_range = (value_range[0], value_range[1])
        self.keep_aspect = keep_aspect
        self.sheet_columns = sheet_columns
        self.threshold = threshold
        self._start()

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Remove the heat maps of an earlier run, and choose the images to draw."""
        self._start()
        if trainer.is_global_zero:
            remove_own_pngs(self.folder)
        trainer.strategy.barrier()  # no process writes before
        self._chosen = self._choose(trainer.datamodule)

    def on_predict_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Clear the state of an earlier run."""
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
        """Draw the chosen images, and thumbnails of candidates for the sheet."""
        for image in image_predictions(outputs, batch):
            if self._is_chosen(image, trainer.world_size):
                self._write(image, self._subfolder(image.category, image.kind))
            if self.sheet_columns:
                self._offer(image)

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw every image. Its label is not known, so its folder is that of the category."""
        for image in image_predictions(outputs, batch):
            self._write(image, self.folder / folder_name(image.category))

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Join the candidates of all processes and write the sheets."""
        shortlists = _gather(self._shortlists)
        if trainer.is_global_zero:
            for category, shortlist in shortlists.items():
                title = f"{category}: image scores (logit margin)"
                sheet = draw_contact_sheet(title, shortlist.rows())
                save_png(sheet, self.sheet_path(category))
        self._shortlists = {}

    @property
    def files(self) -> dict[str, Path]:
        """Path of each chosen image → its heat map."""
        return self._names.files

    def sheet_path(self, category: str) -> Path:
        """Return the path of the contact sheet of a category."""
        return self.folder / f"{folder_name(category)}.png"

    def _start(self) -> None:
        self._chosen: set[str] | None = None  # paths; None: no list of samples
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._shortlists: dict[str, Shortlist] = {}
        self._names = ImageFileNames()

    def _choose(self, data: Any) -> set[str] | None:
        """Choose images and name their files, from the whole index: alike in every process."""
        samples: Sequence[Sample] = getattr(data, "test_samples", ())
        if not samples:
            return None
        limit = self._limit_per_label
        if limit is not None:
            samples = representative_samples(samples, limit)
        chosen = set()
        for sample in samples:
            kind = defect_kind(sample.defect, sample.is_anomalous)
            path = str(sample.image_path)
            self._names.name(self._subfolder(sample.category, kind), path)
            chosen.add(path)
        return chosen

    @property
    def _limit_per_label(self) -> int | None:
        return self.max_per_category and max(1, self.max_per_category // 2)

    def _is_chosen(self, image: ImagePrediction, world_size: int) -> bool:
        if self._chosen is not None:
            return image.path in self._chosen
        label = (image.category, image.is_anomalous)
        self._counts[label] += 1
        limit = self._limit_per_label
        if not limit:
            return limit is None
        return self._counts[label] <= max(1, limit // world_size)

    def _subfolder(self, category: str, kind: str) -> Path:
        return self.folder / folder_name(category) / folder_name(kind)

    def _offer(self, image: ImagePrediction) -> None:
        """Draw a thumbnail if the score is among the extremes of the category."""
        shortlist = self._shortlists.get(image.category)
        if shortlist is None:
            shortlist = Shortlist(self.sheet_columns)
            self._shortlists[image.category] = shortlist
        draw = partial(self._thumbnail, image)
        shortlist.offer(image.score, image.path, image.is_anomalous, draw)

    def _write(self, image: ImagePrediction, folder: Path) -> None:
        longest = max(_SMALLEST_PANEL_PX, *image.anomaly_map.shape)
        size = fit_longest_side(self._size(image), min(longest, _LARGEST_PANEL_PX))
        name = Path(image.path).name
        drawn = draw_overlay(
            image.pixels,
            image.anomaly_map,
            image.mask,
            size=size,
            value_range=self.value_range,
            caption=f"{image.category} · {image.kind} · {name} · score {image.score:+.2f}",
            threshold=self.threshold,
            detections=image.detections,
        )
        save_png(drawn, self._names.name(folder, image.path))

    def _thumbnail(self, image: ImagePrediction) -> Thumbnail:
        size = fit_longest_side(self._size(image), _THUMBNAIL_PX)
        plain = to_rgb_array(image.pixels, size)
        heatmap = draw_heatmap(plain, image.anomaly_map, self.value_range)
        if image.mask is not None and image.is_anomalous:
            plain = outline_mask(plain, image.mask)
            heatmap = outline_mask(heatmap, image.mask)
        caption = f"{image.score:+.2f}  {image.kind}"
        return Thumbnail((plain, heatmap), caption, image.is_anomalous)

    def _size(self, image: ImagePrediction) -> Size:
        source = Path(image.path)
        if self.keep_aspect and source.is_file():
            return upright_size(source)
        height, width = image.anomaly_map.shape
        return width, height


def _gather(mine: dict[str, Shortlist]) -> dict[str, Shortlist]:
    """Join the shortlists of all processes."""
    joined: dict[str, Shortlist] = {}
    for shortlists in gather_objects(mine):
        for category, shortlist in shortlists.items():
            if category in joined:
                joined[category].merge(shortlist)
            else:
                joined[category] = shortlist
    return joined
