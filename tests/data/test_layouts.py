"""The table of layouts, on fabricated trees."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zsad.data.layouts import LAYOUTS, find_layout
from zsad.data.sources import Tree, natural_key, template_pattern

SHARED = Path(__file__).parents[2] / ".." / "shared"


def facts(layout: str, root: Path):
    """(image, masks, category, phase, label, defect) of every sample, sorted."""
    row = LAYOUTS[layout]
    return sorted(
        (r.image, r.masks, r.category, r.phase, int(r.is_anomalous), r.defect) for r in row.records(row.scan(root))
    )


@pytest.mark.skipif(not (SHARED / "data/make_layouts.py").exists(), reason="needs ../shared/data/make_layouts.py")
@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(("dataset", "layout"), [("mvtec_ad", "mvtec"), ("visa", "visa"), ("mtd", "mtd")])
def test_a_fabricated_download_is_read_as_its_maker_says(tmp_path, dataset, layout, seed):
    script = SHARED / "data/make_layouts.py"
    command = [sys.executable, str(script), str(tmp_path), "--dataset", dataset, "--seed", str(seed)]
    subprocess.run(command, check=True, capture_output=True)
    expected = json.loads((tmp_path / dataset / "expected.json").read_text())
    assert facts(layout, tmp_path / dataset / "raw") == sorted(
        (
            e["path"],
            (e["mask_path"],) if e["mask_path"] else (),
            e["class"],
            e["split"] or "test",
            e["label"],
            e["defect_type"],
        )
        for e in expected
    )


@pytest.mark.skipif(not (SHARED / "data/mtd").is_dir(), reason="needs ../shared/data/mtd")
def test_the_real_magnetic_tiles_have_their_published_counts_and_the_committed_index():
    found = facts("mtd", SHARED / "data/mtd")
    assert [sum(label == wanted for *_, label, _ in found) for wanted in (0, 1)] == [952, 392]
    committed = json.loads((Path(__file__).parents[2] / "data_json/mtd.json").read_text())
    listed = {entry["img_path"] for entry in committed["test"]["magnetic_tile"]}
    assert listed == {image for image, *_ in found}


def test_mvtec_pairs_by_name_within_the_defect_folder(mvtec_tree):
    crack = "tile/ground_truth/crack/001_mask.png"
    found = facts("mvtec", mvtec_tree)
    assert ("tile/test/crack/001.png", (crack,), "tile", "test", 1, "crack") in found
    assert ("tile/test/good/001.png", (), "tile", "test", 0, "good") in found
    assert ("tile/train/good/001.png", (), "tile", "train", 0, "good") in found
    assert len(found) == 12


def test_strays_shift_no_pair(mvtec_tree, save, save_mask):
    """A mask more, a dot-file, a text, a macOS twin: the other pairs stay."""
    before = facts("mvtec", mvtec_tree)
    save_mask(mvtec_tree / "tile/ground_truth/crack/0000_mask.png")
    save(mvtec_tree / "tile/test/crack/.000.png")
    save(mvtec_tree / "__MACOSX/tile/test/crack/000.png")
    (mvtec_tree / "tile/test/crack/readme.txt").write_text("x")
    assert facts("mvtec", mvtec_tree) == before


def test_a_top_folder_is_accepted(mvtec_tree, tmp_path):
    nested = tmp_path / "download"
    nested.mkdir()
    mvtec_tree.rename(nested / "mvtec_anomaly_detection")
    assert all(image.startswith("mvtec_anomaly_detection/") for image, *_ in facts("mvtec", nested))


def test_two_top_folders_are_ambiguous(mvtec_tree, tmp_path):
    (tmp_path / "download").mkdir()
    mvtec_tree.rename(tmp_path / "download/a")
    (tmp_path / "download/b/x/test/good").mkdir(parents=True)
    with pytest.raises(ValueError, match="more than once: name one of a, b"):
        LAYOUTS["mvtec"].scan(tmp_path / "download")


def test_other_names_for_normal_and_masks(tmp_path, save, save_mask):
    save(tmp_path / "01/test/ok/0.bmp")
    save(tmp_path / "01/test/ko/0.BMP")
    save_mask(tmp_path / "01/ground_truth/ko/0.png")
    row = find_layout("mvtec").named(normal=("ok",), mask_suffix="")
    normal, anomalous = sorted(row.records(row.scan(tmp_path)), key=lambda record: record.is_anomalous)
    assert (normal.image, normal.is_anomalous, normal.defect) == ("01/test/ok/0.bmp", False, "good")
    assert (anomalous.masks, anomalous.defect) == (("01/ground_truth/ko/0.png",), "ko")


def test_tables_take_no_other_names():
    with pytest.raises(ValueError, match="VisA names its files in its own tables"):
        find_layout("visa").named(normal=("ok",))


def test_two_masks_of_one_name_are_ambiguous(mvtec_tree, save_mask):
    save_mask(mvtec_tree / "tile/ground_truth/crack/000_mask.bmp")
    with pytest.raises(ValueError, match=r"000\.png has more than one mask.*000_mask\.bmp, .*000_mask\.png"):
        facts("mvtec", mvtec_tree)


def test_visa_takes_split_label_and_defect_from_its_tables(visa_tree):
    found = facts("visa", visa_tree)
    mask = "candle/Data/Masks/Anomaly/001.png"
    assert ("candle/Data/Images/Anomaly/001.JPG", (mask,), "candle", "test", 1, "burnt,hole") in found
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
        ("MT_Crack/Imgs/exp1.jpg", ("MT_Crack/Imgs/exp1.png",), "magnetic_tile", "test", 1, "crack"),
        ("MT_Free/Imgs/exp1.jpg", ("MT_Free/Imgs/exp1.png",), "magnetic_tile", "test", 0, "good"),
    ]


def test_a_folder_of_another_layout_says_what_it_looks_like(mvtec_tree):
    with pytest.raises(
        ValueError, match=r"not look like VisA: expected split_csv/1cls\.csv below it; it looks like mvtec"
    ):
        LAYOUTS["visa"].scan(mvtec_tree)


def test_a_folder_of_no_layout_says_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match=r"expected \*/test/good or \*/train/good below it$"):
        LAYOUTS["mvtec"].scan(tmp_path)


def test_an_unknown_layout_gets_the_nearest_name():
    with pytest.raises(ValueError, match=r"no layout mvtek\. Known: mvtec, visa.*Did you mean mvtec\?"):
        find_layout("mvtek")


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


def test_every_row_has_the_facts_a_user_needs():
    for row in LAYOUTS.values():
        assert row.page.startswith("https://")
        assert all((row.title, row.licence, row.sources, row.landmarks))
        assert len(row.sha256) in (0, 64)
        assert 0 <= row.mask_threshold < 255
