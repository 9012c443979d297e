"""Single images of a batch with their predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from zsad.reports.figures.rgb_arrays import Size
from zsad.types import Batch, Detections, Prediction

_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = 5  # EXIF orientations from here on swap width and height


@dataclass(frozen=True, slots=True)
class ImagePrediction:
    """An image of a batch with its prediction, on the device of the batch.

    Only drawn images are fetched from there.
    """

    pixels: Tensor
    anomaly_map: Tensor
    mask: Tensor | None
    score: float
    is_anomalous: bool
    category: str
    kind: str
    path: str
    detections: Detections | None = None


def image_predictions(prediction: Prediction, batch: Batch) -> Iterator[ImagePrediction]:
    """Yield the images of a batch with their predictions."""
    for i, category in enumerate(batch.category):
        is_anomalous = bool(batch.is_anomalous[i])
        yield ImagePrediction(
            pixels=batch.image[i],
            anomaly_map=prediction.map[i],
            mask=batch.mask[i] if batch.has_mask[i] else None,
            score=float(prediction.score[i]),
            is_anomalous=is_anomalous,
            category=category,
            kind=defect_kind(batch.defect[i], is_anomalous),
            path=batch.path[i],
            detections=prediction.detections[i] if prediction.detections else None,
        )


def defect_kind(defect: str, is_anomalous: bool) -> str:
    """Return the kind of defect, or of images without a kind their label."""
    if defect:
        return defect
    return "defective" if is_anomalous else "good"


def upright_size(path: Path) -> Size:
    """Return width and height of an image file as it is shown, turned by its EXIF orientation."""
    with Image.open(path) as image:
        if image.format == "TIFF":
            return image.size  # Pillow turns a TIFF itself
        # The base class reads the header; a PNG's own method would decode the whole file.
        orientation = Image.Image.getexif(image).get(_EXIF_ORIENTATION, 1)
        if orientation >= _SIDEWAYS:
            return image.height, image.width
        return image.size
