"""Images with detail at every scale, and samples of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from zsad.types import Sample


def sample(path, category="tile"):
    return Sample(Path(path), None, category, "", is_anomalous=False)


def texture(seed, size=(240, 180)):
    """Return a picture with detail at every scale."""
    rng = np.random.default_rng(seed)
    layers = [
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        for side in (4, 12, 40)
    ]
    return Image.fromarray(
        np.mean([np.asarray(layer, dtype=float) for layer in layers], axis=0).astype(np.uint8)
    )


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path
