"""Anybody's own images, as people sort them."""

import json
from pathlib import Path

import pytest

from zsad.data.index import read_index
from zsad.data.prepare.archives import STAMP_FILE
from zsad.data.prepare.write_index import prepare


@pytest.fixture
def run(tmp_path):
    """Prepare ``tmp_path/raw`` as images of one's own and return (phase, category, image) → (label, defect, mask)."""

    def call(**options):
        made = prepare(
            "mine",
            tmp_path / "raw",
            "folder",
            data_json=tmp_path / "dj",
            conf=tmp_path / "conf",
            **options,
        )
        index = json.loads(made.index.read_text())
        return {
            (phase, category, entry["img_path"]): (
                entry["anomaly"],
                entry["specie_name"],
                entry["mask_path"],
            )
            for phase, part in index.items()
            for category, entries in part.items()
            for entry in entries
        }

    return call


@pytest.fixture
def tree(tmp_path, save, save_mask):
    """Write a tree below ``raw``; names with "mask", "gt" or "truth" in them are masks."""

    def write(*names: str) -> Path:
        for name in names:
            is_mask = any(word in name.lower() for word in ("mask", "gt", "truth"))
            (save_mask if is_mask else save)(tmp_path / "raw" / name)
        return tmp_path / "raw"

    return write


def test_good_and_bad_are_enough(run, tree):
    tree("good/a.png", "bad/b.jpg")
    assert run() == {
        ("test", "mine", "good/a.png"): (0, "good", ""),
        ("test", "mine", "bad/b.jpg"): (1, "bad", ""),
    }


@pytest.mark.parametrize(
    ("normal", "anomalous"),
    [("ok", "ng"), ("OK", "NG"), ("Normal", "Abnormal"), ("negative", "positive"), ("ok", "ko")],
)
def test_other_usual_names_are_understood_in_any_case(run, tree, normal, anomalous):
    tree(f"{normal}/a.png", f"{anomalous}/b.png")
    assert {image: label for (_, _, image), (label, *_) in run().items()} == {
        f"{normal}/a.png": 0,
        f"{anomalous}/b.png": 1,
    }


def test_any_name_can_be_said(run, tree):
    tree("io/a.png", "bad/b.png")
    assert run(normal=["io"])["test", "mine", "io/a.png"] == (0, "good", "")


def test_folders_below_bad_are_kinds_of_defect(run, tree):
    tree("good/a.png", "bad/scratch/1.png", "bad/dent/deep/2.png")
    defects = {image: defect for (_, _, image), (_, defect, _) in run().items()}
    assert defects["bad/scratch/1.png"] == "scratch"
    assert defects["bad/dent/deep/2.png"] == "dent_deep"


def test_kinds_of_defect_may_lie_beside_good(run, tree):
    tree("test/good/a.png", "test/crack/1.png", "train/good/0.png")
    assert run() == {
        ("train", "mine", "train/good/0.png"): (0, "good", ""),
        ("test", "mine", "test/good/a.png"): (0, "good", ""),
        ("test", "mine", "test/crack/1.png"): (1, "crack", ""),
    }


def test_folders_above_the_label_are_categories_and_phases(run, tree):
    tree(
        "nut/test/good/a.png",
        "nut/test/bad/b.png",
        "bolt/validation/ok/c.png",
        "bolt/training/ok/d.png",
    )
    assert {key[:2] for key in run()} == {("test", "nut"), ("val", "bolt"), ("train", "bolt")}


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
def test_masks_are_found_beside_or_apart(run, tree, mask):
    tree("good/1.png", "bad/scratch/1.png", mask)
    entries = run()
    assert entries["test", "mine", "bad/scratch/1.png"] == (1, "scratch", mask)
    assert len(entries) == 2, "a mask was taken for an image"


def test_a_mask_stays_with_its_category_and_phase(run, tree):
    names = [
        f"{category}/{phase}/bad/1.png"
        for category in ("nut", "bolt")
        for phase in ("train", "test")
    ]
    masks = {name: f"masks/{name}" for name in names}
    tree(*names, *masks.values())
    assert {image: mask for (_, _, image), (_, _, mask) in run().items()} == masks


def test_masks_of_good_images_are_no_images(run, tree):
    tree("good/1.png", "bad/2.png", "masks/good/1.png", "masks/bad/2.png")
    assert {image: mask for (_, _, image), (_, _, mask) in run().items()} == {
        "good/1.png": "",
        "bad/2.png": "masks/bad/2.png",
    }


def test_one_mask_is_never_given_to_two_images(run, tree):
    tree("good/0.png", "bad/scratch/1.png", "bad/dent/1.png", "masks/1.png")
    with pytest.raises(ValueError, match=r"mask of two images: masks/1\.png"):
        run()


def test_two_masks_of_one_image_are_told(run, tree):
    tree("bad/1.png", "masks/bad/1.png", "masks/bad/1_mask.png")
    with pytest.raises(ValueError, match=r"bad/1\.png has more than one mask"):
        run()


def test_masks_none_of_which_fits_are_told(run, tree):
    tree("good/0.png", "bad/1.png", "masks/1_segmentation.png")
    with pytest.raises(
        ValueError, match=r"1 masks such as masks/1_segmentation\.png.*--mask-suffix"
    ):
        run()
    assert (
        run(mask_suffix="_segmentation")["test", "mine", "bad/1.png"][2]
        == "masks/1_segmentation.png"
    )


def test_a_mask_that_is_missing_is_told_and_can_be_accepted(run, tree):
    tree("bad/1.png", "bad/2.png", "masks/1.png")
    with pytest.raises(ValueError, match=r"1 x no mask"):
        run()
    assert run(allow_missing_masks=True)["test", "mine", "bad/2.png"] == (1, "bad", "")


def test_a_folder_around_everything_says_nothing(run, tree):
    tree("defects/nut/good/1.png", "defects/nut/bad/2.png")
    assert [label for label, *_ in run().values()] == [1, 0] or [
        label for label, *_ in run().values()
    ] == [0, 1]
    assert {category for _, category, _ in run()} == {"defects_nut"}


def test_the_folder_that_an_archive_brings_along_is_no_category(run, tree):
    (
        tree("pictures/good/1.png", "pictures/bad/2.png", "pictures/masks/2.png") / STAMP_FILE
    ).write_text("{}")
    assert run() == {
        ("test", "mine", "pictures/good/1.png"): (0, "good", ""),
        ("test", "mine", "pictures/bad/2.png"): (1, "bad", "pictures/masks/2.png"),
    }


def test_images_that_no_folder_labels_are_told(run, tree, tmp_path):
    tree("good/1.png", "bad/2.png", "godo/3.png")
    made = prepare(
        "x", tmp_path / "raw", "folder", data_json=tmp_path / "dj", conf=tmp_path / "conf"
    )
    assert made.notes == ["not in the index: 1 of 3 files, such as godo/3.png"]


def test_a_folder_without_labels_is_answered_with_what_to_do(run, tree):
    tree("1.png", "2.png")
    with pytest.raises(
        ValueError, match=r"holds 2 images, none in a folder good/ or bad/.*--table; zsad predict"
    ):
        run()


def test_what_it_makes_can_be_read(run, tree, tmp_path):
    root = tree("good/a.png", "bad/b.png", "masks/b.png")
    run(mask_threshold=0)
    samples = read_index(tmp_path / "dj/mine.json", root, "test")
    assert [(sample.is_anomalous, sample.mask_path) for sample in samples] == [
        (True, root / "masks/b.png"),
        (False, None),
    ]
    assert "mask_threshold: 0\n" in (tmp_path / "conf/mine.yaml").read_text()


def test_the_layout_alone_is_no_name(tmp_path, tree):
    with pytest.raises(ValueError, match="zsad prepare folder ROOT --name NAME"):
        prepare("folder", tree("good/1.png"), data_json=tmp_path, conf=tmp_path)


def test_a_table_says_it_all(run, tree, tmp_path):
    tree("a.png", "sub/b.png", "sub/b_mask.png", "c.png")
    (tmp_path / "labels.csv").write_text(
        "image,label,mask,category,defect,phase\n"
        "a.png,0,,nut,,train\n"
        "sub/b.png,1,sub/b_mask.png,nut,scratch,test\n"
        'c.png,normal,,"bolt, long",,\n'
    )
    assert run(table=tmp_path / "labels.csv") == {
        ("train", "nut", "a.png"): (0, "good", ""),
        ("test", "nut", "sub/b.png"): (1, "scratch", "sub/b_mask.png"),
        ("test", "bolt, long", "c.png"): (0, "good", ""),
    }


@pytest.mark.parametrize(
    "text",
    [
        "image,label\na.png,good\nx/b.png,bad\n",
        "\ufeffFile Name;Is Anomalous\r\na.png;False\r\nx\\b.png;TRUE\r\n",
        "label\t Path \n0\ta.png\n1\tx/b.png\n\n",
        "img_path,anomaly\na.png,0.0\nx/b.png,1.0\n",
    ],
)
def test_tables_are_read_as_programs_write_them(run, tree, text):
    (tree("a.png", "x/b.png") / "labels.csv").write_bytes(text.encode())
    assert run(table=Path("labels.csv")) == {
        ("test", "mine", "a.png"): (0, "good", ""),
        ("test", "mine", "x/b.png"): (1, "", ""),
    }


def test_tables_of_spreadsheets_are_read_or_told(run, tree):
    table = tree("good ü.png", "b.png") / "labels.csv"
    text = "image,label\ngood ü.png,good\nb.png,bad\n"
    table.write_bytes(text.encode("utf-16"))
    assert set(run(table=table)) == {("test", "mine", "good ü.png"), ("test", "mine", "b.png")}
    table.write_bytes(text.encode("cp1252"))
    with pytest.raises(
        ValueError, match=r"labels\.csv is not in UTF-8 \(byte 17\): save it again as CSV in UTF-8"
    ):
        run(table=table)


def test_a_table_without_the_columns_or_with_strange_labels_is_told(run, tree, tmp_path):
    tree("a.png")
    (tmp_path / "t.csv").write_text("name,label\na.png,0\n")
    with pytest.raises(
        ValueError, match=r"has no column image, got name, label; expected image,label"
    ):
        run(table=tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("image,label\na.png,scratch\nb.png,perhaps\n")
    with pytest.raises(
        ValueError, match=r"2 unknown labels \('scratch', 'perhaps'\).*a column named defect"
    ):
        run(table=tmp_path / "t.csv")
    with pytest.raises(FileNotFoundError, match=r"no table gone\.csv"):
        run(table=Path("gone.csv"))


def test_a_table_cannot_name_what_is_not_below_the_root(run, tree, tmp_path, save):
    tree("a.png")
    save(tmp_path / "secret.png")
    (tmp_path / "t.csv").write_text("image,label\n../secret.png,0\nnope.png,1\n")
    with pytest.raises(ValueError, match="outside the root") as caught:
        run(table=tmp_path / "t.csv")
    assert "missing file: nope.png" in str(caught.value)
