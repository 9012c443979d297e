import json
import math
from collections import defaultdict

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zsad.data.synthetic import (
    CATEGORIES,
    GRADES,
    WORLDS,
    captions,
    random_stream,
    render,
    render_pair,
    wild_pair,
    write_synthetic,
)
from zsad.data.synthetic.appearance import Appearance
from zsad.data.synthetic.camera import Camera
from zsad.data.synthetic.defects import DEFECTS
from zsad.data.synthetic.world import RIM

SIZE = 96
ON_CATEGORIES = [
    (name, defect) for name, category in CATEGORIES.items() for defect in category.defects
]
SMALL = {"size": 48, "train_good": 1, "good": 2, "defective": 3}


def difference(pair):
    return np.abs(pair.clean.astype(int) - pair.defective).max(2)


def grown(mask, radius):
    return (
        cv2.dilate(mask.astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)) > 0
    )


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


def test_every_kind_of_defect_occurs_in_pre_training_and_most_of_them_on_the_target():
    assert len(DEFECTS) >= 10
    kinds = {
        world: {kind for category in WORLDS[world].values() for kind in category.defects}
        for world in WORLDS
    }
    assert kinds["wild"] == set(DEFECTS)
    assert len(kinds["a"]) >= 10
    assert len(kinds["b"]) >= 10


@pytest.mark.parametrize(("name", "defect"), ON_CATEGORIES)
def test_every_defect_of_a_category_has_words(name, defect):
    caption = captions(name, defect)
    assert caption.nouns
    assert len(caption.phrases) >= 4
    assert not set(caption.phrases) & set(captions(name, None).phrases)


# clean scenes


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_scene_is_single_precision_and_its_picture_is_its_part_where_there_is_no_backdrop(name):
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


def test_the_wild_stream_is_repeatable_and_reaches_every_category_and_defect():
    draws = [wild_pair(5, i, 32) for i in range(400)]
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


@pytest.mark.parametrize(("name", "defect"), ON_CATEGORIES)
def test_a_defect_changes_what_its_mask_covers_and_nothing_else(name, defect):
    for grade in ("easy", "hard"):
        pair = render_pair(name, random_stream(11, name, defect), SIZE, defect, grade)
        changed = difference(pair)
        assert 0 < pair.mask.mean() <= 0.25
        assert changed[pair.mask].mean() > 4
        assert (changed[pair.mask] > 2).mean() > 0.45
        # The camera's blur, at most 0.7 % of the side, reaches three deviations beyond the rim.
        reach = max(2, round(RIM * SIZE)) + math.ceil(3 * 0.007 * SIZE)
        assert changed[~grown(pair.mask, reach)].max(initial=0) <= 1


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
                total[grade] += difference(
                    render_pair(name, random_stream(2, name), SIZE, defect, grade)
                ).mean()
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


def test_a_defect_that_cannot_be_small_enough_says_what_to_change():
    with pytest.raises(ValueError, match=r"fits on cork at size=64 within max_area=0\.0005"):
        render("cork", random_stream(0), 64, "stain", max_area=0.0005)


# on disk


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_synthetic(tmp_path_factory.mktemp("synthetic") / "b", world="b", **SMALL)


def test_the_folders_are_those_of_mvtec_ad(dataset):
    assert {path.name for path in dataset.iterdir()} == {*WORLDS["b"], "synthetic.json"}
    for name, category in WORLDS["b"].items():
        first = category.defects[0]
        files = {str(path.relative_to(dataset / name)) for path in (dataset / name).rglob("*.png")}
        expected = {"train/good/000.png", "test/good/000.png", "test/good/001.png"}
        for grade in GRADES:
            expected |= {
                f"test/{first}_{grade}/000.png",
                f"ground_truth/{first}_{grade}/000_mask.png",
            }
        assert files == expected


def test_a_file_is_the_picture_of_its_own_stream(dataset):
    # The third defective picture of a category has the third grade.
    defect = WORLDS["b"]["screw"].defects[0]
    image, mask = render(
        "screw", random_stream(0, "screw", "test/defective", 2), 48, defect, "hard"
    )
    np.testing.assert_array_equal(
        np.asarray(Image.open(dataset / f"screw/test/{defect}_hard/000.png")), image
    )
    stored = np.asarray(Image.open(dataset / f"screw/ground_truth/{defect}_hard/000_mask.png"))
    np.testing.assert_array_equal(stored, mask * 255)


def test_writing_again_changes_nothing(dataset):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    write_synthetic(dataset, world="b", **SMALL)
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


def test_an_interrupted_run_is_continued(tmp_path):
    root = write_synthetic(tmp_path / "a", world="a", **SMALL)
    complete = {path: path.read_bytes() for path in root.rglob("*.png")}
    (root / "cable").rename(root / ".cable.partial")
    (root / ".cable.partial/test/good/000.png").write_bytes(b"half a file")
    write_synthetic(root, world="a", **SMALL)
    assert {path: path.read_bytes() for path in root.rglob("*.png")} == complete


def test_a_folder_keeps_one_recipe(dataset, tmp_path):
    assert json.loads((dataset / "synthetic.json").read_text())["world"] == "b"
    with pytest.raises(ValueError, match="made with other parameters"):
        write_synthetic(dataset, world="b", **{**SMALL, "good": 3})
    (tmp_path / "holiday.png").touch()
    with pytest.raises(ValueError, match="not empty"):
        write_synthetic(tmp_path, world="b", **SMALL)


def test_only_the_grades_asked_for_are_written(tmp_path):
    root = write_synthetic(tmp_path / "b", world="b", grades=("medium",), **SMALL)
    folders = {path.name for path in root.glob("*/test/*")}
    assert folders - {"good"}
    assert all(folder.endswith("_medium") for folder in folders - {"good"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"world": "c"}, "wild, a, b"),
        ({"grades": ("tough",)}, "easy, medium, hard"),
        ({"size": 8}, "at least 32"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_is_written(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        write_synthetic(tmp_path / "new", **{"world": "a", **SMALL, **wrong})
    assert not (tmp_path / "new").exists()
