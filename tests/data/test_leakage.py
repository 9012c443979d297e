"""A copy of an image is found again, whatever was done to its file.

Another image of the same product is not taken for it.
"""

import dataclasses
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.textures import sample, save, texture
from zsad.data import leakage as module
from zsad.data.fingerprints import compute_fingerprints
from zsad.data.leakage import Overlap, find_overlap
from zsad.data.synthetic import write_synthetic

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
TILES = SHARED / "mtd"
SAME_TILE = 3000  # photographs of one tile have numbers this close; exp1 … exp6 are its exposures


def copies_of(image):
    """Return an image as people pass it on: (name of the file, image, how it is saved)."""
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    return {
        "saved again": ("again.jpg", image, {"quality": 75}),
        "without loss": ("again.png", image, {}),
        "half the size": ("half.png", half, {}),
        "without colour": ("grey.png", image.convert("L"), {}),
        "with alpha": ("alpha.png", image.convert("RGBA"), {}),
        "darker": ("dark.png", image.point(lambda value: int(value * 0.8)), {}),
    }


@pytest.fixture
def learned(tmp_path):
    """Eight textures as PNG."""
    return [sample(save(texture(seed), tmp_path / f"learned/{seed}.png")) for seed in range(8)]


def test_the_same_files_are_found_under_any_name(learned, tmp_path):
    moved = [sample((tmp_path / f"{i}.dat").absolute()) for i in range(3)]
    for old, new in zip(learned, moved, strict=False):
        new.image_path.write_bytes(old.image_path.read_bytes())
    found = find_overlap(compute_fingerprints(learned), compute_fingerprints(moved))
    assert (found.tested, found.duplicates, found.near_duplicates) == (3, 3, 0)
    assert not found.is_zero_shot


@pytest.mark.parametrize("kind", copies_of(texture(0)))
def test_copies_look_the_same(learned, tmp_path, kind):
    copies = []
    for seed in range(8):
        name, image, options = copies_of(texture(seed))[kind]
        copies.append(sample(save(image, tmp_path / f"copies/{seed}/{name}", **options)))
    found = find_overlap(compute_fingerprints(learned), compute_fingerprints(copies))
    assert found.duplicates + found.near_duplicates == 8
    assert not found.is_zero_shot


def test_a_turned_photograph_is_the_same_image(learned, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn to the right
    turned = texture(0).transpose(Image.Transpose.ROTATE_90)
    path = save(turned, tmp_path / "turned.jpg", quality=95, exif=exif)
    assert (
        find_overlap(
            compute_fingerprints(learned), compute_fingerprints([sample(path)])
        ).near_duplicates
        == 1
    )


def test_other_images_are_others(learned, tmp_path):
    others = [
        sample(save(texture(100 + seed), tmp_path / f"others/{seed}.png"), "wood")
        for seed in range(8)
    ]
    found = find_overlap(compute_fingerprints(learned), compute_fingerprints(others))
    assert found == Overlap(tested=8, duplicates=0, near_duplicates=0, categories=())
    assert found.is_zero_shot
    assert found.sentences() == []


def test_images_without_features_are_like_no_other(tmp_path):
    ramp = np.tile(np.linspace(60, 200, 90, dtype=np.uint8), (90, 1))
    plain = [
        ramp,
        ramp.T.copy(),
        *(np.full((90, 90), value, dtype=np.uint8) for value in (0, 128, 255)),
    ]
    learned = [
        save(Image.fromarray(pixels), tmp_path / f"{i}.png") for i, pixels in enumerate(plain)
    ]
    again = [save(Image.fromarray(pixels), tmp_path / f"{i}.bmp") for i, pixels in enumerate(plain)]
    tested = compute_fingerprints([sample(path) for path in again])
    assert not tested.perceptual_hash.any()
    assert (
        find_overlap(
            compute_fingerprints([sample(path) for path in learned]), tested
        ).near_duplicates
        == 0
    )


def test_a_large_jpeg_decoded_small_is_like_its_whole(tmp_path):
    image = texture(5, size=(1200, 1100))
    drafted, whole = (
        save(image, tmp_path / "a.jpg", quality=90),
        save(image, tmp_path / "b.png", compress_level=1),
    )
    assert (
        find_overlap(
            compute_fingerprints([sample(whole)]), compute_fingerprints([sample(drafted)])
        ).near_duplicates
        == 1
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_chunked_comparison_is_that_of_every_pair(data):
    """Against a plain loop, with rows that lie just inside and just outside of the limit."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    learned = rng.integers(-(2**63), 2**63 - 1, (data.draw(st.integers(0, 9)), 4))
    tested = rng.integers(-(2**63), 2**63 - 1, (data.draw(st.integers(0, 9)), 4))
    for row in tested[: len(learned)]:
        flipped = np.unpackbits(learned[rng.integers(len(learned))].copy().view(np.uint8))
        flipped[rng.choice(256, data.draw(st.integers(10, 22)), replace=False)] ^= 1
        row[:] = np.packbits(flipped).view(np.int64)
    learned[rng.random(len(learned)) < 0.2], tested[rng.random(len(tested)) < 0.2] = 0, 0

    def bits(row):
        return np.unpackbits(row.copy().view(np.uint8))

    expected = [
        any(a.any() and b.any() and (bits(a) != bits(b)).sum() <= module.NEAR_BITS for b in learned)
        for a in tested
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK_PAIRS", data.draw(st.integers(1, 30)))
        assert module._has_near_hash(tested, learned).tolist() == expected


def test_ten_thousand_against_ten_thousand_need_little_memory():
    rng = np.random.default_rng(0)
    learned, tested = (rng.integers(-(2**63), 2**63 - 1, (10_000, 4)) for _ in range(2))
    tested[77] = learned[9_999]
    tracemalloc.start()
    found = module._has_near_hash(tested, learned)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.nonzero()[0].tolist() == [77]
    assert peak < 64 * 2**20  # the whole table of distances would take 100 MB and more


def test_category_names_match_without_case_and_underscores(learned):
    named = [
        dataclasses.replace(each, category=name)
        for each, name in zip(learned, ("Metal_Nut", "capsule"), strict=False)
    ]
    known, own = (
        compute_fingerprints(named),
        compute_fingerprints([dataclasses.replace(learned[5], category="metal nut")]),
    )
    assert find_overlap(known, own).categories == ("metal nut",)
    assert (
        find_overlap(
            known, compute_fingerprints([dataclasses.replace(learned[5], category="capsules")])
        ).categories
        == ()
    )


def test_the_same_name_alone_is_zero_shot_but_said(learned):
    others = find_overlap(compute_fingerprints(learned[:4]), compute_fingerprints(learned[4:]))
    assert others.is_zero_shot
    assert others.sentences() == [
        "categories of the same name were learned: tile; their images are others"
    ]


def test_sentences_count_and_give_examples(learned, tmp_path):
    copy = sample(save(texture(0), tmp_path / "copy.jpg", quality=75))
    first, second, third = find_overlap(
        compute_fingerprints(learned[:2]), compute_fingerprints([*learned[1:3], copy])
    ).sentences()
    assert first.startswith("not zero-shot: 1 of 3 tested images were learned from (such as ")
    assert "/learned/1.png, " in first
    assert "/copy.jpg)" in first
    assert str(tmp_path) not in first  # where the images lie is nobody's business
    assert (
        second
        == "not zero-shot: 1 of 3 tested images look like copies of images that were learned from"
    )
    assert third == "categories of the same name were learned: tile"


def test_many_categories_are_not_all_listed():
    names = tuple(f"class{i}" for i in range(9))
    assert (
        Overlap(9, 0, 0, names)
        .sentences()[0]
        .startswith(
            "categories of the same name were learned: "
            "class0, class1, class2, class3, class4 and 4 more;"
        )
    )


def test_no_images_have_no_overlap(learned):
    nothing, some = compute_fingerprints([]), compute_fingerprints(learned)
    assert find_overlap(nothing, some).is_zero_shot
    assert find_overlap(some, nothing) == Overlap(0, 0, 0, ())


def near_pairs(taken):
    """Return the pairs (i < j) of a set that look the same."""
    return [
        (i, i + 1 + int(j))
        for i in range(len(taken))
        for j in np.flatnonzero(
            module._has_near_hash(taken.perceptual_hash[i + 1 :], taken.perceptual_hash[i : i + 1])
        )
    ]


@pytest.fixture(scope="module")
def product_line(tmp_path_factory):
    """Return parts of the same kind under the same light, no two of them alike."""
    root = write_synthetic(
        tmp_path_factory.mktemp("b"), world="b", size=128, train_good=0, good=6, defective=3
    )
    return [
        sample(path) for path in sorted(root.rglob("*.png")) if "ground_truth" not in path.parts
    ]


def test_different_parts_of_one_product_are_not_near(product_line):
    assert len(product_line) > 50
    assert near_pairs(compute_fingerprints(product_line)) == []


@pytest.mark.skipif(not TILES.is_dir(), reason="needs ../shared/data/mtd, the magnetic tiles")
def test_no_tile_is_taken_for_another_tile():
    photographs = [sample(path) for path in sorted(TILES.glob("MT_*/Imgs/*.jpg"))[::4]]
    numbers = [int(re.search(r"num_(\d+)", each.image_path.name).group(1)) for each in photographs]
    assert [
        (i, j)
        for i, j in near_pairs(compute_fingerprints(photographs))
        if abs(numbers[i] - numbers[j]) > SAME_TILE
    ] == []


@pytest.mark.slow
@pytest.mark.skipif(not TILES.is_dir(), reason="needs ../shared/data/mtd, the magnetic tiles")
@pytest.mark.parametrize(
    ("kind", "least"), [("saved again", 0.98), ("half the size", 0.99), ("without colour", 1.0)]
)
def test_copies_of_the_tiles_are_found(tmp_path, kind, least):
    photographs = [sample(path) for path in sorted(TILES.glob("MT_*/Imgs/*.jpg"))]
    copies = []
    for i, each in enumerate(photographs):
        with Image.open(each.image_path) as image:
            name, changed, options = copies_of(image)[kind]
            copies.append(sample(save(changed, tmp_path / f"{i}_{name}", **options)))
    originals, changed = compute_fingerprints(photographs), compute_fingerprints(copies)
    bits = np.bitwise_count(
        (originals.perceptual_hash ^ changed.perceptual_hash).view(np.uint64)
    ).sum(axis=1)
    assert (bits <= module.NEAR_BITS).mean() >= least
