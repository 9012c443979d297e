"""Target categories: methods are tested on them. No other world uses these painters."""

from __future__ import annotations

from zsad.data.synthetic import target_objects, target_textures
from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.category import SURFACE_DEFECTS, Category

CATEGORIES = {
    "granite": Category.from_lists(
        target_textures.granite,
        Appearance((0.64, 0.55, 0.51), (0.17, 0.16, 0.17)),
        "granite, stone slab, polished stone",
        "scratch, crack, hole, stain, colour_spot, worn",
    ),
    "brick": Category.from_lists(
        target_textures.brick,
        Appearance((0.60, 0.30, 0.22), (0.66, 0.63, 0.58), light_falloff=0.18),
        "brick wall, bricks, masonry",
        "crack, hole, stain, contamination, colour_spot, worn",
    ),
    "herringbone": Category.from_lists(
        target_textures.herringbone,
        Appearance((0.66, 0.46, 0.28)),
        "parquet, herringbone floor, wooden boards",
        "scratch, crack, hole, stain, dent, fibre, colour_spot",
    ),
    "cork": Category.from_lists(
        target_textures.cork,
        Appearance((0.72, 0.54, 0.36), (0.28, 0.17, 0.10)),
        "cork, cork sheet, cork board",
        f"{SURFACE_DEFECTS}, crack",
    ),
    "screw": Category.from_lists(
        target_objects.screw,
        Appearance(
            (0.72, 0.73, 0.75),
            background=(0.80, 0.80, 0.78),
            scale=1.12,
            light_angle=-1.8,
            free_turn=True,
        ),
        "screw, bolt, fastener",
        "scratch, stain, missing_part, bent, contamination, dent",
    ),
    "label": Category.from_lists(
        target_objects.label,
        Appearance((0.92, 0.91, 0.87), (0.12, 0.30, 0.62), (0.34, 0.36, 0.38)),
        "label, printed label, sticker",
        "scratch, stain, missing_part, misprint, colour_spot, fibre, hole",
    ),
    "star": Category.from_lists(
        target_objects.star,
        Appearance(
            (0.16, 0.17, 0.19), (0.78, 0.62, 0.30), (0.70, 0.71, 0.72), gain=1.05, free_turn=True
        ),
        "knob, star knob, plastic knob",
        "scratch, crack, hole, missing_part, contamination, worn, dent",
    ),
    "fuse": Category.from_lists(
        target_objects.fuse,
        Appearance((0.74, 0.75, 0.76), (0.4, 0.4, 0.4), (0.25, 0.36, 0.42)),
        "fuse, glass fuse, electric fuse",
        "scratch, crack, stain, bent, misprint, contamination",
    ),
}
