"""Anybody's own images, as people sort them."""

import numpy as np
import pytest
from PIL import Image

from zsad.data.index import read_index
from zsad.data.prepare.archives import STAMP_FILE
from zsad.data.prepare.write_index import prepare


def test_good_and_bad_are_enough(prepare_own, raw_tree):
    raw_tree("good/a.png", "bad/b.jpg")
    assert prepare_own() == {
        ("test", "mine", "good/a.png"): (0, "good", ""),
        ("test", "mine", "bad/b.jpg"): (1, "bad", ""),
    }


@pytest.mark.parametrize(
    ("normal", "anomalous"),
    [("ok", "ng"), ("OK", "NG"), ("Normal", "Abnormal"), ("negative", "positive"), ("ok", "ko")],
)
def test_other_usual_names_are_understood_in_any_case(prepare_own, raw_tree, normal, anomalous):
    raw_tree(f"{normal}/a.png", f"{anomalous}/b.png")
    assert {image: label for (_, _, image), (label, *_) in prepare_own().items()} == {
        f"{normal}/a.png": 0,
        f"{anomalous}/b.png": 1,
    }


def test_any_name_can_be_said(prepare_own, raw_tree):
    raw_tree("io/a.png", "bad/b.png")
    assert prepare_own(normal=["io"])["test", "mine", "io/a.png"] == (0, "good", "")


def test_folders_below_bad_are_kinds_of_defect(prepare_own, raw_tree):
    raw_tree("good/a.png", "bad/scratch/1.png", "bad/dent/deep/2.png")
    defects = {image: defect for (_, _, image), (_, defect, _) in prepare_own().items()}
    assert defects["bad/scratch/1.png"] == "scratch"
    assert defects["bad/dent/deep/2.png"] == "dent_deep"


def test_kinds_of_defect_may_lie_beside_good(prepare_own, raw_tree):
    raw_tree("test/good/a.png", "test/crack/1.png", "train/good/0.png")
    assert prepare_own() == {
        ("train", "mine", "train/good/0.png"): (0, "good", ""),
        ("test", "mine", "test/good/a.png"): (0, "good", ""),
        ("test", "mine", "test/crack/1.png"): (1, "crack", ""),
    }


def test_folders_above_the_label_are_categories_and_phases(prepare_own, raw_tree):
    raw_tree(
        "nut/test/good/a.png",
        "nut/test/bad/b.png",
        "bolt/validation/ok/c.png",
        "bolt/training/ok/d.png",
    )
    assert {key[:2] for key in prepare_own()} == {
        ("test", "nut"),
        ("val", "bolt"),
        ("train", "bolt"),
    }


@pytest.mark.parametrize(
    "mask",
    [
        "masks/bad/scratch/1.png",
        "masks/scratch/1.png",
        "masks/1.png",
        "Ground_Truth/scratch/1_mask.png",
        "mask/bad/1.bmp",
        "gt/test/bad/scratch/1_gt.png",
        "bad/scratch/1_mask.png",
        "bad/scratch/masks/1.png",
        "bad/masks/scratch/1.png",
    ],
)
def test_masks_are_found_beside_or_apart(prepare_own, raw_tree, mask):
    raw_tree("good/1.png", "bad/scratch/1.png", mask)
    entries = prepare_own()
    assert entries["test", "mine", "bad/scratch/1.png"] == (1, "scratch", mask)
    assert len(entries) == 2, "a mask was taken for an image"


def test_a_mask_stays_with_its_category_and_phase(prepare_own, raw_tree):
    names = [
        f"{category}/{phase}/bad/1.png"
        for category in ("nut", "bolt")
        for phase in ("train", "test")
    ]
    masks = {name: f"masks/{name}" for name in names}
    raw_tree(*names, *masks.values())
    assert {image: mask for (_, _, image), (_, _, mask) in prepare_own().items()} == masks


def test_masks_of_good_images_are_no_images(prepare_own, raw_tree):
    raw_tree("good/1.png", "bad/2.png", "masks/good/1.png", "masks/bad/2.png")
    assert {image: mask for (_, _, image), (_, _, mask) in prepare_own().items()} == {
        "good/1.png": "",
        "bad/2.png": "masks/bad/2.png",
    }


def test_one_mask_is_never_given_to_two_images(prepare_own, raw_tree):
    raw_tree("good/0.png", "bad/scratch/1.png", "bad/dent/1.png", "masks/1.png")
    with pytest.raises(ValueError, match=r"mask of two images: masks/1\.png"):
        prepare_own()


def test_two_masks_of_one_image_are_told(prepare_own, raw_tree):
    raw_tree("bad/1.png", "masks/bad/1.png", "masks/bad/1_mask.png")
    with pytest.raises(ValueError, match=r"bad/1\.png has more than one mask"):
        prepare_own()


def test_masks_none_of_which_fits_are_told(prepare_own, raw_tree):
    raw_tree("good/0.png", "bad/1.png", "masks/1_segmentation.png")
    with pytest.raises(
        ValueError, match=r"1 masks such as masks/1_segmentation\.png.*--mask-suffix"
    ):
        prepare_own()
    assert (
        prepare_own(mask_suffix="_segmentation")["test", "mine", "bad/1.png"][2]
        == "masks/1_segmentation.png"
    )


def test_a_mask_that_is_missing_is_told_and_can_be_accepted(prepare_own, raw_tree):
    raw_tree("bad/1.png", "bad/2.png", "masks/1.png")
    with pytest.raises(ValueError, match=r"1 x no mask"):
        prepare_own()
    assert prepare_own(allow_missing_masks=True)["test", "mine", "bad/2.png"] == (1, "bad", "")


def test_a_folder_around_everything_says_nothing(prepare_own, raw_tree):
    raw_tree("defects/nut/good/1.png", "defects/nut/bad/2.png")
    assert [label for label, *_ in prepare_own().values()] == [1, 0] or [
        label for label, *_ in prepare_own().values()
    ] == [0, 1]
    assert {category for _, category, _ in prepare_own()} == {"defects_nut"}


def test_the_folder_that_an_archive_brings_along_is_no_category(prepare_own, raw_tree):
    (
        raw_tree("pictures/good/1.png", "pictures/bad/2.png", "pictures/masks/2.png") / STAMP_FILE
    ).write_text("{}")
    assert prepare_own() == {
        ("test", "mine", "pictures/good/1.png"): (0, "good", ""),
        ("test", "mine", "pictures/bad/2.png"): (1, "bad", "pictures/masks/2.png"),
    }


def test_images_that_no_folder_labels_are_told(prepare_own, raw_tree, tmp_path):
    raw_tree("good/1.png", "bad/2.png", "godo/3.png")
    made = prepare(
        "x", tmp_path / "raw", "folder", data_json=tmp_path / "dj", conf=tmp_path / "conf"
    )
    assert made.notes == ["not in the index: 1 of 3 files, such as godo/3.png"]


def test_a_folder_without_labels_is_answered_with_what_to_do(prepare_own, raw_tree):
    raw_tree("1.png", "2.png")
    with pytest.raises(
        ValueError, match=r"holds 2 images, none in a folder good/ or bad/.*--table; zsad predict"
    ):
        prepare_own()


def test_what_it_makes_can_be_read(prepare_own, raw_tree, tmp_path):
    root = raw_tree("good/a.png", "bad/b.png", "masks/b.png")
    prepare_own(mask_threshold=0)
    samples = read_index(tmp_path / "dj/mine.json", root, "test")
    assert [(sample.is_anomalous, sample.mask_path) for sample in samples] == [
        (True, root / "masks/b.png"),
        (False, None),
    ]
    assert "mask_threshold: 0\n" in (tmp_path / "conf/mine.yaml").read_text()


def test_the_layout_alone_is_no_name(tmp_path, raw_tree):
    with pytest.raises(ValueError, match="zsad prepare folder ROOT --name NAME"):
        prepare("folder", raw_tree("good/1.png"), data_json=tmp_path, conf=tmp_path)


@pytest.mark.parametrize(
    ("normal", "anomalous"),
    [
        ("No Defects", "defects"),
        ("non-defective", "Defective"),
        ("healthy", "unhealthy"),
        ("0", "1"),
        ("no", "YES"),
        ("NOT DEFECTIVE", "Not-OK"),
    ],
)
def test_folders_are_read_as_labels_are(prepare_own, raw_tree, normal, anomalous):
    raw_tree(f"{normal}/a.png", f"{anomalous}/b.png")
    assert {image: label for (_, _, image), (label, *_) in prepare_own().items()} == {
        f"{normal}/a.png": 0,
        f"{anomalous}/b.png": 1,
    }


def test_numbers_beside_clear_names_are_categories_or_kinds(prepare_own, raw_tree):
    raw_tree("0/good/a.png", "1/good/b.png", "1/bad/2/c.png", "0/bad/1/d.png")
    assert prepare_own() == {
        ("test", "0", "0/good/a.png"): (0, "good", ""),
        ("test", "0", "0/bad/1/d.png"): (1, "1", ""),
        ("test", "1", "1/good/b.png"): (0, "good", ""),
        ("test", "1", "1/bad/2/c.png"): (1, "2", ""),
    }


def test_a_normal_folder_of_unknown_name_is_asked_for(prepare_own, raw_tree):
    raw_tree("spotless ones/a.png", "bad/b.png")
    with pytest.raises(ValueError, match=r'1 defective.*no good.*--normal "spotless ones"'):
        prepare_own()
    assert prepare_own(normal=["Spotless Ones"])["test", "mine", "spotless ones/a.png"][0] == 0


def test_one_label_alone_is_remarked_on(raw_tree, tmp_path):
    raw_tree("bad/a.png", "bad/b.png")
    made = prepare(
        "one", tmp_path / "raw", "folder", data_json=tmp_path / "dj", conf=tmp_path / "conf"
    )
    assert "none of the 2 tested images is normal" in str(made)


@pytest.mark.parametrize("suffix", ["_label", "_mask", "_gt"])
@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_a_photograph_of_a_masks_name_is_an_image(
    prepare_own, tmp_path, save, save_mask, suffix, extension
):
    raw = tmp_path / "raw"
    for folder in ("good", "bad"):
        save(raw / folder / f"can.{extension}")
        save(raw / folder / f"can{suffix}.{extension}")
    save_mask(raw / "masks/bad" / "can.png")
    save_mask(raw / "masks/bad" / f"can{suffix}.png")
    masks = {image: mask for (_, _, image), (_, _, mask) in prepare_own().items()}
    assert masks == {
        f"good/can.{extension}": "",
        f"good/can{suffix}.{extension}": "",
        f"bad/can.{extension}": "masks/bad/can.png",
        f"bad/can{suffix}.{extension}": f"masks/bad/can{suffix}.png",
    }


def test_a_mask_in_jpeg_beside_its_image_is_one(prepare_own, tmp_path, save, save_mask):
    raw = tmp_path / "raw"
    save(raw / "good/a.png", size=(96, 64))
    save(raw / "bad/b.png", size=(96, 64))
    save_mask(raw / "bad/b_label.jpg", size=(96, 64))
    assert prepare_own()["test", "mine", "bad/b.png"] == (1, "bad", "bad/b_label.jpg")


def test_what_may_be_mask_or_image_is_asked(prepare_own, tmp_path, save):
    raw = tmp_path / "raw"
    for name in ("good/a.png", "bad/b.png"):
        save(raw / name)
    soft = np.zeros((16, 24), np.uint8)
    soft[:5] = np.arange(120).reshape(5, 24) * 2
    Image.fromarray(soft).save(raw / "bad/b_mask.png")
    with pytest.raises(ValueError, match=r"b_mask\.png may be a mask.*--mask-suffix _mask says"):
        prepare_own()
    assert prepare_own(mask_suffix="_mask")["test", "mine", "bad/b.png"][2] == "bad/b_mask.png"
    assert ("test", "mine", "bad/b_mask.png") in prepare_own(mask_suffix="")


def test_a_product_may_be_called_mask(prepare_own, tmp_path, save, save_mask):
    raw = tmp_path / "raw"
    for product in ("mask", "glove"):
        save(raw / product / "good/1.png")
        save(raw / product / "bad/2.png")
        save_mask(raw / "ground_truth" / product / "bad/2.png")
    entries = prepare_own()
    assert {key[1] for key in entries} == {"mask", "glove"}
    assert len(entries) == 4
    assert entries["test", "mask", "mask/bad/2.png"][2] == "ground_truth/mask/bad/2.png"


def test_masks_pair_whatever_the_case_of_their_names(prepare_own, raw_tree):
    raw_tree("good/A.png", "bad/Dsc_7.JPG", "Masks/BAD/DSC_7_Mask.png")
    assert prepare_own()["test", "mine", "bad/Dsc_7.JPG"][2] == "Masks/BAD/DSC_7_Mask.png"


def test_case_decides_where_images_differ_in_it_alone(prepare_own, raw_tree):
    raw_tree("good/1.png", "bad/x.png", "bad/X.png", "masks/x.png", "masks/X.png")
    masks = {image: mask for (_, _, image), (_, _, mask) in prepare_own().items()}
    assert masks["bad/x.png"] == "masks/x.png"
    assert masks["bad/X.png"] == "masks/X.png"


@pytest.mark.parametrize("mask", ["masks/bad/seg-1.png", "bad/seg-1.png"])
def test_masks_pair_by_what_stands_before_the_name(prepare_own, tmp_path, save, save_mask, mask):
    raw = tmp_path / "raw"
    save(raw / "good/0.png")
    save(raw / "bad/1.png")
    save_mask(raw / mask)
    if mask.startswith("masks"):
        with pytest.raises(ValueError, match=r"--mask-prefix seg- says"):
            prepare_own()
    assert prepare_own(mask_prefix="seg-") == {
        ("test", "mine", "good/0.png"): (0, "good", ""),
        ("test", "mine", "bad/1.png"): (1, "bad", mask),
    }


def test_links_to_folders_are_named_where_nothing_else_is(prepare_own, tmp_path, save):
    save(tmp_path / "scratch/good/1.png")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/screw").symlink_to(tmp_path / "scratch")
    with pytest.raises(ValueError, match=r"not followed: screw/\. Name the folder"):
        prepare_own()


def test_the_advice_fits_the_problem(prepare_own, tmp_path, save, save_mask):
    save(tmp_path / "raw/good/1.png")
    save(tmp_path / "raw/bad/1.png", size=(24, 16))
    save_mask(tmp_path / "raw/masks/1.png", size=(16, 24))
    with pytest.raises(ValueError, match="save each mask in the size of its image") as caught:
        prepare_own()
    assert "fetch" not in str(caught.value).lower()
