"""Pictures of what images would look like without their defects, and where that differs from what is there.

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

from zsad.callbacks.heatmaps import folder_name
from zsad.functional import rle
from zsad.functional.inpaint import difference_map, dilate
from zsad.reports.figures.layout import draw_panels
from zsad.reports.figures.mask_outlines import outline_mask
from zsad.reports.figures.png_files import remove_own_pngs, save_png
from zsad.reports.figures.rgb_arrays import fit_longest_side, to_rgb_array
from zsad.reports.figures.sampling import representative_samples
from zsad.types import Batch, Detections, Prediction, Sample

LIKELY = 0.5  # maps count as anomalous from here on where neither masks nor a threshold say it
_SMALLEST_PANEL_PX, _LARGEST_PANEL_PX = 256, 1024


@runtime_checkable
class Inpainter(Protocol):
    """Whoever fills a region of an image."""

    def restore(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the image with the region filled."""
        ...


class RestorationWriter(Callback):
    """Write, for each image, its anomalous region filled with what may have been there, and the difference.

    ``folder/category/NAME.png`` shows the image with the outline of the region, the restored image, and where the two
    differ; ``folder/category/plain/NAME.png`` is the restored image alone, in its own size.

    Args:
        folder: Where to write. A test first removes the pictures that an earlier run left there; no other files.
        inpainter: Fills the region.
        enabled: Off, it writes nothing.
        threshold: The region is where the map is at least this. ``None``: what the detections outline; for methods
            without any, where the map is at least 0.5.
        grow_px: Side of the square by which the region is grown, so that no rim of a defect remains; 0 leaves it.
        difference: Grey levels (0-255) from above which a difference is shown.
        max_per_category: Defective images of one category that a test restores, spread over the kinds of defect;
            ``None`` for all. Every image given to ``predict`` is restored.

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
        self.grow_px, self.difference, self.max_per_category = grow_px, difference, max_per_category
        self._named: dict[str, Path] = {}

    @property
    def files(self) -> dict[str, Path]:
        """The picture of each image that was restored in a test."""
        return {source: file for source, file in self._named.items() if file.is_file()}

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier run, remove its pictures, and choose the images to restore."""
        self._named = {}
        if not self.enabled:
            return
        if trainer.is_global_zero:
            remove_own_pngs(self.folder)
        trainer.strategy.barrier()  # no process writes before
        for sample in self._chosen(getattr(trainer.datamodule, "test_samples", ())):
            self._file(
                sample.category, str(sample.image_path)
            )  # every process comes to the same names

    def on_predict_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier run."""
        self._named = {}

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Restore what is chosen."""
        self._write(
            outputs, batch, wanted=[i for i, path in enumerate(batch.path) if path in self._named]
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
        """Restore every image."""
        self._write(outputs, batch, wanted=range(len(batch) if self.enabled else 0))

    def _chosen(self, samples: Iterable[Sample]) -> list[Sample]:
        defective = [sample for sample in samples if sample.is_anomalous]
        return (
            defective
            if self.max_per_category is None
            else representative_samples(defective, self.max_per_category)
        )

    def _write(self, prediction: Prediction, batch: Batch, wanted: Iterable[int]) -> None:
        for i in wanted:
            found = prediction.detections[i] if prediction.detections else None
            region = region_of(prediction.map[i], found, self.threshold)
            file = self._file(batch.category[i], batch.path[i])
            caption = f"{batch.category[i]} · {batch.defect[i]} · {Path(batch.path[i]).name}"
            self._draw(batch.image[i].float().cpu(), region.cpu(), file, caption)

    def _draw(
        self, image: Float[Tensor, "3 h w"], region: Bool[Tensor, "h w"], file: Path, caption: str
    ) -> None:
        grown = dilate(region, self.grow_px) if self.grow_px else region
        restored = self.inpainter.restore(image, grown)
        differs = difference_map(image, restored, self.difference)
        own = (image.shape[2], image.shape[1])
        size = fit_longest_side(own, min(max(_SMALLEST_PANEL_PX, *own), _LARGEST_PANEL_PX))
        picture = to_rgb_array(image, size)
        shown = [
            ("image, region outlined", outline_mask(picture, grown) if grown.any() else picture),
            ("restored", to_rgb_array(restored, size)),
            (
                f"differs by over {self.difference} grey levels",
                to_rgb_array(differs.float().expand(3, -1, -1), size),
            ),
        ]
        save_png(draw_panels(shown, caption), file)
        save_png(to_rgb_array(restored, own), file.parent / "plain" / file.name)

    def _file(self, category: str, source: str) -> Path:
        """Name a picture after its image; where another image has that name, also after its folder, then by number."""
        if source not in self._named:
            path, taken = Path(source), set(self._named.values())
            names = (
                path.stem,
                f"{path.parent.name}_{path.stem}",
                *(f"{path.stem}_{n}" for n in range(2, 10_000)),
            )
            files = (self.folder / folder_name(category) / f"{name}.png" for name in names)
            self._named[source] = next(file for file in files if file not in taken)
        return self._named[source]


def region_of(
    anomaly_map: Float[Tensor, "h w"], found: Detections | None, threshold: float | None
) -> Bool[Tensor, "h w"]:
    """Return where an image is taken for anomalous: from a threshold on; or what is outlined; or where it is likely."""
    if threshold is None and found is not None and found.masks:
        region = torch.zeros(found.masks[0].size, dtype=torch.bool)
        for mask in found.masks:  # one by one: there may be hundreds
            region |= rle.decode(mask)
        return region
    return anomaly_map >= (LIKELY if threshold is None else threshold)
