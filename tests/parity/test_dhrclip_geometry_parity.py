"""DHR-CLIP's pictures, views and tiles are those of its published code, pixel by pixel."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zsad.backbones.clip.build import OPENAI_MEAN, OPENAI_STD
from zsad.data.images import to_tensor
from zsad.data.masks import resize_mask, soft_mask
from zsad.functional.resample import resize_levels
from zsad.functional.tiles import cut, quadrants

Archive = dict[str, np.ndarray]
ONE_LEVEL = 1 / 255
NORMALISED = 1e-6  # one float32 rounding


def _read(path: Path) -> Archive:
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture
def dhrclip_pictures(request: pytest.FixtureRequest) -> Archive:
    return _read(request.param)


@pytest.fixture
def dhrclip_pixels(request: pytest.FixtureRequest) -> Archive:
    return _read(request.param)


@pytest.fixture
def dhrclip_tiling(request: pytest.FixtureRequest) -> Archive:
    return _read(request.param)


def _levels(picture: np.ndarray) -> Tensor:
    """Return any stored picture as (1, C, H, W) in [0, 1]."""
    channels = picture[..., None] if picture.ndim == 2 else picture
    return torch.from_numpy(channels).permute(2, 0, 1)[None] / 255


def _is_resized_as_stored(picture: np.ndarray, resized: np.ndarray) -> bool:
    return picture.ndim == resized.ndim and (
        picture.ndim == 2 or picture.shape[2] == resized.shape[2] == 3
    )


def _normalize(image: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    return (image - mean) / std


def _cases(archive: Archive, quantity: str) -> list[tuple[str, str, tuple[int, int, int]]]:
    """Return (picture, prefix of its setting, (G, P, T)) wherever the file holds a quantity; skip
    without any.
    """
    found = [re.fullmatch(rf"((img\d+)_set(\d+)_){quantity}", key) for key in archive]
    cases = [
        (m[2], m[1], tuple(archive["settings"][int(m[3])].tolist())) for m in found if m is not None
    ]
    if not cases:
        pytest.skip(f"the file holds no {quantity}")
    return cases


def test_canvas_and_whole_view_are_exact(dhrclip_pictures: Archive) -> None:
    compared = 0
    for key, reference in dhrclip_pictures.items():
        match = re.fullmatch(r"(img\d+)_(resized|global_G\d+)_T(\d+)", key)
        source = (
            None
            if match is None
            else f"{match[1]}_source"
            if match[2] == "resized"
            else f"{match[1]}_resized_T{match[3]}"
        )
        if source not in dhrclip_pictures:
            continue
        ours = resize_levels(
            _levels(dhrclip_pictures[source]).expand(-1, 3, -1, -1), reference.shape[:2]
        )
        assert torch.equal(ours, _levels(reference)), key
        compared += 1
    assert compared, "resized pictures without their sources and whole views"


def test_the_loader_is_within_one_level_of_published_pillow(dhrclip_pixels: Archive) -> None:
    """The loader resizes to the canvas within one level of the published pillow."""
    for picture, prefix, (_, _, canvas) in _cases(dhrclip_pixels, "resized"):
        if f"{picture}_palette" in dhrclip_pixels or f"{picture}_source" not in dhrclip_pixels:
            continue  # palettes are resized as colours here, by nearest neighbour there
        source, reference = dhrclip_pixels[f"{picture}_source"], dhrclip_pixels[f"{prefix}resized"]
        ours = to_tensor(Image.fromarray(source), canvas)
        difference = (ours - _levels(reference)[0, :3]).abs().max()
        assert difference <= 1.01 * ONE_LEVEL, prefix
        if _is_resized_as_stored(source, reference):
            assert torch.equal(
                resize_levels(_levels(source), (canvas, canvas)), _levels(reference)
            ), prefix


def test_whole_views_of_stored_canvases(dhrclip_pixels: Archive) -> None:
    for picture, prefix, (whole, _, _) in _cases(dhrclip_pixels, "global_tensor"):
        canvas = dhrclip_pixels.get(f"{prefix}resized")
        if canvas is None or f"{picture}_palette" in dhrclip_pixels or canvas.shape[2:] == (4,):
            # A palette is shrunk by nearest neighbour there; the alpha of a canvas is gone here.
            continue
        ours = _normalize(resize_levels(_levels(canvas).expand(-1, 3, -1, -1), (whole, whole)))
        reference = torch.from_numpy(dhrclip_pixels[f"{prefix}global_tensor"])
        torch.testing.assert_close(ours[0], reference, atol=NORMALISED, rtol=0, msg=prefix)


def test_tiles_of_stored_canvases_that_are_cut_right(dhrclip_pixels: Archive) -> None:
    """Tiles of stored canvases where they are cut at the right place."""
    for picture, prefix, (_, tile, side) in _cases(dhrclip_pixels, "tile_tensors"):
        canvas = dhrclip_pixels.get(f"{prefix}resized")
        if canvas is None:
            continue
        palette = dhrclip_pixels.get(f"{picture}_palette")
        pixels = _levels(canvas if palette is None else palette[canvas])[:, :3].expand(
            -1, 3, -1, -1
        )
        ours = _normalize(cut(pixels, quadrants(side, tile))[:, 0])
        placed = (
            slice(None) if side == 2 * tile else slice(1)
        )  # a misplaced tile is never the first
        reference = torch.from_numpy(dhrclip_pixels[f"{prefix}tile_tensors"])
        torch.testing.assert_close(
            ours[placed], reference[placed], atol=NORMALISED, rtol=0, msg=prefix
        )


def test_masks_of_the_canvas(dhrclip_pixels: Archive) -> None:
    for picture, prefix, (_, _, side) in _cases(dhrclip_pixels, "mask_tensor"):
        if f"{picture}_mask_source" not in dhrclip_pixels:
            continue
        source = Image.fromarray(dhrclip_pixels[f"{picture}_mask_source"])
        reference = torch.from_numpy(dhrclip_pixels[f"{prefix}mask_tensor"])[0]
        assert (soft_mask(source, side) - reference).abs().max() <= 1.01 * ONE_LEVEL, prefix
        assert torch.equal(resize_mask(source, side), reference > 0.5), prefix


def _settings(archive: Archive, *quantities: str) -> list[tuple[int, int, int]]:
    """Return (index, P, T) of the settings that the published program accepts; skip where a
    quantity is missing.
    """
    if not {"settings", "accepted", *quantities} <= archive.keys():
        pytest.skip(f"the file lacks one of {', '.join(quantities)}")
    rows = enumerate(archive["settings"].tolist())
    return [(index, tile, side) for index, (_, tile, side) in rows if archive["accepted"][index]]


def _corners(tile: int, side: int) -> list[list[int]]:
    return [[b.left, b.top, b.left + b.width, b.top + b.height] for b in quadrants(side, tile)]


def test_maps_of_tiles_are_placed_as_published(dhrclip_tiling: Archive) -> None:
    """Maps of tiles are put where the published program puts them."""
    for index, tile, side in _settings(dhrclip_tiling, "paste"):
        assert _corners(tile, side) == dhrclip_tiling["paste"][index].tolist(), (tile, side)


def test_tiles_are_cut_elsewhere_only_where_published_is_wrong(dhrclip_tiling: Archive) -> None:
    """Tiles are cut elsewhere only where the published program misplaces them."""
    for index, tile, side in _settings(dhrclip_tiling, "boxes", "misplaced"):
        for boxes in dhrclip_tiling["boxes"][:, index, :4]:  # of every picture size
            shift = np.abs(boxes - np.array(_corners(tile, side)))
            assert shift.max() == dhrclip_tiling["misplaced"][index] == 2 * tile - side, (
                tile,
                side,
            )
            assert shift[0].max() == 0


def test_canvases_that_four_tiles_cannot_cover_are_refused(dhrclip_tiling: Archive) -> None:
    """Canvases that four tiles cannot cover are refused here too."""
    if not {"settings", "accepted"} <= dhrclip_tiling.keys():
        pytest.skip("the file does not tell what is accepted")
    for (_, tile, side), accepted in zip(
        dhrclip_tiling["settings"].tolist(), dhrclip_tiling["accepted"], strict=True
    ):
        if (
            not accepted and side != tile
        ):  # of one size all four tiles are the canvas: pointless, not wrong
            with pytest.raises(ValueError, match=f"tiles of {tile} on a canvas of {side}"):
                quadrants(side, tile)
