"""Synthetic defects drawn into real photographs, with exact masks, to learn from normal images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image

from zsad.data.images import SynthesisedImage
from zsad.data.synthetic import surface_defects
from zsad.data.synthetic.canvas import Number
from zsad.data.synthetic.cutpaste import foreign_texture, pasted_patch
from zsad.data.synthetic.defects import Defect
from zsad.data.synthetic.marks import Grade
from zsad.data.synthetic.photo_canvas import (
    Drawing,
    canvas_scene,
    carry_back,
    is_visible,
    random_between,
    random_window,
)
from zsad.data.synthetic.scene import Scene

# Defects that need to know nothing but the surface.
KINDS: dict[str, Defect] = {
    "scratch": surface_defects.scratch,
    "crack": surface_defects.crack,
    "hole": surface_defects.hole,
    "stain": surface_defects.stain,
    "colour_spot": surface_defects.colour_spot,
    "fibre": surface_defects.fibre,
    "contamination": surface_defects.contamination,
    "worn": surface_defects.worn,
    "dent": surface_defects.dent,
    "pasted_patch": pasted_patch,
    "foreign_texture": foreign_texture,
}
_VIEW_PX = 256
_COLOURLESS = 0.01  # mean spread of the channels below which an image is grey
_LUMA = np.array([0.30, 0.59, 0.11], np.float32)
_TRIES = 20


class SyntheticDefects:
    """Draws a defect into some of the normal photographs that it is given.

    Args:
        share: Of the photographs that get a defect; the choice changes from epoch to epoch.
        contrast: Lowest and highest difference to the surface, as shares of the white level, drawn
            evenly in logarithm; the lowest are hard to see.
        extent: Smallest and largest size relative to the usual one.
        kinds: Only these ``KINDS``; all where ``None``.
        view_px: A defect can still be seen when the image is shown at this width and height, that
            of the network's input; 256 where ``None``.

    Raises:
        ValueError: A share outside (0, 1], a range that is none, or an unknown kind.

    Source: the ideas of CutPaste (Li et al., CVPR 2021) and DRAEM (Zavrtanik et al., ICCV 2021).
    """

    def __init__(
        self,
        share: Number = 0.5,
        contrast: Sequence[Number] = (0.08, 0.5),
        extent: Sequence[Number] = (0.7, 2.5),
        kinds: Sequence[str] | None = None,
        view_px: int | None = None,
    ) -> None:
        if not 0 < share <= 1:
            raise ValueError(
                f"share={share}: expected the share of images that get a defect, above 0, at most 1"
            )
        for name, limits in (("contrast", contrast), ("extent", extent)):
            if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
                raise ValueError(f"{name}={list(limits)}: expected [lowest, highest], both above 0")
        chosen = list(KINDS) if kinds is None else list(kinds)
        if not chosen or not set(chosen) <= set(KINDS):
            raise ValueError(f"kinds={chosen}: expected some of {', '.join(KINDS)}")
        self.share = share
        self.contrast = contrast
        self.extent = extent
        self.kinds = chosen
        self.view_px = _VIEW_PX if view_px is None else view_px

    def __call__(self, image: Image.Image, rng: Generator) -> SynthesisedImage | None:
        """Return the damaged photograph.

        ``None``: it gets no defect by chance, or none that could be seen was found.

        Args:
            image: RGB, L or RGBA; painted on, because copying takes as long as drawing. Grey stays
                grey: colour alone must not tell a defect.
            rng: Random stream.
        """
        if rng.random() >= self.share:
            return None
        for _ in range(_TRIES):
            window = random_window(image, rng)
            scene = canvas_scene(image, window, rng)
            drawing = self._draw(scene, rng)
            if not is_visible(drawing, window, image.size, self.view_px):
                continue
            damaged = carry_back(drawing, image, window)
            if damaged is not None:
                return damaged
        return None

    def _draw(self, scene: Scene, rng: Generator) -> Drawing:
        """Draw a random defect on a canvas."""
        kind = self.kinds[rng.integers(len(self.kinds))]
        contrast = random_between(self.contrast, rng)
        extent = random_between(self.extent, rng)
        damaged, change = KINDS[kind](scene, Grade(contrast, extent), rng)
        added = np.clip(damaged, 0, 1) - scene.image
        colourfulness = np.ptp(scene.image, axis=0).mean()
        if colourfulness < _COLOURLESS:
            grey = np.tensordot(_LUMA, added, 1)
            added = np.broadcast_to(grey, added.shape)
        return Drawing(kind, added.astype(np.float32), change.astype(np.float32))
