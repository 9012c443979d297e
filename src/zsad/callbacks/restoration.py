"""Images restored to normal: defective regions filled, and the difference to the image.

Legend: h × w pixels.
"""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from lightning import Callback
from torch import Tensor

from zsad.callbacks.file_names import ImageFileNames, folder_name
from zsad.functional import rle
from zsad.functional.inpaint import difference_map, dilate
from zsad.reports.figures.layout import draw_panels
from zsad.reports.figures.mask_outlines import outline_mask
from zsad.reports.figures.png_files import remove_own_pngs, save_png
from zsad.reports.figures.rgb_arrays import fit_longest_side, to_rgb_array
from zsad.reports.figures.sampling import representative_samples
from zsad.types import Batch, Detections, Prediction, Sample

LIKELY = 0.5  # threshold of maps where neither masks nor a threshold are given
_SMALLEST_PANEL_PX = 256
_LARGEST_PANEL_PX = 1024


@runtime_checkable
class Inpainter(Protocol):
    """Fills a region of an image."""

    def restore(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the image with the region filled."""
        ...


class RestorationWriter(Callback):
    """Writes images with their anomalous regions filled, and the differences.

    ``folder/category/NAME.png`` shows the image with the outline of the region, the restored image,
    and the difference of the two; ``folder/category/plain/NAME.png`` is the restored image alone,
    in its own size.

    Args:
        folder: Folder of the images. A test first removes those of an earlier run; no other files.
        inpainter: Fills the region.
        enabled: ``False`` writes nothing.
        threshold: The region is where the map is at least this. ``None``: the masks of the
            detections; for methods without any, where the map is at least 0.5.
        grow_px: Side of the square by which the region is grown, so that no rim of a defect
            remains; 0 leaves it.
        difference: Grey levels (0-255) from above which a difference is shown.
        max_per_category: Restored images of each category of a test, all defective, spread over the
            kinds of defect; ``None`` for all. ``predict`` restores every image.

    Source: DOT-Prompt, the published code, which has the helper but no program that calls it.
    """

    def __init__(
        self,
        folder: str | Path,
        inpainter: Inpainter,
        *,
        enabled: bool = False,
        threshold: float | None = None,
        grow_px: int = 5,
        difference: int = 15,
        max_per_category: int | None = 4,
    ) -> None:
        self.folder = Path(folder)
        self.inpainter = inpainter
        self.enabled = enabled
        self.threshold = threshold
        self.grow_px = grow_px
        self.difference = difference
        self.max_per_category = max_per_category
        self._names = ImageFileNames()
        self._chosen: set[str] = set()

    @property
    def files(self) -> dict[str, Path]:
        """Path of each restored image → its file."""
        return {source: file for source, file in self._names.files.items() if file.is_file()}

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Remove the images of an earlier run, and choose the images to restore."""
        self._start()
        if not self.enabled:
            return
        if trainer.is_global_zero:
            remove_own_pngs(self.folder)
        trainer.strategy.barrier()  # no process writes before
        for sample in self._choose(getattr(trainer.datamodule, "test_samples", ())):
            path = str(sample.image_path)
            self._file(sample.category, path)  # every process comes to the same names
            self._chosen.add(path)

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
        """Restore the chosen images."""
        for i, path in enumerate(batch.path):
            if path in self._chosen:
                self._write(outputs, batch, i)

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Restore every image."""
        if self.enabled:
            for i in range(len(batch)):
                self._write(outputs, batch, i)

    def _start(self) -> None:
        self._names = ImageFileNames()
        self._chosen = set()

    def _choose(self, samples: Iterable[Sample]) -> list[Sample]:
        defective = [sample for sample in samples if sample.is_anomalous]
        if self.max_per_category is None:
            return defective
        return representative_samples(defective, self.max_per_category)

    def _write(self, prediction: Prediction, batch: Batch, i: int) -> None:
        detections = prediction.detections[i] if prediction.detections else None
        region = anomalous_region(prediction.map[i], detections, self.threshold)
        category = batch.category[i]
        source = batch.path[i]
        caption = f"{category} · {batch.defect[i]} · {Path(source).name}"
        image = batch.image[i].float().cpu()
        self._draw(image, region.cpu(), self._file(category, source), caption)

    def _draw(
        self, image: Float[Tensor, "3 h w"], region: Bool[Tensor, "h w"], file: Path, caption: str
    ) -> None:
        grown = dilate(region, self.grow_px) if self.grow_px else region
        restored = self.inpainter.restore(image, grown)
        differs = difference_map(image, restored, self.difference)
        own_size = (image.shape[2], image.shape[1])
        longest = max(_SMALLEST_PANEL_PX, *own_size)
        size = fit_longest_side(own_size, min(longest, _LARGEST_PANEL_PX))
        outlined = to_rgb_array(image, size)
        if grown.any():
            outlined = outline_mask(outlined, grown)
        white = differs.float().expand(3, -1, -1)
        panels = [
            ("image, region outlined", outlined),
            ("restored", to_rgb_array(restored, size)),
            (f"differs by over {self.difference} grey levels", to_rgb_array(white, size)),
        ]
        save_png(draw_panels(panels, caption), file)
        save_png(to_rgb_array(restored, own_size), file.parent / "plain" / file.name)

    def _file(self, category: str, source: str) -> Path:
        return self._names.name(self.folder / folder_name(category), source)


def anomalous_region(
    anomaly_map: Float[Tensor, "h w"], detections: Detections | None, threshold: float | None
) -> Bool[Tensor, "h w"]:
    """Return the anomalous region of an image.

    That is the map from the threshold on; without a threshold the masks of the detections; without
    masks the map from 0.5 on.
    """
    if threshold is None and detections is not None and detections.masks:
        region = torch.zeros(detections.masks[0].size, dtype=torch.bool)
        for mask in detections.masks:  # in turn: there may be hundreds
            region |= rle.decode(mask)
        return region
    if threshold is None:
        threshold = LIKELY
    return anomaly_map >= threshold
