"""How samples are found: by path templates and by tables."""

import json
from pathlib import Path

import pytest
from PIL import Image

from zsad.data.image_files import natural_key
from zsad.data.layouts import LAYOUTS
from zsad.data.sources import (
    CategoryTables,
    Folders,
    LabelRule,
    Listing,
    NumberedTable,
    Tree,
    template_pattern,
)


def facts(layout: str, root: Path):
    """(image, masks, category, phase, label, defect) of every sample, sorted."""
    row = LAYOUTS[layout]
    return sorted(
        (r.image, r.masks, r.category, r.phase, int(r.is_anomalous), r.defect)
        for r in row.records(row.scan(root))
    )


def tree_of(*files: str, base: str = "") -> Tree:
    return Tree(Path("/nowhere"), base, files)


def test_strays_shift_no_pair(mvtec_tree, save, save_mask):
    """A mask more, a dot-file, a text, a macOS twin: the other pairs stay."""
    before = facts("mvtec", mvtec_tree)
    save_mask(mvtec_tree / "tile/ground_truth/crack/0000_mask.png")
    save(mvtec_tree / "tile/test/crack/.000.png")
    save(mvtec_tree / "__MACOSX/tile/test/crack/000.png")
    (mvtec_tree / "tile/test/crack/readme.txt").write_text("x")
    assert facts("mvtec", mvtec_tree) == before


def test_two_masks_of_one_name_are_ambiguous(mvtec_tree, save_mask):
    save_mask(mvtec_tree / "tile/ground_truth/crack/000_mask.bmp")
    with pytest.raises(
        ValueError, match=r"000\.png has more than one mask.*000_mask\.bmp, .*000_mask\.png"
    ):
        facts("mvtec", mvtec_tree)


def test_visa_takes_split_label_and_defect_from_its_tables(visa_tree):
    found = facts("visa", visa_tree)
    mask = "candle/Data/Masks/Anomaly/001.png"
    assert (
        "candle/Data/Images/Anomaly/001.JPG",
        (mask,),
        "candle",
        "test",
        1,
        "burnt,hole",
    ) in found
    assert ("candle/Data/Images/Normal/0000.JPG", (), "candle", "train", 0, "good") in found
    assert facts("visa_2cls_fewshot", visa_tree) == found


def test_a_table_with_other_columns_or_labels_is_named(visa_tree):
    table = visa_tree / "split_csv/1cls.csv"
    content = table.read_text()
    table.write_text(content.replace(",anomaly,", ",odd,"))
    with pytest.raises(ValueError, match=r"1cls\.csv: label 'odd', expected normal or anomaly"):
        facts("visa", visa_tree)
    table.write_text(content.replace("object,split", "class,split"))
    with pytest.raises(ValueError, match=r"1cls\.csv: expected the columns object, split"):
        facts("visa", visa_tree)


def test_magnetic_tiles_are_labelled_by_their_folder(tmp_path, save, save_mask):
    for kind in ("Free", "Crack"):
        save(tmp_path / f"MT_{kind}/Imgs/exp1.jpg")
        save_mask(tmp_path / f"MT_{kind}/Imgs/exp1.png", value=0)
    save(tmp_path / "MT_Other/Imgs/exp1.jpg")
    save(tmp_path / "dataset.jpg")
    assert facts("mtd", tmp_path) == [
        (
            "MT_Crack/Imgs/exp1.jpg",
            ("MT_Crack/Imgs/exp1.png",),
            "magnetic_tile",
            "test",
            1,
            "crack",
        ),
        ("MT_Free/Imgs/exp1.jpg", ("MT_Free/Imgs/exp1.png",), "magnetic_tile", "test", 0, "good"),
    ]


def test_files_come_in_natural_order(tmp_path, save):
    for name in ("10", "9", "1", "²"):  # the superscript is a digit for str.isdigit, but no number
        save(tmp_path / f"{name}.png")
    assert Tree.scan(tmp_path).files == ("1.png", "9.png", "10.png", "².png")


def test_linked_folders_are_named_not_followed(tmp_path, save):
    save(tmp_path / "a/1.png")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    tree = Tree.scan(tmp_path)
    assert (tree.files, tree.linked_folders) == (("a/1.png",), ("b/",))


def test_templates_constrain_what_they_say():
    pattern = template_pattern(r"train/<stem:\d{5}>.png")
    assert pattern.fullmatch("train/10301.PNG")
    assert not pattern.fullmatch("train/10301 (copy).png")
    assert not pattern.fullmatch("train/10301.jpg")


def test_natural_keys_of_any_names_compare():
    names = ["a1", "1a", "", "A1", "a01", "a", "10", "1"]
    assert sorted(sorted(names), key=natural_key) == sorted(names, key=natural_key)


def test_several_masks_of_an_image_are_those_in_its_folder():
    source = Folders(image="test/<defect>/<stem>.*", mask="ground_truth/<defect>/<stem>/<part>.*")
    tree = tree_of(
        "test/hole/0.png",
        "ground_truth/hole/0/0.png",
        "ground_truth/hole/0/1.png",
        "ground_truth/x/0/2.png",
    )
    assert [record.masks for record in source.records(tree)] == [
        ("ground_truth/hole/0/0.png", "ground_truth/hole/0/1.png")
    ]


def test_other_mask_suffixes_count_where_the_first_is_missing():
    source = Folders(
        image="i/<stem>.*",
        mask="m/<stem><mask_suffix>.*",
        mask_suffix="_mask",
        other_mask_suffixes=("",),
    )
    tree = tree_of("i/0.png", "i/1.png", "m/0.png", "m/0_mask.png", "m/1.png", "m/2.png")
    assert [record.masks for record in source.records(tree)] == [("m/0_mask.png",), ("m/1.png",)]
    assert source.masks_without_image(tree) == ["m/2.png"]
    strict = source.with_names((), mask_suffix="_mask")
    assert [record.masks for record in strict.records(tree)] == [("m/0_mask.png",), ()]


def test_phases_and_defects_have_names_of_their_own_in_the_index():
    source = Folders(
        image="<phase>/<defect>/<stem>.*",
        phases={"Training": "train"},
        normal=("no",),
        defects={"yes": "tumor"},
    )
    tree = tree_of("Training/yes/0.png", "TEST/no/0.png", "TEST/pred/0.png")
    assert [(record.phase, record.defect) for record in source.records(tree)] == [
        ("train", "tumor"),
        ("test", "good"),
    ]


def test_images_of_one_kind_are_labelled_by_it():
    files = tree_of("a.png")
    (normal,) = Folders(image="<stem>.*", defect="good").records(files)
    (anomalous,) = Folders(image="<stem>.*", defect="polyp").records(files)
    (unknown,) = Folders(image="<stem>.*", label=LabelRule.UNKNOWN).records(files)
    assert [(each.is_anomalous, each.defect) for each in (normal, anomalous, unknown)] == [
        (False, "good"),
        (True, "polyp"),
        (None, ""),
    ]


@pytest.fixture
def pixel_labels():
    """As KolektorSDD2: the mask decides, and normal images have a black one."""
    return Folders(
        image=r"<stem:\d+>.png",
        mask="<stem>_GT.png",
        defect="defect",
        label=LabelRule.MASK_PIXELS,
        masks_of_normal=True,
    )


def test_a_single_pixel_of_the_lowest_class_is_a_defect(tmp_path, save, save_mask, pixel_labels):
    for i in range(2):
        save(tmp_path / f"{i}.png")
        save_mask(tmp_path / f"{i}_GT.png", value=0)
    mask = Image.new("L", (24, 16))
    mask.putpixel((3, 2), 1)
    mask.save(tmp_path / "1_GT.png")
    found = list(pixel_labels.records(Tree.scan(tmp_path)))
    assert [(record.is_anomalous, record.defect, record.masks) for record in found] == [
        (False, "good", ("0_GT.png",)),
        (True, "defect", ("1_GT.png",)),
    ]


def test_what_leaves_a_label_open_is_told_of_every_image(tmp_path, save, save_mask, pixel_labels):
    for i in range(4):
        save(tmp_path / f"{i}.png")
    save_mask(tmp_path / "0_GT.png", value=0)
    save_mask(tmp_path / "2_GT.png")
    broken = (tmp_path / "2_GT.png").read_bytes()
    (tmp_path / "2_GT.png").write_bytes(broken[: len(broken) // 2])
    found = list(pixel_labels.records(Tree.scan(tmp_path)))
    assert [record.is_anomalous for record in found] == [False, None, None, None]
    assert [record.label_problem.partition(f" {tmp_path}")[0] for record in found] == [
        "",
        "its mask is missing",
        "cannot read",
        "its mask is missing",
    ]


def test_a_folder_without_any_mask_is_not_taken_for_normal():
    source = LAYOUTS["dagm2007"].sources[0]
    whole = ["Class1/Train/1.PNG", "Class1/Train/2.PNG", "Class1/Train/Label/2_label.PNG"]
    assert [record.is_anomalous for record in source.records(tree_of(*whole))] == [False, True]
    with pytest.raises(
        ValueError,
        match="no mask of any image in Class1/Test\n  no mask of any image in Class2/Test",
    ):
        list(source.records(tree_of(*whole, "Class1/Test/1.PNG", "Class2/Test/1.PNG")))


NUMBERED = NumberedTable(
    "labels.csv", "id", "sick", r"scans/<number:\d+>.png", "brain", "hemorrhage"
)


def numbered(
    root: Path, save, rows: str, images: tuple[str, ...]
) -> list[tuple[str, bool | None, str]]:
    for image in images:
        save(root / f"scans/{image}.png")
    (root / "labels.csv").write_text("\ufeffid, sick\r\n" + rows)
    return [
        (record.image, record.is_anomalous, record.defect)
        for record in NUMBERED.records(Tree.scan(root))
    ]


def test_numbers_of_a_table_have_no_zeros_before_them(tmp_path, save):
    assert numbered(tmp_path, save, "7,1\r\n10, 0\r\n", ("007", "010")) == [
        ("scans/007.png", True, "hemorrhage"),
        ("scans/010.png", False, "good"),
    ]


def test_labels_and_images_without_each_other_are_named(tmp_path, save):
    with pytest.raises(
        ValueError, match=r"no label of the images \[3, 4\], no image of the labels \[1, 2\]"
    ):
        numbered(tmp_path, save, "1,1\n2,0\n5,0\n", ("3", "4", "5"))


@pytest.mark.parametrize("row", ["1,2", "1,", "one,1", "1"])
def test_a_row_that_is_no_number_and_label_is_named(tmp_path, save, row):
    with pytest.raises(ValueError, match=r"labels\.csv: (label '|'one' is no image number)"):
        numbered(tmp_path, save, row, ("1",))


def test_a_missing_table_is_named(tmp_path, save):
    save(tmp_path / "scans/1.png")
    with pytest.raises(
        FileNotFoundError, match=r"no .*labels\.csv, the download's own table: fetch it again"
    ):
        list(NUMBERED.records(Tree.scan(tmp_path)))


CATEGORIES = CategoryTables(("jsons/jsons", "jsons"), "images")


def write_category(root: Path, folder: str, name: str, *parts: tuple[str, str, str | None]) -> None:
    entries = [
        {"image_path": image, "mask_path": mask, "anomaly_class": kind}
        for image, kind, mask in parts
    ]
    path = root / folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"meta": {"normal_class": "OK"}, "train": [], "test": entries}))


def test_a_table_decides_not_the_folder(tmp_path, save, save_mask):
    """A view from which the defect cannot be seen lies in NG/, and is normal."""
    for view in (10, 2):
        save(tmp_path / f"images/pcb/NG/a_C{view}.jpg")
    save_mask(tmp_path / "images/pcb/NG/a_C2.png")
    write_category(
        tmp_path,
        "jsons/jsons",
        "pcb",
        ("NG/a_C10.jpg", "OK", None),
        ("NG/a_C2.jpg", "AK", "NG/a_C2.png"),
    )
    write_category(tmp_path, "jsons", "pcb", ("NG/other.jpg", "OK", None))
    found = list(CATEGORIES.records(Tree.scan(tmp_path)))
    assert [
        (record.image, record.masks, record.is_anomalous, record.defect) for record in found
    ] == [
        ("images/pcb/NG/a_C2.jpg", ("images/pcb/NG/a_C2.png",), True, "AK"),
        ("images/pcb/NG/a_C10.jpg", (), False, "good"),
    ]


def test_categories_that_were_not_downloaded_are_left_out(tmp_path, save):
    save(tmp_path / "images/pcb/a.jpg")
    for name in ("pcb", "zipper"):
        write_category(tmp_path, "jsons", name, ("a.jpg", "OK", None))
    assert {record.category for record in CATEGORIES.records(Tree.scan(tmp_path))} == {"pcb"}


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"meta": {"normal_class": "OK"}, "train": [{}], "test": []}']
)
def test_a_category_table_of_another_form_is_named(tmp_path, save, text):
    save(tmp_path / "images/pcb/a.jpg")
    (tmp_path / "jsons").mkdir()
    (tmp_path / "jsons/pcb.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"jsons/pcb\.json: expected meta\.normal_class, train and test lists"
    ):
        list(CATEGORIES.records(Tree.scan(tmp_path)))


def test_missing_category_tables_are_told(tmp_path, save):
    save(tmp_path / "images/pcb/a.jpg")
    with pytest.raises(FileNotFoundError, match=r"no CATEGORY\.json in jsons/jsons or jsons below"):
        list(CATEGORIES.records(Tree.scan(tmp_path)))


@pytest.mark.parametrize(
    ("pattern", "is_there"),
    [
        ("*/test/good", True),
        ("a/test/*", True),
        ("a/test/good/1.png", True),
        ("*/*/*/*.png", True),
        ("test", False),
        ("*/good", False),
        ("b/test/good", False),
        ("a/test/good/1.png/x", False),
        (".hidden", False),
    ],
)
def test_a_listing_tells_what_lies_below_a_folder(tmp_path, save, pattern, is_there):
    save(tmp_path / "a/test/good/1.png")
    save(tmp_path / ".hidden/1.png")
    assert Listing(tmp_path).has("", pattern) is is_there
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert Listing(tmp_path).folders("") == ["a"]
