"""From files to tensors: any image mode, opened by content; the published preprocessing exactly.

Legend: S side of the network input, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from zsad.types import Batch, Sample

Augmentation = Callable[..., dict[str, Any]]  # what an albumentations.Compose is

# Nothing else is opened, whatever a file is named: Pillow would hand an EPS to Ghostscript. JPEG covers MPO.
PIL_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
# What Pillow raises on broken files.
DECODE_ERRORS = (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError)
# An image decoded at twice the size of the input is resized to nearly the same pixels.
DRAFT_FACTOR = 2
_ORIENTATION = 0x0112  # EXIF
_SIDEWAYS = (5, 6, 7, 8)
_RESIZED_AS_STORED = frozenset({"RGB", "L", "RGBA"})
_SIXTEEN_BIT = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_EIGHT_BIT_MAX = 255
_SIXTEEN_TO_EIGHT = 257  # 65535 / 255


class UnreadableImageError(ValueError):
    """A file that is there but cannot be decoded."""


def load_image(path: Path, decode_px: int | None = None) -> Image.Image:
    """Open an image by its content and return its first frame, upright, as 8-bit RGB, L or RGBA.

    The published code ignores EXIF and shows a turned photograph as it was stored; here we knowingly differ.

    Args:
        path: The file.
        decode_px: Both sides need no more pixels than these: a larger JPEG may be decoded to a half, a quarter or an
            eighth, whichever is still as large, several times as fast and not quite the same picture.

    Raises:
        UnreadableImageError: Truncated, damaged, or no image.
        ValueError: Floating-point pixels, whose range has no agreed meaning.
        FileNotFoundError: No such file.
    """
    image = _decode(path, decode_px)
    if image.mode == "F":
        raise ValueError(
            f"{path} has floating-point pixels of unknown range: save it with 8 or 16 bits"
        )
    return to_eight_bits(image)


def load_mask(paths: Sequence[Path], threshold: int) -> Image.Image:
    """Return the union of the mask files of one image as L, 255 where a pixel is defective.

    Args:
        paths: One or several files of equal size.
        threshold: A pixel is defective above this value (0-255).

    Raises:
        ValueError: Files of different sizes; both names and sizes are told.
    """
    masks = [binarise(_decode(path), threshold) for path in paths]
    for path, mask in zip(paths, masks, strict=True):
        if mask.shape != masks[0].shape:
            sizes = f"{_size_text(masks[0].shape)} and {_size_text(mask.shape)}"
            raise ValueError(
                f"masks of one image differ in size: {paths[0]} and {path} are {sizes}"
            )
    return Image.fromarray(np.where(np.any(masks, axis=0), 255, 0).astype(np.uint8))


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Bring any mode to RGB, L or RGBA, the three modes that Pillow resizes as they are.

    Palettes and CMYK become colours, 1 bit black and white, grey with alpha RGBA; 16 bits are scaled from their full
    range. Here we knowingly differ from the published code, which resizes palettes and 1 bit by nearest neighbour and
    clips 16 bits at 255. RGB, L and RGBA pass unchanged, exactly as published.
    """
    if image.mode in _RESIZED_AS_STORED:
        return image
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image).astype(np.float64) / _SIXTEEN_TO_EIGHT
        return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def to_tensor(image: Image.Image, size: int | None) -> Float[Tensor, "3 h w"]:
    """Resize as stored (bicubic, both sides, aspect not kept), then RGB in [0, 1]; ``None`` keeps the native size.

    The order matters: an RGBA image is resized with premultiplied alpha and loses its alpha only then.

    Source: AnomalyCLIP, preprocessing without the normalisation, which belongs to the backbone.
    """
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image.convert("RGB")))  # (H, W, 3) uint8
    return pixels.permute(2, 0, 1).contiguous().float().div_(255)


def binarise(mask: Image.Image, threshold: int) -> NDArray[np.bool_]:
    """Return (H, W), ``True`` above the threshold in any channel.

    A 16-bit mask is compared at its own scale where it uses it; many hold 0 and 255, or class numbers.
    """
    values = _strongest_channel(mask)
    is_deep = mask.mode in _SIXTEEN_BIT and values.max() > _EIGHT_BIT_MAX
    return values > threshold * (_SIXTEEN_TO_EIGHT if is_deep else 1)


def mask_values(path: Path) -> NDArray[Any]:
    """Return (H, W), the values of a mask file as stored, of the strongest channel."""
    return _strongest_channel(_decode(path))


def soft_mask(mask: Image.Image, size: int | None, threshold: int = 0) -> Float[Tensor, "h w"]:
    """Cut at the threshold to 0 and 255, resize (Pillow bilinear), scale to [0, 1].

    Source: AnomalyCLIP, mask preprocessing; published with the threshold 0 for every dataset.
    """
    binary = Image.fromarray(np.where(binarise(mask, threshold), 255, 0).astype(np.uint8))
    if size is not None:
        binary = binary.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(binary)).float().div(255)


def resize_mask(mask: Image.Image, size: int | None, threshold: int = 0) -> Bool[Tensor, "h w"]:
    """Return a mask at network size: ``soft_mask`` above one half."""
    return soft_mask(mask, size, threshold) > 0.5


@dataclass(frozen=True, slots=True)
class SynthesisedImage:
    """A photograph into which a defect was drawn.

    Attributes:
        image: The photograph, of the size and mode it had.
        mask: L, 255 on the defect.
        defect: Kind of defect, for example ``drawn scratch``.
    """

    image: Image.Image
    mask: Image.Image
    defect: str


SynthesiseDefect = Callable[
    [Image.Image, np.random.Generator], SynthesisedImage | None
]  # None: the image stays as it is


class ImageDataset(Dataset[Batch]):
    """Samples as batches of one image.

    Args:
        samples: What the index lists.
        image_size: S, or ``None`` for native sizes (then batches of one).
        mask_threshold: A mask pixel is defective above this value (0-255); a fact of the dataset.
        augmentation: An ``albumentations.Compose``, applied at native size to image (uint8 RGB) and mask together.
        seed: Makes the augmentation of image i in epoch e the same on every run, with any number of workers; drawn
            defects likewise.
        fast_jpeg: Decode large JPEGs no finer than ``DRAFT_FACTOR`` times S: faster, but not the published pixels.
        drawn_defects: Damages normal images, before any augmentation; anomalous ones keep the defect they have.
        views: So many versions of every image, augmented and damaged in as many ways, taken in turn epoch by epoch;
            ``None`` for others in every epoch.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        image_size: int | None,
        mask_threshold: int = 0,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        fast_jpeg: bool = False,
        drawn_defects: SynthesiseDefect | None = None,
        views: int | None = None,
    ) -> None:
        if views is not None and views < 1:
            raise ValueError(
                f"dataset.views={views}: expected 1 or more, or null for other views in every epoch"
            )
        if fast_jpeg and (image_size is None or augmentation is not None):
            raise ValueError(
                "dataset.fast_jpeg needs an image_size and augmentation=none (others work on all pixels)"
            )
        self.samples = samples
        self.image_size = image_size
        self.mask_threshold = mask_threshold
        self.augmentation = augmentation
        self.seed = seed
        self.drawn_defects = drawn_defects
        self.views = views
        self.decode_px = DRAFT_FACTOR * image_size if fast_jpeg and image_size is not None else None
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
        image = load_image(sample.image_path, self.decode_px)
        mask = self._mask(
            sample, image.size if self.decode_px is None else upright_size(sample.image_path)
        )
        if self.drawn_defects is not None and not sample.is_anomalous:
            drawn = self.drawn_defects(
                image, np.random.default_rng(self._chance(index).spawn(1)[0])
            )
            if drawn is not None:
                image, mask = drawn.image, drawn.mask
                sample = replace(sample, is_anomalous=True, defect=drawn.defect)
        if self.augmentation is not None:
            image, mask = self._augment(index, image, mask)
        tensor = to_tensor(image, self.image_size)
        blank = torch.zeros(tensor.shape[1:], dtype=torch.bool)
        return Batch(
            image=tensor[None],
            mask=(blank if mask is None else resize_mask(mask, self.image_size))[None],
            has_mask=torch.tensor([mask is not None or not sample.is_anomalous]),
            is_anomalous=torch.tensor([sample.is_anomalous]),
            category=(sample.category,),
            defect=(sample.defect,),
            path=(str(sample.image_path),),
        )

    def _mask(self, sample: Sample, size: tuple[int, int]) -> Image.Image | None:
        """Return the mask of an anomalous image, or ``None`` where it is unknown; normal images need none."""
        if sample.mask_path is None or not sample.is_anomalous:
            return None
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
            set_random_seed(int(self._chance(index).generate_state(1)[0]))
        arrays: dict[str, Any] = {"image": np.array(image.convert("RGB"))}
        if mask is not None:
            arrays["mask"] = np.array(mask)
        changed = self.augmentation(**arrays)
        return Image.fromarray(changed["image"]), None if mask is None else Image.fromarray(
            changed["mask"]
        )

    def _chance(self, index: int) -> np.random.SeedSequence:
        return np.random.SeedSequence((self.seed, self.view, index))


def collate(items: Iterable[Batch]) -> Batch:
    """Join batches into one; images of different sizes need ``image_size`` or batches of one."""
    items = list(items)
    shapes = sorted({tuple(item.image.shape[2:]) for item in items})
    if len(shapes) > 1:
        sizes = ", ".join(_size_text(shape) for shape in shapes)
        raise ValueError(
            f"images of {sizes} cannot share a batch: set image_size, or a batch size of 1"
        )
    return Batch(
        image=torch.cat([item.image for item in items]),
        mask=torch.cat([item.mask for item in items]),
        has_mask=torch.cat([item.has_mask for item in items]),
        is_anomalous=torch.cat([item.is_anomalous for item in items]),
        category=tuple(name for item in items for name in item.category),
        defect=tuple(name for item in items for name in item.defect),
        path=tuple(name for item in items for name in item.path),
    )


def upright_size(path: Path) -> tuple[int, int]:
    """Return (width, height) as ``load_image`` will give it, from the header alone."""
    with _opened(path) as image:
        if image.format == "TIFF":  # Pillow has turned the size of these already, unlike all others
            return image.size
        # The base class reads what the header told; a PNG's own method decodes it whole in search of a late EXIF block.
        is_sideways = Image.Image.getexif(image).get(_ORIENTATION) in _SIDEWAYS
        return (image.size[1], image.size[0]) if is_sideways else image.size


def size_difference(
    image: Path, image_size: tuple[int, int], mask: Path, mask_size: tuple[int, int]
) -> str:
    """Return the sentence about a mask that does not fit its image; sizes are (width, height)."""
    return f"{mask} is {mask_size[0]} x {mask_size[1]}, but its image {image} is {image_size[0]} x {image_size[1]}"


def _strongest_channel(mask: Image.Image) -> NDArray[Any]:
    if mask.mode not in ("L", "F", *_SIXTEEN_BIT):
        mask = mask.convert("L" if mask.mode in ("1", "LA") else "RGB")
    values = np.asarray(mask)
    return values if values.ndim == 2 else values.max(axis=2)


def _decode(path: Path, decode_px: int | None = None) -> Image.Image:
    with _opened(path) as image:
        if decode_px is not None:
            image.draft(None, (decode_px, decode_px))  # JPEG alone; nothing happens to others
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return image


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; what Pillow raises here, or while the header or the pixels are read, names the file."""
    try:
        # From an open file: by its name, Pillow would map a TIFF that lies on its side into memory with width and
        # height exchanged, and show it scrambled.
        with path.open("rb") as file, Image.open(file, formats=PIL_FORMATS) as image:
            yield image
    except FileNotFoundError:
        raise
    except DECODE_ERRORS as error:
        text = (
            f"cannot read {path} ({error}): fetch it again; zsad verify NAME lists every such file"
        )
        raise UnreadableImageError(text) from error


def _size_text(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"
