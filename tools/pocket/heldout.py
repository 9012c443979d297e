"""The number to follow: prompts learned on auxiliary categories, tested on target categories never trained on.

Features of both sets are computed once; AnomalyCLIP then learns its prompts on them as it does in the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from pocket.towers import ARCHITECTURE
from zsad.backbones.clip import CLIP, ImageFeatures
from zsad.backbones.tokenizer import tokenize
from zsad.data.synthetic import render, stream
from zsad.data.synthetic.world import WORLDS
from zsad.maths import curves, similarity
from zsad.maths.resample import gaussian_smooth
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.types import Batch

_RENDERED = 256
_SEED = 20
_BATCH = 8
WRITTEN = ("object.", "damaged object.")  # AnomalyCLIP's sentences without anything learned


@dataclass(frozen=True, slots=True)
class Photos:
    """A small data set: (n, 3, s, s) pictures in [0, 1], (n, s, s) bool masks, n category names."""

    image: Tensor
    mask: Tensor
    category: list[str]


class OnFeatures(AnomalyCLIP):
    """AnomalyCLIP for which the image tower has run already."""

    features: ImageFeatures

    def encode_image(self, image: Tensor) -> ImageFeatures:  # noqa: ARG002
        """Return the features at hand."""
        return self.features


def photos(world: str, side: int, good: int, defective: int, grades: tuple[str, ...], cache: Path) -> Photos:
    """Render a world's line categories at 256 px and shrink them to ``side``; kept in ``cache``."""
    path = cache / f"{world}-{side}-{good}-{defective}-{'-'.join(grades)}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        drawn = [_photo(world, name, k, good, grades, side) for name in WORLDS[world] for k in range(good + defective)]
        np.savez(path, image=np.stack([photo for photo, _ in drawn]), mask=np.stack([mask for _, mask in drawn]))
    stored = np.load(path)
    names = [name for name in WORLDS[world] for _ in range(good + defective)]
    return Photos(torch.from_numpy(stored["image"]).permute(0, 3, 1, 2) / 255, torch.from_numpy(stored["mask"]), names)


def _photo(
    world: str, name: str, number: int, good: int, grades: tuple[str, ...], side: int
) -> tuple[np.ndarray, np.ndarray]:
    kinds, bad = WORLDS[world][name].defects, number - good
    defect, grade = (None, "medium") if bad < 0 else (kinds[bad % len(kinds)], grades[bad % len(grades)])
    photo, mask = render(name, stream(_SEED, name, number), _RENDERED, defect, grade)
    small = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA), small > 0.5 * min(1.0, small.max())


def encoded(method: AnomalyCLIP, image: Tensor) -> ImageFeatures:
    """Run the image tower over all pictures."""
    parts = [method.encode_image(chunk) for chunk in image.split(32)]
    tokens = tuple(torch.cat(taps) for taps in zip(*(part.tokens for part in parts), strict=True))
    return ImageFeatures(torch.cat([part.image for part in parts]), tokens, parts[0].grid)


def _rows(features: ImageFeatures, rows: Tensor) -> ImageFeatures:
    return ImageFeatures(features.image[rows], tuple(taps[rows] for taps in features.tokens), features.grid)


def learn_prompts(method: OnFeatures, features: ImageFeatures, data: Photos, epochs: int, seed: int) -> None:
    """Train the prompts with AnomalyCLIP's own loss and optimizer."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(method.prompts.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bad = data.mask.flatten(1).any(1)
    for _ in range(epochs):
        for rows in torch.randperm(len(bad), generator=generator).split(_BATCH):
            method.features = _rows(features, rows)
            known = torch.ones(len(rows), dtype=torch.bool)
            names = tuple(data.category[row] for row in rows.tolist())
            batch = Batch(data.image[rows], data.mask[rows], known, bad[rows], names, names, names)
            loss = torch.stack(list(method.loss(batch).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def scores(method: OnFeatures, text: Tensor, features: ImageFeatures, data: Photos) -> dict[str, float]:
    """Return percentages, mean over categories: image AUROC by class token, map peak and both; pixel AUROC, AUPRO."""
    size = (data.image.shape[-2], data.image.shape[-1])
    maps = gaussian_smooth(method.block_maps(features, text, size)[0], method.sigma_px)
    seen, peak = similarity.margin(method.image_logits(features, text)), similarity.peak_margin(maps)
    ways = {"global": seen, "map": peak, "both": similarity.mean_margin(seen, peak)}
    bad, names = data.mask.flatten(1).any(1), np.array(data.category)
    rows: dict[str, list[float]] = {}
    for name in dict.fromkeys(data.category):
        at = torch.from_numpy(names == name)
        for way, score in ways.items():
            rows.setdefault(way, []).append(curves.auroc(curves.rank_labelled(score[at], bad[at])))
        ranking = curves.rank_pixels(maps[at], data.mask[at])
        rows.setdefault("pixel", []).append(curves.auroc(ranking))
        rows.setdefault("aupro", []).append(curves.aupro(ranking))
    return {way: 100 * float(np.mean(values)) for way, values in rows.items()}


def measure(
    weights: Path, cache: Path, side: int = 128, epochs: int = 8, seed: int = 0, *, untrained: bool = False
) -> dict[str, float]:
    """Learn prompts on ``synthetic_a`` and test on ``synthetic_b``, medium.

    Args:
        weights: The backbone.
        cache: Folder for the rendered pictures.
        side: Input size in pixels.
        epochs: Of prompt learning; 0 leaves *object* and *damaged object*, as written, without learned tokens.
        seed: Of the prompts.
        untrained: Take random weights of the same shape instead.
    """
    auxiliary = photos("a", side, 6, 12, ("easy", "medium"), cache)
    target = photos("b", side, 10, 12, ("medium",), cache)
    torch.manual_seed(seed)
    method = OnFeatures(CLIP(None, None, architecture=ARCHITECTURE) if untrained else CLIP(pretrained=str(weights)))
    if epochs:
        tower = AnomalyCLIP(method.backbone)
        learn_prompts(method, encoded(tower, auxiliary.image), auxiliary, epochs, seed)
        text = method.text_features()
    else:
        text = method.backbone.encode_text(tokenize(WRITTEN))
    return scores(method, text, encoded(AnomalyCLIP(method.backbone), target.image), target)
