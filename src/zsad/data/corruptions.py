"""Corruptions of test images in five severities: blur, noise, JPEG, light, rotation, scale.

Each function returns one change of a given strength; the numbers are in ``conf/robustness``.
Strengths hold at the size of the network's input, so that photographs of 1 and of 20 megapixels
suffer alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
from lightning import LightningDataModule
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from zsad.data.masks import resize_mask
from zsad.data.module import JsonDataModule
from zsad.types import Batch, Sample

Change = A.BasicTransform | A.BaseCompose


class Corruption:
    """A kind of change, from weak to strong.

    Args:
        make: Makes the change of a given strength.
        levels: The strength of each severity, from 1 upwards.
    """

    def __init__(self, make: Callable[[float], Change], levels: Sequence[int | float]) -> None:
        self.make = make
        self.levels = [float(level) for level in levels]

    def at_severity(self, severity: int, image_size: int | None) -> "CorruptionTransform":
        """Return the change of a severity, for images that the network sees at a size.

        Raises:
            ValueError: If there is no such severity.
        """
        if not 1 <= severity <= len(self.levels):
            raise ValueError(f"severity {severity}: expected 1 to {len(self.levels)}")
        return CorruptionTransform(self.make(self.levels[severity - 1]), image_size)


class CorruptionTransform:
    """A change of image and mask together, at the size of the network's input.

    It is the same for the same random seed.

    Args:
        change: The change.
        image_size: Both sides of the network's input; ``None``: images keep their size.
    """

    def __init__(self, change: Change, image_size: int | None) -> None:
        self.image_size = image_size
        self._compose = A.Compose([change])

    def set_random_seed(self, seed: int) -> None:
        """Begin the random numbers anew."""
        self._compose.set_random_seed(seed)

    def __call__(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None
    ) -> dict[str, Any]:
        """Change an image (h, w, 3); a mask (h, w) of 0 and 255 follows where pixels move."""
        if self.image_size is not None:
            # As a network would see them unchanged; the dataset's own resizing then does nothing.
            size = (self.image_size, self.image_size)
            resized = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
            image = np.array(resized)
            mask = None if mask is None else _resize_mask(mask, self.image_size)
        if mask is None:
            return self._compose(image=image)
        return self._compose(image=image, mask=mask)


class CorruptedDataModule(LightningDataModule):
    """The test images of a dataset, corrupted; references stay as they are.

    Args:
        clean: The dataset, set up.
        corrupt: Changes its test images; ``None`` for no change.
    """

    def __init__(self, clean: JsonDataModule, corrupt: CorruptionTransform | None) -> None:
        super().__init__()
        self.clean = clean
        self.corrupt = corrupt
        self.name = clean.name
        self.references = clean.references
        self.reference_images = clean.reference_images

    @property
    def categories(self) -> list[str]:
        """The categories of the test samples."""
        return self.clean.categories

    @property
    def test_samples(self) -> list[Sample]:
        """The test samples."""
        return self.clean.test_samples

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return every test image exactly once, corrupted."""
        self.clean.trainer = self.trainer  # it knows the processes that share the images
        loader = self.clean.test_dataloader()
        dataset: Any = loader.dataset
        dataset.augmentation = self.corrupt
        if self.corrupt is not None:
            dataset.decode_px = None  # all pixels, or the mask would not fit
        return loader


def blur(sigma_px: float) -> A.BasicTransform:
    """Blur by a Gaussian, as out of focus."""
    return A.GaussianBlur(blur_limit=0, sigma_limit=(sigma_px, sigma_px), p=1)


def noise(deviation: float) -> A.BasicTransform:
    """Add Gaussian noise to every channel; ``deviation`` is a share of the white level."""
    return A.GaussNoise(std_range=(deviation, deviation), p=1)


def jpeg(quality: float) -> A.BasicTransform:
    """Store as JPEG."""
    quality_range = (round(quality), round(quality))
    return A.ImageCompression(compression_type="jpeg", quality_range=quality_range, p=1)


def brightness(shift: float) -> A.BaseCompose:
    """Make some images brighter and the others darker by a share of the white level."""
    brighter = _change_light(shift, 0.0)
    darker = _change_light(-shift, 0.0)
    return A.OneOf([brighter, darker], p=1)


def contrast(loss: float) -> A.BasicTransform:
    """Take away a share of the contrast."""
    return _change_light(0.0, -loss)


def rotation(degrees: float) -> A.BaseCompose:
    """Rotate some images to the left, the others to the right; the missing rim is mirrored."""
    left = _move(rotate=degrees)
    right = _move(rotate=-degrees)
    return A.OneOf([left, right], p=1)


def scale(change: float) -> A.BaseCompose:
    """Enlarge some images by a share, shrink the others by it; the missing rim is mirrored."""
    larger = _move(scale=1 + change)
    smaller = _move(scale=1 / (1 + change))
    return A.OneOf([larger, smaller], p=1)


def _change_light(shift: float, gain: float) -> A.BasicTransform:
    return A.RandomBrightnessContrast(
        brightness_limit=(shift, shift), contrast_limit=(gain, gain), p=1
    )


def _move(rotate: float = 0.0, scale: float = 1.0) -> A.BasicTransform:
    return A.Affine(
        rotate=(rotate, rotate), scale=(scale, scale), border_mode=cv2.BORDER_REFLECT_101, p=1
    )


def _resize_mask(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    is_defective = resize_mask(Image.fromarray(mask), size).numpy()
    return np.where(is_defective, 255, 0).astype(np.uint8)
