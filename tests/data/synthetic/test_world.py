"""The generated world: categories, scenes, streams and defects."""

import math
from collections import defaultdict
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsad.data.synthetic import (
    CATEGORIES,
    GRADES,
    WORLDS,
    captions,
    random_stream,
    render,
    render_pair,
    wild_pair,
)
from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.camera import Camera
from zsad.data.synthetic.defects import DEFECTS
from zsad.data.synthetic.world import RIM

SIZE = 64


def difference(pair):
    return np.abs(pair.clean.astype(int) - pair.defective).max(2)


def grown(mask, radius):
    return (
        cv2.dilate(mask.astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)) > 0
    )


@cache
def rendered(name, defect, grade):
    """A pair of a stream of its own, rendered once for all tests."""
    return render_pair(name, random_stream(11, name, defect), SIZE, defect, grade)


def scene_of(name, seed=0):
    category = CATEGORIES[name]
    return category.paint(SIZE, category.appearance, np.random.default_rng(seed))


# what there is


def test_no_generator_serves_two_categories():
    painters = [category.paint for world in WORLDS.values() for category in world.values()]
    assert len(painters) == len(set(painters)) == len(CATEGORIES)


@pytest.mark.parametrize(("world", "least"), [("wild", 16), ("a", 6), ("b", 6)])
def test_a_world_has_enough_textures_and_objects(world, least):
    is_object = [scene_of(name).background is not None for name in WORLDS[world]]
    assert len(is_object) >= least
    assert sum(is_object) >= 3
    assert len(is_object) - sum(is_object) >= 3


def test_every_kind_of_defect_occurs_in_pre_training():
    """Most of them occur in the auxiliary and target worlds, too."""
    assert len(DEFECTS) >= 10
    kinds = {
        world: {kind for category in WORLDS[world].values() for kind in category.defects}
        for world in WORLDS
    }
    assert kinds["wild"] == set(DEFECTS)
    assert len(kinds["a"]) >= 10
    assert len(kinds["b"]) >= 10


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_defect_of_a_category_has_words(name):
    for defect in CATEGORIES[name].defects:
        caption = captions(name, defect)
        assert caption.nouns
        assert len(caption.phrases) >= 4, defect
        assert not set(caption.phrases) & set(captions(name, None).phrases), defect


# clean scenes


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_scene_is_single_precision_and_shows_its_part(name):
    """The image is the part's surface where no backdrop shows."""
    scene = scene_of(name)
    assert {plane.dtype for plane in (scene.image, scene.part, scene.body, scene.blank)} == {
        np.dtype(np.float32)
    }
    assert 0 <= scene.part.min() <= scene.part.max() <= 1
    inside = scene.part == 1
    np.testing.assert_allclose(scene.image[:, inside], scene.body[:, inside], atol=1e-6)


@pytest.mark.parametrize("name", [name for world in ("a", "b") for name in WORLDS[world]])
def test_parts_on_an_inspection_line_look_alike(name):
    brightness = [render(name, random_stream(0, name, i), SIZE)[0].mean() for i in range(8)]
    assert np.std(brightness) < 0.07 * np.mean(brightness)


def test_the_wild_world_varies_far_more():
    spread = []
    for name in WORLDS["wild"]:
        brightness = [render(name, random_stream(0, name, i), 48)[0].mean() for i in range(8)]
        spread.append(np.std(brightness) / np.mean(brightness))
    assert np.median(spread) > 0.2


# streams


def test_a_picture_depends_on_its_stream_alone():
    first = [render("cork", random_stream(1, "cork", i), SIZE, "stain")[0] for i in range(4)]
    for i in (2, 0, 3, 1):
        again = render("cork", random_stream(1, "cork", i), SIZE, "stain")[0]
        np.testing.assert_array_equal(again, first[i])
    assert all((first[i] != first[j]).any() for i in range(4) for j in range(i))


def test_a_pair_is_the_two_renderings_of_one_stream():
    pair = render_pair("gear", random_stream(3, "gear"), SIZE, "crack", "easy")
    np.testing.assert_array_equal(pair.clean, render("gear", random_stream(3, "gear"), SIZE)[0])
    defective, mask = render("gear", random_stream(3, "gear"), SIZE, "crack", "easy")
    np.testing.assert_array_equal(pair.defective, defective)
    np.testing.assert_array_equal(pair.mask, mask)


def test_a_clean_picture_has_an_empty_mask():
    image, mask = render("label", random_stream(0), SIZE)
    assert image.shape == (SIZE, SIZE, 3)
    assert image.dtype == np.uint8
    assert mask.shape == (SIZE, SIZE)
    assert not mask.any()


def test_the_wild_stream_reaches_every_category_and_defect():
    """It is repeatable, too."""
    draws = [wild_pair(5, i, 32) for i in range(220)]
    again = wild_pair(5, 7, 32)
    assert (again.category, again.defect, again.grade) == (
        draws[7].category,
        draws[7].defect,
        draws[7].grade,
    )
    np.testing.assert_array_equal(again.pair.defective, draws[7].pair.defective)
    assert {draw.category for draw in draws} == set(WORLDS["wild"])
    assert {draw.defect for draw in draws} == set(DEFECTS)


# defects


@pytest.mark.parametrize("name", CATEGORIES)
@pytest.mark.parametrize("grade", ["easy", "hard"])
def test_a_defect_changes_its_mask_and_nothing_else(name, grade):
    # The camera's blur, at most 0.7 % of the side, reaches three deviations beyond the rim.
    reach = max(2, round(RIM * SIZE)) + math.ceil(3 * 0.007 * SIZE)
    for defect in CATEGORIES[name].defects:
        pair = rendered(name, defect, grade)
        changed = difference(pair)
        assert 0 < pair.mask.mean() <= 0.25, defect
        assert changed[pair.mask].mean() > 4, defect
        assert (changed[pair.mask] > 2).mean() > 0.45, defect
        assert changed[~grown(pair.mask, reach)].max(initial=0) <= 1, defect


@pytest.mark.parametrize("defect", sorted(set(DEFECTS) - {"bent"}))
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(sorted(GRADES)))
def test_a_defect_lies_on_the_object(defect, seed, grade):
    names = [name for name, category in CATEGORIES.items() if defect in category.defects]
    name = names[seed % len(names)]
    scene = scene_of(name, seed)
    image, change = DEFECTS[defect](scene, GRADES[grade], np.random.default_rng(seed))
    assert change.dtype == np.float32
    assert change.min() >= 0
    assert change.max() <= 1
    assert change[scene.part == 0].max(initial=0) == 0
    np.testing.assert_allclose(image[:, change == 0], scene.image[:, change == 0], atol=1e-5)


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_an_easier_grade_changes_more(defect):
    total = defaultdict(float)
    for name, category in CATEGORIES.items():
        if defect in category.defects:
            for grade in GRADES:
                total[grade] += difference(rendered(name, defect, grade)).mean()
    assert total["easy"] > total["medium"] > total["hard"]


@pytest.mark.parametrize(
    ("name", "defect"), [("granite", "crack"), ("label", "hole"), ("screw", "missing_part")]
)
def test_a_defect_can_be_held_to_a_thousandth_of_the_picture(name, defect):
    for i in range(3):
        mask = render(name, random_stream(4, i), 512, defect, max_area=0.001)[1]
        assert 5 <= mask.sum() <= 0.001 * 512 * 512


def test_the_camera_shows_two_scenes_with_the_same_noise():
    camera = Camera(Appearance(), SIZE, np.random.default_rng(0))
    scene = scene_of("knit")
    np.testing.assert_array_equal(camera(scene.image), camera(scene.image.copy()))
    assert (
        camera(scene.image) != Camera(Appearance(), SIZE, np.random.default_rng(1))(scene.image)
    ).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("corc", None, "medium"), "no procedural category 'corc'.*cork"),
        (("cork", "misprint", "medium"), "no defect 'misprint' on cork.*scratch"),
        (("cork", "stain", "middling"), "no grade 'middling'.*medium"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(arguments, message):
    name, defect, grade = arguments
    with pytest.raises(ValueError, match=message):
        render(name, random_stream(0), SIZE, defect, grade)


def test_a_defect_that_cannot_be_small_enough_is_refused():
    with pytest.raises(ValueError, match=r"fits on cork at size=64 within max_area=0\.0005"):
        render("cork", random_stream(0), 64, "stain", max_area=0.0005)
