"""A pool of rendered pairs on disk, and augmented crops out of it.

Legend: P pairs in a batch, s side of a crop in pixels. A pair is one part, flawless and damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pocket.texts import CATEGORIES, DEFECTS
from zsad.data.synthetic import random_stream, wild_pair

SIDE = 128

_SHARD = 1000
_RENDER_SIZES = (
    128,
    160,
    192,
    192,
    256,
)  # larger ones are cut to SIDE: the same patterns, seen closer
_LEAST_PIXELS = 5  # a crop that shows less of its defect counts as flawless
_GREY_SHARE = 0.4  # many inspection cameras have no colour


@dataclass(frozen=True, slots=True)
class Pairs:
    """A batch of crops.

    Attributes:
        clean: (P, 3, s, s) in [0, 1].
        damaged: The same crops of the damaged parts.
        mask: (P, s, s) float, 1 at the damage.
        category: (P,) index into ``CATEGORIES``.
        defect: (P,) index into ``DEFECTS``.
        visible: (P,) bool, whether the crop shows the damage.
    """

    clean: Tensor
    damaged: Tensor
    mask: Tensor
    category: Tensor
    defect: Tensor
    visible: Tensor


def render_pool(folder: Path, pairs: int, seed: int, workers: int) -> None:
    """Render ``pairs`` pairs of the wild world in shards; existing shards are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [k for k in range(-(-pairs // _SHARD)) if not _shard(folder, k).exists()]
    with ProcessPoolExecutor(workers) as executor:
        list(executor.map(_render_shard, [folder] * len(waiting), waiting, [seed] * len(waiting)))


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.npy"


def _render_shard(folder: Path, number: int, seed: int) -> None:
    """Write one shard and its labels.

    A shard is (n, 128, 128, 7) uint8 (flawless RGB, damaged RGB, mask), its labels are (n, 2).
    """
    pixels = np.empty((_SHARD, SIDE, SIDE, 7), np.uint8)
    labels = np.empty((_SHARD, 2), np.int64)
    for row in range(_SHARD):
        pixels[row], labels[row] = _render(seed, number * _SHARD + row)
    np.save(_shard(folder, number).with_suffix(".labels.npy"), labels)
    partial = _shard(folder, number).with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, pixels)
    partial.rename(_shard(folder, number))


def _render(seed: int, index: int) -> tuple[np.ndarray, tuple[int, int]]:
    rng = random_stream(seed, "pool", index)
    draw = wild_pair(seed, index, int(rng.choice(_RENDER_SIZES)))
    pair = draw.pair
    stacked = np.concatenate(
        [pair.clean, pair.defective, pair.mask[..., None].astype(np.uint8)], axis=-1
    )
    top, left = _window(pair.mask, SIDE, rng, at_defect=True)
    cut = stacked[top : top + SIDE, left : left + SIDE]
    return cut, (CATEGORIES.index(draw.category), DEFECTS.index(draw.defect))


def _window(
    mask: np.ndarray, side: int, rng: np.random.Generator, *, at_defect: bool
) -> tuple[int, int]:
    """Return the corner of a window, over one pixel of the mask if asked, else anywhere."""
    room = np.array(mask.shape) - side
    if not at_defect:
        top, left = rng.integers(0, room + 1)
        return int(top), int(left)
    pixels = np.argwhere(mask)
    corner = pixels[rng.integers(len(pixels))] - rng.integers(0, side, 2)
    top, left = np.clip(corner, 0, room)
    return int(top), int(left)


class Pool:
    """Everything rendered so far, opened without reading it."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(path for path in folder.glob("*.npy") if "labels" not in path.name)
        if not paths:
            raise FileNotFoundError(f"no rendered pairs in {folder}; run with --pairs first")
        self._pixels = [np.load(path, mmap_mode="r") for path in paths]
        self._labels = [np.load(path.with_suffix(".labels.npy")) for path in paths]

    def __len__(self) -> int:
        return len(self._pixels) * _SHARD

    def batch(
        self, pairs: int, side: int, rng: np.random.Generator, at_defect: float = 0.85
    ) -> Pairs:
        """Draw ``pairs`` crops of ``side`` pixels, turned and mirrored at random.

        The share ``at_defect`` of them lies over the defect.
        """
        rows = rng.integers(0, len(self), pairs)
        crops = np.stack([self._crop(row, side, rng, rng.random() < at_defect) for row in rows])
        labels = torch.from_numpy(
            np.stack([self._labels[row // _SHARD][row % _SHARD] for row in rows])
        )
        stacked = (
            torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        )  # (P, s, s, 7) -> (P, 7, s, s)
        clean, damaged = augmented(stacked[:, :3] / 255, stacked[:, 3:6] / 255, rng)
        mask = stacked[:, 6]
        visible = mask.sum((1, 2)) >= _LEAST_PIXELS
        return Pairs(clean, damaged, mask, labels[:, 0], labels[:, 1], visible)

    def _crop(self, row: int, side: int, rng: np.random.Generator, at_defect: bool) -> np.ndarray:
        pixels = np.asarray(self._pixels[row // _SHARD][row % _SHARD])
        top, left = _window(pixels[..., 6], side, rng, at_defect=at_defect)
        crop = np.rot90(pixels[top : top + side, left : left + side], rng.integers(4))
        return crop[:, ::-1] if rng.random() < 0.5 else crop


def augmented(clean: Tensor, damaged: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Change light, contrast, colour, sharpness and noise, equally for both pictures of a pair."""
    pairs, side = len(clean), clean.shape[-1]

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (pairs, 1, 1, 1))).float()

    def chosen(share: float) -> Tensor:
        return (draw(0, 1) < share).float()

    ramp = torch.linspace(-1, 1, side)
    light = (
        1 + draw(-0.25, 0.25) * ramp.view(1, 1, 1, -1) + draw(-0.25, 0.25) * ramp.view(1, 1, -1, 1)
    )
    tint = 1 + chosen(0.5) * torch.from_numpy(rng.uniform(-0.2, 0.2, (pairs, 3, 1, 1))).float()
    gain, contrast, gamma, grey, blur = (
        draw(0.7, 1.3),
        draw(0.6, 1.3),
        draw(0.7, 1.4),
        chosen(_GREY_SHARE),
        chosen(0.2),
    )
    noise = torch.from_numpy(rng.standard_normal((pairs, 3, side, side), dtype=np.float32)) * draw(
        0, 0.03
    )
    middle = clean.mean((1, 2, 3), keepdim=True)

    def changed(image: Tensor) -> Tensor:
        image = ((image - middle) * contrast + middle) * light * tint * gain
        image = torch.lerp(image, image.mean(1, keepdim=True).expand_as(image), grey)
        image = torch.lerp(image, F.avg_pool2d(image, 3, 1, 1, count_include_pad=False), blur)
        image = image.clamp(1e-3, 1) ** gamma
        return (image + torch.lerp(noise, noise[:, :1].expand_as(noise), grey)).clamp(0, 1)

    return changed(clean), changed(damaged)


def patch_samples(batches: Sequence[Pairs], patch: int) -> Tensor:
    """Return (n, 3 · patch²) pixel vectors of all patches of the damaged crops for whitening."""
    return torch.cat(
        [
            F.unfold(batch.damaged, patch, stride=patch).transpose(1, 2).flatten(0, 1)
            for batch in batches
        ]
    )
