"""Pre-training categories, in any colour, light, size and direction."""

from __future__ import annotations

from zsad.data.synthetic import wild_objects, wild_textures
from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.canvas import Rgb
from zsad.data.synthetic.category import SURFACE_DEFECTS, Category, Painter


def _wild(paint: Painter, colours: tuple[Rgb, Rgb, Rgb], nouns: str, more: str) -> Category:
    """Return a category with ``more`` defects than those of any surface."""
    base, accent, background = colours
    appearance = Appearance(base, accent, background)
    return Category.from_lists(paint, appearance, nouns, f"{SURFACE_DEFECTS}, {more}", wild=True)


_GREY = (0.62, 0.63, 0.65)
_DARK = (0.22, 0.22, 0.24)
_BENCH = (0.45, 0.46, 0.48)

CATEGORIES = {
    "wood": _wild(
        wild_textures.wood,
        ((0.72, 0.52, 0.32), (0.45, 0.28, 0.15), _BENCH),
        "wood, wooden board, timber",
        "crack, dent",
    ),
    "brushed_metal": _wild(
        wild_textures.brushed_metal,
        (_GREY, _DARK, _BENCH),
        "metal sheet, brushed metal, steel",
        "dent, worn, crack",
    ),
    "ferrite": _wild(
        wild_textures.ferrite,
        ((0.42, 0.42, 0.42), _DARK, _BENCH),
        "magnetic tile, ferrite, ceramic magnet",
        "crack, worn",
    ),
    "carpet": _wild(
        wild_textures.carpet,
        ((0.45, 0.42, 0.40), _DARK, _BENCH),
        "carpet, rug, pile fabric",
        "worn",
    ),
    "fabric": _wild(
        wild_textures.fabric,
        ((0.75, 0.72, 0.65), (0.4, 0.42, 0.5), _BENCH),
        "fabric, woven cloth, textile",
        "worn, bent",
    ),
    "leather": _wild(
        wild_textures.leather,
        ((0.45, 0.27, 0.17), _DARK, _BENCH),
        "leather, hide, grained leather",
        "crack, worn",
    ),
    "marble": _wild(
        wild_textures.marble,
        ((0.88, 0.87, 0.85), (0.40, 0.40, 0.42), _BENCH),
        "marble, stone, veined stone",
        "crack, worn",
    ),
    "paper": _wild(
        wild_textures.paper,
        ((0.88, 0.85, 0.78), _DARK, _BENCH),
        "paper, cardboard, paper sheet",
        "crack, worn",
    ),
    "plastic": _wild(
        wild_textures.plastic,
        ((0.30, 0.32, 0.35), _DARK, _BENCH),
        "plastic, plastic cover, polymer",
        "crack, dent",
    ),
    "stripes": _wild(
        wild_textures.stripes,
        ((0.85, 0.84, 0.80), (0.35, 0.42, 0.5), _BENCH),
        "striped sheet, corrugated sheet",
        "bent, dent",
    ),
    "perforated": _wild(
        wild_textures.perforated,
        (_GREY, _DARK, _BENCH),
        "perforated plate, sieve, punched sheet",
        "bent, dent",
    ),
    "tile": _wild(
        wild_textures.tile,
        ((0.80, 0.80, 0.78), (0.5, 0.5, 0.48), _BENCH),
        "tile, ceramic tile, tiles",
        "crack, worn",
    ),
    "terrazzo": _wild(
        wild_textures.terrazzo,
        ((0.78, 0.76, 0.72), (0.4, 0.3, 0.25), _DARK),
        "terrazzo, stone floor",
        "crack, worn",
    ),
    "nut": _wild(
        wild_objects.nut,
        (_GREY, _DARK, _BENCH),
        "nut, hexagonal nut, metal nut",
        "missing_part, crack, bent",
    ),
    "washer": _wild(
        wild_objects.washer,
        (_GREY, _DARK, _BENCH),
        "washer, metal ring, ring",
        "missing_part, bent, crack",
    ),
    "button": _wild(
        wild_objects.button,
        ((0.5, 0.2, 0.2), _DARK, _BENCH),
        "button, sewing button",
        "missing_part, crack, worn",
    ),
    "capsule": _wild(
        wild_objects.capsule,
        ((0.85, 0.75, 0.35), (0.65, 0.15, 0.15), _BENCH),
        "capsule, medicine capsule",
        "misprint, dent, bent",
    ),
    "bottle": _wild(
        wild_objects.bottle,
        ((0.35, 0.45, 0.30), _DARK, _BENCH),
        "bottle, glass bottle, bottle mouth",
        "missing_part, crack",
    ),
    "bearing": _wild(
        wild_objects.bearing,
        (_GREY, _DARK, _BENCH),
        "bearing, ball bearing",
        "missing_part, dent, bent",
    ),
    "bracket": _wild(
        wild_objects.bracket,
        (_GREY, _DARK, _BENCH),
        "bracket, metal plate, punched part",
        "missing_part, misprint, bent, dent",
    ),
    "circuit": _wild(
        wild_objects.circuit,
        ((0.10, 0.36, 0.22), _DARK, _BENCH),
        "circuit board, printed circuit board, pcb",
        "misprint, crack",
    ),
}
