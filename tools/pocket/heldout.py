"""Score of a backbone on target categories that training never saw.

AnomalyCLIP learns its prompts on auxiliary categories as it does in the package; features of both
sets are computed once. A measure without any learning stands beside it: the distance of a place
from the rest of its image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from zsad.backbones.clip.architecture import infer_architecture
from zsad.backbones.clip.model import CLIP, ImageFeatures
from zsad.backbones.clip.tokenizer import tokenize
from zsad.backbones.clip.weights import read_state_dict
from zsad.config import compose, instantiate
from zsad.data.images import collate
from zsad.data.synthetic import random_stream, render
from zsad.data.synthetic.world import WORLDS
from zsad.functional import similarity
from zsad.functional.resample import gaussian_smooth
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.metrics import curves
from zsad.types import Batch

_RENDERED = 256
_SEED = 20
_BATCH = 8
_DETAIL_PX, _SURROUND_PX, _SMOOTH_PX = 2.0, 16.0, 4.0  # sigmas; the last is AnomalyCLIP's
WRITTEN = ("object.", "damaged object.")  # AnomalyCLIP's sentences without anything learned


@dataclass(frozen=True, slots=True)
class Photos:
    """A small data set.

    It holds (n, 3, s, s) images in [0, 1], (n, s, s) bool masks, n image labels and category names.
    """

    image: Tensor
    mask: Tensor
    bad: Tensor
    category: list[str]


class OnFeatures(AnomalyCLIP):
    """AnomalyCLIP for which the image tower has run already."""

    features: ImageFeatures

    def encode_image(self, image: Tensor) -> ImageFeatures:  # noqa: ARG002
        """Return the features at hand."""
        return self.features


def photos(
    world: str, side: int, good: int, defective: int, grades: tuple[str, ...], cache: Path
) -> Photos:
    """Render a world's line categories at 256 px and shrink them to ``side``; kept in ``cache``."""
    path = cache / f"{world}-{side}-{good}-{defective}-{'-'.join(grades)}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        drawn = [
            _photo(world, name, k, good, grades, side)
            for name in WORLDS[world]
            for k in range(good + defective)
        ]
        np.savez(
            path,
            image=np.stack([photo for photo, _ in drawn]),
            mask=np.stack([mask for _, mask in drawn]),
        )
    stored = np.load(path)
    names = [name for name in WORLDS[world] for _ in range(good + defective)]
    image, mask = (
        torch.from_numpy(stored["image"]).permute(0, 3, 1, 2) / 255,
        torch.from_numpy(stored["mask"]),
    )
    return Photos(image, mask, mask.flatten(1).any(1), names)


def _photo(
    world: str, name: str, number: int, good: int, grades: tuple[str, ...], side: int
) -> tuple[np.ndarray, np.ndarray]:
    kinds, bad = WORLDS[world][name].defects, number - good
    defect, grade = (
        (None, "medium") if bad < 0 else (kinds[bad % len(kinds)], grades[bad % len(grades)])
    )
    photo, mask = render(name, random_stream(_SEED, name, number), _RENDERED, defect, grade)
    small = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA), small > 0.5 * min(
        1.0, small.max()
    )


def auxiliary(side: int, cache: Path) -> Photos:
    """Return 144 pictures of ``synthetic_a``, easy and medium, to learn prompts on."""
    return photos("a", side, 6, 12, ("easy", "medium"), cache)


def target(side: int, cache: Path) -> Photos:
    """Return 176 pictures of ``synthetic_b``, medium, to test on."""
    return photos("b", side, 10, 12, ("medium",), cache)


def dataset(name: str, side: int) -> Photos:
    """Read the test images of an indexed dataset, found and read as ``test.py`` does."""
    choices = [f"dataset={name}", "backbone=pocket", f"image_size={side}", "paths.output_dir=."]
    data = instantiate.build(
        compose.compose_config("test", [*choices, "dataset.test_batch_size=16"]).dataset
    )
    data.setup("test")
    every = collate(data.test_dataloader())
    return Photos(every.image, every.mask, every.is_anomalous, list(every.category))


def encoded(method: AnomalyCLIP, image: Tensor) -> ImageFeatures:
    """Run the image tower over all pictures."""
    parts = [method.encode_image(chunk) for chunk in image.split(32)]
    tokens = tuple(torch.cat(taps) for taps in zip(*(part.tokens for part in parts), strict=True))
    return ImageFeatures(torch.cat([part.image for part in parts]), tokens, parts[0].grid)


def _rows(features: ImageFeatures, rows: Tensor) -> ImageFeatures:
    return ImageFeatures(
        features.image[rows], tuple(taps[rows] for taps in features.tokens), features.grid
    )


def learn_prompts(
    method: OnFeatures, features: ImageFeatures, data: Photos, epochs: int, seed: int
) -> None:
    """Train the prompts with AnomalyCLIP's own loss and optimizer."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(method.prompts.parameters(), lr=1e-3, betas=(0.5, 0.999))
    for _ in range(epochs):
        for rows in torch.randperm(len(data.bad), generator=generator).split(_BATCH):
            method.features = _rows(features, rows)
            known = torch.ones(len(rows), dtype=torch.bool)
            names = tuple(data.category[row] for row in rows.tolist())
            batch = Batch(
                data.image[rows], data.mask[rows], known, data.bad[rows], names, names, names
            )
            loss = torch.stack(list(method.loss(batch).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def rates(ways: Mapping[str, Tensor], maps: Tensor, data: Photos) -> dict[str, float]:
    """Return percentages, mean over categories.

    They are the image AUROC of each way to score an image, pixel AUROC and AUPRO.
    """
    names = np.array(data.category)
    rows: dict[str, list[float]] = {}
    for name in dict.fromkeys(data.category):
        at = torch.from_numpy(names == name)
        for way, score in ways.items():
            rows.setdefault(way, []).append(
                curves.auroc(curves.rank_labelled(score[at], data.bad[at]))
            )
        ranking = curves.rank_pixels(maps[at], data.mask[at])
        rows.setdefault("pixel", []).append(curves.auroc(ranking))
        rows.setdefault("aupro", []).append(curves.aupro(ranking))
    return {way: 100 * float(np.mean(values)) for way, values in rows.items()}


@torch.no_grad()
def scores(
    method: OnFeatures, text: Tensor, features: ImageFeatures, data: Photos
) -> dict[str, float]:
    """Return ``rates`` of AnomalyCLIP, images scored by class token, peak of the map, and both."""
    size = (data.image.shape[-2], data.image.shape[-1])
    maps = gaussian_smooth(method.block_maps(features, text, size)[0], method.sigma_px)
    seen, peak = (
        similarity.margin(method.image_logits(features, text)),
        similarity.peak_margin(maps),
    )
    return rates(
        {"global": seen, "map": peak, "both": similarity.mean_margin(seen, peak)}, maps, data
    )


class Trial:
    """Features of both sets by one backbone, to learn prompts on one set and test on the other.

    Args:
        weights: The backbone.
        auxiliary: To learn on.
        target: To test on.
        untrained: Take random weights of the same shape instead.
    """

    def __init__(
        self, weights: Path, auxiliary: Photos, target: Photos, *, untrained: bool = False
    ) -> None:
        shape = infer_architecture(read_state_dict(weights))
        self.backbone = (
            CLIP(None, None, architecture=shape) if untrained else CLIP(pretrained=str(weights))
        )
        self.auxiliary, self.target = auxiliary, target
        tower = AnomalyCLIP(self.backbone)
        self.learned_on, self.tested_on = (
            encoded(tower, auxiliary.image),
            encoded(tower, target.image),
        )

    def run(self, epochs: int, seed: int) -> dict[str, float]:
        """Learn prompts and return their ``scores``.

        0 epochs leave *object* and *damaged object*, as written.
        """
        torch.manual_seed(seed)
        method = OnFeatures(self.backbone)
        if epochs:
            learn_prompts(method, self.learned_on, self.auxiliary, epochs, seed)
            text = method.text_features()
        else:
            text = method.backbone.encode_text(tokenize(WRITTEN))
        return scores(method, text, self.tested_on, self.target)


def measure(
    weights: Path, cache: Path, side: int = 128, epochs: int = 8, seed: int = 0
) -> dict[str, float]:
    """Learn prompts on ``synthetic_a`` and test on ``synthetic_b``, medium.

    Args:
        weights: The backbone.
        cache: Folder for the rendered pictures.
        side: Input size in pixels.
        epochs: Of prompt learning; 0 leaves *object* and *damaged object*, as written, without
            learned tokens.
        seed: Of the prompts.
    """
    return Trial(weights, auxiliary(side, cache), target(side, cache)).run(epochs, seed)


def contrast_maps(image: Tensor, *, local: bool) -> Tensor:
    """Return (n, s, s) distances of each place's colour and roughness from the usual in its image.

    Args:
        image: (n, 3, s, s) in [0, 1].
        local: Usual is the mean of the surroundings; otherwise the median of the picture.
    """
    grey = image.mean(dim=1, keepdim=True)
    colour, square, mean = (_smooth(values, _DETAIL_PX) for values in (image, grey**2, grey))
    look = torch.cat([colour, (square - mean**2).clamp(min=0).sqrt()], dim=1)  # (n, 4, s, s)
    usual = (
        _smooth(look, _SURROUND_PX)
        if local
        else look.flatten(2).median(dim=2).values[..., None, None]
    )
    return gaussian_smooth((look - usual).norm(dim=1), _SMOOTH_PX)


def contrast(data: Photos, *, local: bool) -> dict[str, float]:
    """Return ``rates`` of ``contrast_maps``, without learning.

    The score of an image is the peak of its map.
    """
    maps = torch.cat([contrast_maps(chunk, local=local) for chunk in data.image.split(32)])
    return rates({"map": maps.amax(dim=(1, 2))}, maps, data)


def _smooth(values: Tensor, sigma_px: float) -> Tensor:
    return gaussian_smooth(values.flatten(0, 1), sigma_px).unflatten(0, values.shape[:2])
