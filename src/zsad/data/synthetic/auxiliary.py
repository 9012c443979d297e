"""Auxiliary categories: methods are trained on them. No other world uses these painters."""

from __future__ import annotations

from zsad.data.synthetic import auxiliary_objects, auxiliary_textures
from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.category import SURFACE_DEFECTS, Category

CATEGORIES = {
    "concrete": Category.from_lists(
        auxiliary_textures.concrete,
        Appearance((0.60, 0.60, 0.58)),
        "concrete, concrete wall, cement",
        "crack, hole, stain, scratch, contamination, worn",
    ),
    "knit": Category.from_lists(
        auxiliary_textures.knit,
        Appearance((0.30, 0.46, 0.60), (0.08, 0.13, 0.20)),
        "knitted fabric, knitwear, wool cloth",
        "hole, stain, fibre, colour_spot, worn, contamination",
    ),
    "mesh": Category.from_lists(
        auxiliary_textures.mesh,
        Appearance((0.78, 0.78, 0.76), (0.10, 0.11, 0.13)),
        "wire mesh, metal grid, wire cloth",
        "bent, hole, stain, contamination, fibre, worn",
    ),
    "tread": Category.from_lists(
        auxiliary_textures.tread,
        Appearance((0.56, 0.58, 0.60), light_angle=-1.9),
        "chequer plate, tread plate, patterned steel",
        f"{SURFACE_DEFECTS}, dent",
    ),
    "tablet": Category.from_lists(
        auxiliary_objects.tablet,
        Appearance((0.90, 0.88, 0.82), (0.45, 0.42, 0.38), (0.20, 0.28, 0.36)),
        "tablet, pill, pharmaceutical tablet",
        "crack, missing_part, colour_spot, scratch, misprint, contamination",
    ),
    "gear": Category.from_lists(
        auxiliary_objects.gear,
        Appearance((0.62, 0.62, 0.62), background=(0.14, 0.15, 0.17), free_turn=True),
        "gear, cog wheel, toothed wheel",
        "missing_part, scratch, bent, stain, dent, crack",
    ),
    "cable": Category.from_lists(
        auxiliary_objects.cable,
        Appearance((0.72, 0.73, 0.74), (0.75, 0.70, 0.20), (0.42, 0.43, 0.44), free_turn=True),
        "cable, cable cross-section, wire",
        "missing_part, hole, crack, contamination, bent, colour_spot",
    ),
    "connector": Category.from_lists(
        auxiliary_objects.connector,
        Appearance((0.14, 0.14, 0.15), (0.85, 0.68, 0.30), (0.62, 0.64, 0.66)),
        "connector, plug, electronic component",
        "bent, missing_part, misprint, scratch, stain, contamination",
    ),
}
