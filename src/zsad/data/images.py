"""From files to tensors: the images of an index as batches, preprocessed exactly as published.

Legend: S side of the network input, h × w pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from zsad.data.decoding import load_image, upright_size
from zsad.data.masks import load_mask, resize_mask, size_difference, size_text
from zsad.types import Batch, Sample

Augmentation = Callable[..., dict[str, Any]]  # such as an albumentations.Compose

# An image decoded at twice the size of the input is resized to nearly the same pixels.
DRAFT_FACTOR = 2


def to_tensor(image: Image.Image, size: int | None) -> Float[Tensor, "3 h w"]:
    """Resize as stored (bicubic, both sides, aspect not kept), then convert to RGB in [0, 1].

    The order matters: an RGBA image is resized with premultiplied alpha and loses its alpha only
    then. ``None`` keeps the native size.

    Source: AnomalyCLIP, preprocessing without the normalisation, which belongs to the backbone.
    """
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image.convert("RGB")))  # (h, w, 3) uint8
    return pixels.permute(2, 0, 1).contiguous().float().div_(255)


@dataclass(frozen=True, slots=True)
class SynthesisedImage:
    """An image with a synthetic defect.

    Attributes:
        image: The damaged image, in its original size and mode.
        mask: L, 255 on the defect.
        defect: Kind of defect, for example ``drawn scratch``.
    """

    image: Image.Image
    mask: Image.Image
    defect: str


# Returns None where the image stays as it is.
SynthesiseDefect = Callable[[Image.Image, np.random.Generator], SynthesisedImage | None]


class ImageDataset(Dataset[Batch]):
    """Samples as batches of one image.

    Args:
        samples: The samples of an index.
        image_size: S, or ``None`` for native sizes (then batches of one).
        mask_threshold: A mask pixel is defective above this value (0-255); a fact of the dataset.
        augmentation: An ``albumentations.Compose``, applied at native size to image (uint8 RGB) and
            mask together.
        seed: Makes the augmentation of image i in epoch e the same on every run, with any number of
            workers; synthetic defects likewise.
        fast_jpeg: Decode large JPEGs no finer than ``DRAFT_FACTOR`` times S: faster, but not the
            published pixels.
        synthetic_defects: Damages normal images before any augmentation; anomalous images keep
            their own defect.
        views: Number of versions of every image, augmented and damaged in different ways, taken in
            turn epoch by epoch; ``None`` for new ones in every epoch.

    Raises:
        ValueError: ``views`` below 1; ``fast_jpeg`` with native sizes or augmentation.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        image_size: int | None,
        mask_threshold: int = 0,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        fast_jpeg: bool = False,
        synthetic_defects: SynthesiseDefect | None = None,
        views: int | None = None,
    ) -> None:
        if views is not None and views < 1:
            raise ValueError(
                f"dataset.views={views}: expected 1 or more, or null for other views in every epoch"
            )
        if fast_jpeg and (image_size is None or augmentation is not None):
            raise ValueError(
                "dataset.fast_jpeg needs an image_size and augmentation=none "
                "(others work on all pixels)"
            )
        self.samples = samples
        self.image_size = image_size
        self.mask_threshold = mask_threshold
        self.augmentation = augmentation
        self.seed = seed
        self.synthetic_defects = synthetic_defects
        self.views = views
        self.decode_px: int | None = None
        if fast_jpeg and image_size is not None:
            self.decode_px = DRAFT_FACTOR * image_size
        # Shared memory, so that workers which outlive an epoch see the next one.
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def view(self) -> int:
        """The number of the view that every image shows in this epoch."""
        epoch = int(self.epoch)
        return epoch if self.views is None else epoch % self.views

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Batch:
        """Return image ``index`` as a batch of one."""
        sample = self.samples[index]
        image = load_image(sample.image_path, self.decode_px, sample.value_range)
        mask = self._load_mask(sample, image)
        if self.synthetic_defects is not None and not sample.is_anomalous:
            (seed,) = self._seed_sequence(index).spawn(1)
            rng = np.random.default_rng(seed)
            damaged = self.synthetic_defects(image, rng)
            if damaged is not None:
                image = damaged.image
                mask = damaged.mask
                sample = replace(sample, is_anomalous=True, defect=damaged.defect)
        if self.augmentation is not None:
            image, mask = self._augment(index, image, mask)
        return self._to_batch(sample, image, mask)

    def _load_mask(self, sample: Sample, image: Image.Image) -> Image.Image | None:
        """Return the mask of an anomalous image, ``None`` if unknown; normal images need none."""
        if sample.mask_path is None or not sample.is_anomalous:
            return None
        # An image that was decoded coarsely does not have its size any more.
        size = image.size if self.decode_px is None else upright_size(sample.image_path)
        mask = load_mask([sample.mask_path, *sample.more_masks], self.mask_threshold)
        if mask.size != size:
            raise ValueError(size_difference(sample.image_path, size, sample.mask_path, mask.size))
        return mask

    def _augment(
        self, index: int, image: Image.Image, mask: Image.Image | None
    ) -> tuple[Image.Image, Image.Image | None]:
        assert self.augmentation is not None
        set_random_seed = getattr(self.augmentation, "set_random_seed", None)
        if set_random_seed is not None:
            (seed,) = self._seed_sequence(index).generate_state(1)
            set_random_seed(int(seed))
        pixels = np.array(image.convert("RGB"))
        if mask is None:
            return Image.fromarray(self.augmentation(image=pixels)["image"]), None
        augmented = self.augmentation(image=pixels, mask=np.array(mask))
        return Image.fromarray(augmented["image"]), Image.fromarray(augmented["mask"])

    def _to_batch(self, sample: Sample, image: Image.Image, mask: Image.Image | None) -> Batch:
        tensor = to_tensor(image, self.image_size)
        if mask is None:
            pixel_mask = torch.zeros(tensor.shape[1:], dtype=torch.bool)
        else:
            pixel_mask = resize_mask(mask, self.image_size)
        return Batch(
            image=tensor[None],
            mask=pixel_mask[None],
            has_mask=torch.tensor([mask is not None or not sample.is_anomalous]),
            is_anomalous=torch.tensor([sample.is_anomalous]),
            category=(sample.category,),
            defect=(sample.defect,),
            path=(str(sample.image_path),),
        )

    def _seed_sequence(self, index: int) -> np.random.SeedSequence:
        return np.random.SeedSequence((self.seed, self.view, index))


def collate(items: Iterable[Batch]) -> Batch:
    """Join batches into one.

    Raises:
        ValueError: Images of different sizes: they need ``image_size``, or batches of one.
    """
    batches = list(items)
    _require_one_size(batches)
    return Batch(
        image=_concatenate(batches, "image"),
        mask=_concatenate(batches, "mask"),
        has_mask=_concatenate(batches, "has_mask"),
        is_anomalous=_concatenate(batches, "is_anomalous"),
        category=_join(batches, "category"),
        defect=_join(batches, "defect"),
        path=_join(batches, "path"),
    )


def _require_one_size(batches: Sequence[Batch]) -> None:
    shapes = {tuple(batch.image.shape[2:]) for batch in batches}
    if len(shapes) > 1:
        sizes = ", ".join(size_text((width, height)) for height, width in sorted(shapes))
        raise ValueError(
            f"images of {sizes} cannot share a batch: set image_size, or a batch size of 1"
        )


def _concatenate(batches: Sequence[Batch], field: str) -> Tensor:
    return torch.cat([getattr(batch, field) for batch in batches])


def _join(batches: Sequence[Batch], field: str) -> tuple[str, ...]:
    joined: list[str] = []
    for batch in batches:
        joined += getattr(batch, field)
    return tuple(joined)
