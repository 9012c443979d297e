"""Tiling: geometry against NumPy, nothing depends on how tiles are batched, no seams, a budget that
is kept.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from zsad.backbones.clip.model import CLIP
from zsad.config import checkpoint_settings, compose, instantiate
from zsad.functional.tile_plan import TilePlan
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.methods.clip_baseline import CLIPBaseline
from zsad.methods.tiling import FUSIONS, Tiling
from zsad.methods.whole_image import WholeImage
from zsad.methods.winclip import WinCLIP
from zsad.prompts.ensemble import PromptEnsemble
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.runs import predict, preflight

PATCH = 4
VIEW = 16  # side of the whole view
SIDES = st.integers(1, 90)
PATIENT = settings(deadline=None, max_examples=30)
PROMPTS = PromptEnsemble(["a {}"], ["a damaged {}"], ["{}."])
TILES_ALONE = partial(Tiling, global_weight=0.0, scales=[1.0])


def redness(tiles: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Margins of a backbone that only sees how red a patch is."""
    assert len(tiles) == len(rows)
    return F.avg_pool2d(tiles[:, 0], PATCH)[None]


def whole_margins(batch: int) -> torch.Tensor:
    return torch.rand(
        1, batch, VIEW // PATCH, VIEW // PATCH, generator=torch.Generator().manual_seed(1)
    )


def random_image(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def expected_redness(image: torch.Tensor) -> torch.Tensor:
    """The map of the image as if its patches could all be seen at once; its last patches filled up
    by mirrors.
    """
    (height, width), red = image.shape[-2:], image[:, 0].numpy()
    padded = torch.from_numpy(
        np.pad(red, ((0, 0), (0, -height % PATCH), (0, -width % PATCH)), mode="symmetric")
    )
    patches = F.avg_pool2d(padded[:, None], PATCH).sigmoid()
    return F.interpolate(patches, size=padded.shape[-2:], mode="bilinear")[..., :height, :width]


@PATIENT
@given(SIDES, SIDES, st.floats(0, 0.9), st.integers(1, 7))
def test_maps_lie_where_their_patches_do_at_any_shape(
    height: int, width: int, overlap: float, at_once: int
) -> None:
    """What patches show stands where they lie whatever the shape."""
    image = random_image(height, width, batch=2)
    tiling = TILES_ALONE(overlap=overlap, max_tiles_per_pass=at_once, max_tiles=None)
    maps = tiling.maps(image, whole_margins(2), redness, PATCH)
    assert maps.shape == (1, 2, height, width)
    if max(height, width) > VIEW:
        torch.testing.assert_close(maps[0], expected_redness(image)[:, 0], atol=1e-5, rtol=0)


def test_an_image_of_one_tile_has_the_map_of_its_whole_view() -> None:
    """An image that fits into one tile is answered by its whole view."""
    whole = whole_margins(1)
    for size in ((1, 1), (VIEW, VIEW), (5, VIEW)):
        maps = Tiling().maps(random_image(*size), whole, redness, PATCH)
        expected = F.interpolate(whole.sigmoid(), size=size, mode="bilinear")
        torch.testing.assert_close(maps, expected)


def test_strips_of_one_pixel_have_a_map_too() -> None:
    for size in ((1, 200), (200, 1)):
        maps = Tiling().maps(random_image(*size), whole_margins(1), redness, PATCH)
        assert maps.shape == (1, 1, *size)
        assert maps.isfinite().all()


def test_no_seam_shows_where_tiles_know_less_about_their_edges() -> None:
    def unsure_at_the_edges(tiles: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        side = (
            tiles.shape[-1] // PATCH
        )  # the left edge of a tile is 0, its right edge 1: a seam of 1
        return torch.linspace(0, 1, side).expand(1, len(tiles), side, side)

    def steepest(overlap: float) -> float:
        tiling = TILES_ALONE(overlap=overlap, tile_px=64)
        maps = tiling.maps(torch.ones(1, 3, 64, 192), whole_margins(1), unsure_at_the_edges, PATCH)
        return float(maps[0, 0].diff(dim=1).abs().max())

    assert steepest(0.25) < steepest(0.0) / 3


def test_a_constant_image_has_a_constant_map() -> None:
    constant = torch.full((1, 1, VIEW // PATCH, VIEW // PATCH), 0.3)
    for fusion in FUSIONS:
        maps = Tiling(fusion=fusion).maps(torch.full((1, 3, 50, 70), 0.3), constant, redness, PATCH)
        torch.testing.assert_close(maps, torch.full_like(maps, 0.3).sigmoid())


def test_tiles_of_all_images_share_passes_of_limited_size() -> None:
    """Tiles of all images share the calls and none is larger than allowed."""
    calls: list[torch.Tensor] = []

    def counting(tiles: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        calls.append(rows)
        return redness(tiles, rows)

    TILES_ALONE(overlap=0.0, max_tiles_per_pass=5).maps(
        random_image(32, 48, batch=2), whole_margins(2), counting, PATCH
    )
    assert [len(rows) for rows in calls] == [5, 5, 2]  # 2 × 3 tiles of each of two images
    assert {tuple(rows.unique().tolist()) for rows in calls} == {(0, 1)}
    assert sum(int(rows.sum()) for rows in calls) == 6


@PATIENT
@example(
    45, 64, 4, 0.5, 0.5
)  # rounded to patches before the grid was chosen, it got the second best
@given(
    SIDES,
    SIDES,
    st.integers(2, 20),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_the_budget_is_kept_and_used(
    height: int, width: int, budget: int, overlap: float, scale: float
) -> None:
    def plans(size: tuple[int, int], scale: float, max_tiles: int | None) -> list[TilePlan]:
        return Tiling(overlap=overlap, max_tiles=max_tiles, scales=[scale]).plans(size, VIEW, PATCH)

    kept, free = plans((height, width), scale, budget), plans((height, width), scale, None)
    if not free or len(free[0].boxes) <= budget:
        assert kept == free
        return
    for plan in kept:
        assert len(plan.boxes) <= budget
        assert plan.scale < scale
        assert all(side % PATCH == 0 for side in plan.size)
        finer = [
            max(int(side * plan.scale * 1.05) // PATCH + 1, 1) * PATCH for side in (height, width)
        ]
        assert len(plans((finer[0], finer[1]), 1.0, None)[0].boxes) > budget


def test_a_strip_gets_a_row_of_tiles_and_a_square_a_square() -> None:
    tiling = TILES_ALONE(overlap=0.0, max_tiles=9)
    [strip] = tiling.plans((40, 400), VIEW, PATCH)
    assert len({box.top for box in strip.boxes}) == 1
    [square] = tiling.plans((400, 400), VIEW, PATCH)
    assert len({box.top for box in square.boxes}) == len({box.left for box in square.boxes}) == 3


def test_scales_go_from_coarse_to_fine_and_none_comes_twice() -> None:
    def scales(side: int, **arguments: Any) -> list[float]:
        plans = Tiling(scales=[1.0, 0.5], **arguments).plans((side, side), VIEW, PATCH)
        return [plan.scale for plan in plans]

    assert scales(64) == [0.5, 1.0]
    assert scales(32) == [1.0]  # at half its size one tile shows it all, as the whole view does
    assert scales(16) == []
    assert len(scales(640, max_tiles=9)) == 1  # the budget leaves the same of both


def test_of_two_scales_the_mean_is_taken() -> None:
    calls = iter([1.0, 3.0])

    def of_its_turn(tiles: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return next(calls) + torch.zeros(1, len(tiles), VIEW // PATCH, VIEW // PATCH)

    tiling = Tiling(scales=[0.5, 1.0], global_weight=0.0, max_tiles_per_pass=100)
    maps = tiling.maps(random_image(64, 64), whole_margins(1), of_its_turn, PATCH)
    torch.testing.assert_close(maps, torch.full_like(maps, 2.0).sigmoid())


def test_the_budget_shrinks_the_image_without_a_shift() -> None:
    """The budget shrinks the image without moving what it shows."""
    image = torch.zeros(1, 3, 128, 256)
    image[..., 96:112, 192:224] = 1
    maps = TILES_ALONE(max_tiles=12).maps(image, whole_margins(1), redness, PATCH)[0, 0]
    rows, columns = (maps > 0.65).nonzero().unbind(dim=1)
    assert (rows.min() + rows.max() + 1) / 2 == pytest.approx(104, abs=3)
    assert (columns.min() + columns.max() + 1) / 2 == pytest.approx(208, abs=3)


def test_skipped_tiles_keep_the_map_of_the_whole_view() -> None:
    """The emptiest tiles are left out and keep the map of the whole view."""
    looked_at: list[torch.Tensor] = []

    def counting(tiles: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        looked_at.append(tiles)
        return 9 + redness(tiles, rows)

    whole = torch.zeros(1, 1, 4, 4)
    whole[0, 0, :2, 2:] = 1.0  # the upper right quarter
    image = torch.zeros(1, 3, 32, 32)
    image[..., :16, 16:] = 1
    maps = TILES_ALONE(overlap=0.0, skip_share=0.75).maps(image, whole, counting, PATCH)[0, 0]
    assert [tiles.shape[0] for tiles in looked_at] == [1]
    assert looked_at[0].min() == 1
    assert maps[:8, 24:].min() > 0.99
    torch.testing.assert_close(maps[24:, :8], torch.full((8, 8), 0.5))


def test_fusions_agree_where_whole_view_and_tiles_agree() -> None:
    margins = torch.randn(1, 2, 3, 3)
    for fuse in FUSIONS.values():
        torch.testing.assert_close(fuse(margins, margins, 0.3), margins, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"tile_px": 0}, r"tiling.tile_px=0: expected pixels, 1 or more"),
        ({"overlap": 1.0}, r"tiling.overlap=1.0: expected a share"),
        ({"scales": [1.0, 0.0]}, r"tiling.scales=\[1.0, 0.0\]: expected numbers above 0"),
        ({"scales": []}, r"tiling.scales=\[\]: expected numbers above 0"),
        ({"fusion": "sum"}, r"tiling.fusion='sum': expected one of \('mean'"),
        ({"skip_share": 1.0}, r"tiling.skip_share=1.0: expected"),
        ({"global_weight": 1.5}, r"tiling.global_weight=1.5"),
        ({"max_tiles": 0}, r"tiling.max_tiles=0"),
        ({"max_tiles_per_pass": 0}, r"tiling.max_tiles_per_pass=0: expected 1 or more"),
    ],
)
def test_numbers_out_of_range_are_refused_with_their_name(arguments: dict, answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        Tiling(**arguments)


@pytest.fixture
def method(tiny_backbone: CLIP) -> AnomalyCLIP:
    torch.manual_seed(0)
    prompts = partial(ObjectAgnosticPrompts, deep_blocks=3)
    return AnomalyCLIP(tiny_backbone, prompts=prompts, feature_blocks=[12, 24], tiling=Tiling())


def test_a_batch_equals_its_images_and_passes_change_nothing(method: AnomalyCLIP) -> None:
    images = random_image(130, 100, batch=3)
    together = method(images, ["x"] * 3)
    method.views = Tiling(max_tiles_per_pass=1)
    for image, its_map, its_score in zip(images, together.map, together.score, strict=True):
        alone = method(image[None], ["x"])
        torch.testing.assert_close(alone.map[0], its_map, atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.score[0], its_score, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [CLIPBaseline, WinCLIP])
def test_tiles_have_the_sentences_of_their_own_image(tiny_backbone: CLIP, make: Any) -> None:
    """Tiles are compared with the sentences of their own image."""
    method = make(tiny_backbone, PROMPTS, tiling=Tiling(max_tiles_per_pass=3))
    images, names = random_image(130, 100, batch=2), ["nut", "cork"]
    together = method(images, names)
    for image, name, its_map, its_score in zip(
        images, names, together.map, together.score, strict=True
    ):
        alone = method(image[None], [name])
        torch.testing.assert_close(alone.map[0], its_map, atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.score[0], its_score, atol=1e-5, rtol=1e-5)
    method.views.global_weight = 1.0
    assert (together.map - method(images, names).map).abs().max() > 1e-3


@pytest.mark.parametrize("make", [CLIPBaseline, WinCLIP])
def test_training_free_methods_see_a_tower_sized_image_whole(
    tiny_backbone: CLIP, make: Any
) -> None:
    """Without learning too an image of the towers size is seen as a whole."""
    image = random_image(56, 56)
    tiled, plain = (
        make(tiny_backbone, PROMPTS, tiling=tiling)(image, ["nut"]) for tiling in (Tiling(), None)
    )
    torch.testing.assert_close(tiled.map, plain.map, atol=1e-5, rtol=0)
    assert torch.equal(tiled.score, plain.score)


def test_a_narrow_strip_is_mirrored_to_the_largest_window(tiny_backbone: CLIP) -> None:
    """A strip narrower than the windows is seen as its mirrored continuation."""
    strip = random_image(14, 100)
    folded = torch.cat(
        [strip, strip.flip(-2), strip], dim=-2
    )  # three patches high, as the largest window
    method = WinCLIP(tiny_backbone, PROMPTS, tiling=TILES_ALONE())
    narrow, wide = (method(image, ["nut"]).map for image in (strip, folded))
    assert narrow.shape == (1, 14, 100)
    torch.testing.assert_close(narrow[0, 6], wide[0, 6], atol=1e-5, rtol=0)


def test_references_of_whole_images_are_not_compared_with_tiles(tiny_backbone: CLIP) -> None:
    method = WinCLIP(tiny_backbone, PROMPTS, tiling=Tiling())
    with pytest.raises(ValueError, match=r"tiling=none or k_shot=0"):
        method.set_references("nut", list(random_image(56, 56)))


def test_images_in_half_precision_have_nearly_the_same_map(method: AnomalyCLIP) -> None:
    image = random_image(130, 100)
    full = method(image, ["x"]).map
    half = method.to(torch.bfloat16)(image.to(torch.bfloat16), ["x"]).map
    torch.testing.assert_close(half, full, atol=0.05, rtol=0)


def test_an_image_of_the_towers_size_is_seen_as_without_tiling(method: AnomalyCLIP) -> None:
    image = random_image(56, 56, batch=2)
    tiled = method(image, ["x"] * 2)
    method.views = WholeImage()
    plain = method(image, ["x"] * 2)
    assert torch.equal(tiled.map, plain.map)
    assert torch.equal(tiled.score, plain.score)


def test_the_score_is_that_of_the_whole_view(method: AnomalyCLIP) -> None:
    image = random_image(130, 100)
    tiled = method(image, ["x"]).score
    whole = F.interpolate(image, size=(56, 56), mode="bicubic", antialias=True).clamp(0, 1)
    method.views = WholeImage()
    torch.testing.assert_close(method(whole, ["x"]).score, tiled)


def test_the_whole_view_stays_within_the_range_of_colours() -> None:
    image = (random_image(100, 140) > 0.5).float()
    view = Tiling().whole_view(image, 56)
    assert view.shape == (1, 3, 56, 56)
    assert 0 <= view.min() <= view.max() <= 1


@pytest.mark.parametrize(
    "chosen",
    [
        ["model=dhrclip_plus"],
        ["tiling=native"],
        ["model=clip", "tiling=native"],
        ["model=winclip", "tiling=native"],
    ],
)
def test_pictures_of_any_size_have_a_map_of_their_own_size(
    chosen: list[str], tmp_path: Path
) -> None:
    options = ["backbone=pocket", "backbone.input_size=64", "paths.output_dir=/nowhere"]
    config = compose.compose_config("test", [*options, *chosen])
    method = instantiate.build(config.model).method
    for name, size in {"wide": (150, 70), "tall": (70, 150), "strip": (150, 1)}.items():
        picture = tmp_path / f"{name}.png"
        Image.new("RGB", size, (90, 20, 200)).save(picture)
        batch = next(iter(predict.image_loader([picture], config.image_size, "object")))
        assert method(batch.image, batch.category).map.shape == (1, size[1], size[0])


def test_tiling_can_be_changed_and_removed() -> None:
    """A number of the tiling can be changed and the tiling taken away."""
    options = ["backbone=pocket", "paths.output_dir=/nowhere"]
    changed = compose.compose_config(
        "test", [*options, "tiling=native", "model.method.tiling.overlap=0.5"]
    )
    assert (
        changed.model.method.tiling.overlap,
        changed.image_size,
        changed.dataset.image_size,
    ) == (0.5, None, None)
    assert (
        compose.compose_config(
            "test", [*options, "tiling=native", "model.method.tiling=null"]
        ).model.method.tiling
        is None
    )
    plain = compose.compose_config("test", [*options, "model=dhrclip_plus", "tiling=none"])
    assert (plain.model.method.tiling, plain.image_size) == (None, 192)


def test_a_model_without_tiling_says_so_when_given_one() -> None:
    options = [
        "backbone=pocket",
        "backbone.pretrained=null",
        "paths.output_dir=/nowhere",
        "tiling=native",
    ]
    config = compose.compose_config("test", [*options, "model=dhrclip"])
    with pytest.raises(
        ValueError, match=r"model=dhrclip does not take tiling .*model=dhrclip_plus"
    ):
        preflight.require_known_tiling(config)


def test_prompts_of_whole_images_serve_tiles_of_native_pixels() -> None:
    """Prompts learned on the ordinary view leave the images their own pixels."""
    config = compose.compose_config(
        "test", ["backbone=pocket", "paths.output_dir=/nowhere", "model=dhrclip_plus"]
    )
    learned = {"image_size": 192, "tiling": None, "sigma_px": 2.5}
    assert checkpoint_settings.adopt_settings(config, {"settings": learned}) == [
        "image_size",
        "tiling",
    ]
    assert (
        config.image_size,
        config.model.method.tiling.overlap,
        config.model.method.sigma_px,
    ) == (None, 0.25, 2.5)
