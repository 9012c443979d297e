"""The table of layouts: what is recognised, and as what."""

import json
from pathlib import Path

import pytest
import yaml

from zsad.data.layouts import LAYOUTS, find_layout

SHARED = Path(__file__).parents[2] / ".." / "shared"


def facts(layout: str, root: Path):
    """(image, masks, category, phase, label, defect) of every sample, sorted."""
    row = LAYOUTS[layout]
    return sorted(
        (r.image, r.masks, r.category, r.phase, int(r.is_anomalous), r.defect)
        for r in row.records(row.scan(root))
    )


@pytest.mark.skipif(not (SHARED / "data/mtd").is_dir(), reason="needs ../shared/data/mtd")
def test_the_magnetic_tiles_are_those_of_the_committed_index():
    found = facts("mtd", SHARED / "data/mtd")
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
    row = find_layout("mvtec").with_names(normal=("ok",), mask_suffix="")
    normal, anomalous = sorted(
        row.records(row.scan(tmp_path)), key=lambda record: record.is_anomalous
    )
    assert (normal.image, normal.is_anomalous, normal.defect) == ("01/test/ok/0.bmp", False, "good")
    assert (anomalous.masks, anomalous.defect) == (("01/ground_truth/ko/0.png",), "ko")


def test_tables_take_no_other_names():
    with pytest.raises(ValueError, match="VisA names its files in its own tables"):
        find_layout("visa").with_names(normal=("ok",))


def test_a_folder_of_another_layout_says_what_it_looks_like(mvtec_tree):
    with pytest.raises(
        ValueError,
        match=r"not look like VisA: expected split_csv/1cls\.csv below it; it looks like mvtec",
    ):
        LAYOUTS["visa"].scan(mvtec_tree)


def test_a_folder_of_no_layout_says_what_was_expected(tmp_path):
    with pytest.raises(
        ValueError, match=r"expected \*/test/good or \*/train/good below it\. Fetch the archive"
    ):
        LAYOUTS["mvtec"].scan(tmp_path)


def test_an_unknown_layout_gets_the_nearest_name():
    with pytest.raises(ValueError, match=r"no layout mvtek\. Known: mvtec, .*Did you mean mvtec\?"):
        find_layout("mvtek")


def test_own_folders_are_read_unless_they_are_another_download(tmp_path, save):
    """A category or two that are called as those of a download do not make it that download."""
    for category in ("tubes", "connector", "gear"):
        save(tmp_path / "own" / category / "test/good/0.png")
    assert len(facts("mvtec", tmp_path / "own")) == 3
    save(tmp_path / "own/metal_plate/test/good/0.png")
    with pytest.raises(ValueError, match=r"not look like MVTec AD: .*; it looks like mpdd$"):
        facts("mvtec", tmp_path / "own")


def test_part_of_a_download_is_accepted_by_name(tmp_path, save):
    save(tmp_path / "tubes/test/good/0.png")
    assert [image for image, *_ in facts("mpdd", tmp_path)] == ["tubes/test/good/0.png"]


@pytest.mark.parametrize(
    ("layout", "images"), [("cvc_colondb", 2), ("cvc_clinicdb", 1), ("kvasir", 3)]
)
def test_each_set_is_found_in_the_polyp_collection(tmp_path, save, save_mask, layout, images):
    for folder, count in {
        "CVC-ColonDB": 2,
        "CVC-ClinicDB": 1,
        "Kvasir": 3,
        "ETIS-LaribPolypDB": 4,
    }.items():
        for i in range(count):
            save(tmp_path / f"TestDataset/{folder}/images/{i}.png")
            save_mask(tmp_path / f"TestDataset/{folder}/masks/{i}.png")
    assert len(facts(layout, tmp_path)) == images


def test_one_polyp_set_is_not_taken_for_another(tmp_path, save, save_mask):
    save(tmp_path / "CVC-ClinicDB/images/1.png")
    save_mask(tmp_path / "CVC-ClinicDB/masks/1.png")
    for root in (tmp_path, tmp_path / "CVC-ClinicDB"):
        with pytest.raises(
            ValueError, match=r"not look like CVC-ColonDB.*it looks like cvc_clinicdb$"
        ):
            facts("cvc_colondb", root)


def test_the_sizes_of_real_iad_are_different_downloads(tmp_path, save):
    save(tmp_path / "realiad_256/zipper/OK/S0001/a.jpg")
    entry = {"image_path": "OK/S0001/a.jpg", "mask_path": None, "anomaly_class": "OK"}
    table = tmp_path / "realiad_jsons/zipper.json"
    table.parent.mkdir()
    table.write_text(json.dumps({"meta": {"normal_class": "OK"}, "train": [entry], "test": []}))
    image = "realiad_256/zipper/OK/S0001/a.jpg"
    assert facts("real_iad_256", tmp_path) == [(image, (), "zipper", "train", 0, "good")]
    with pytest.raises(
        ValueError, match=r"expected realiad_1024 below it; it looks like real_iad_256$"
    ):
        facts("real_iad", tmp_path)


@pytest.mark.parametrize("top", ["SDD", "electrical commutators"])
@pytest.mark.parametrize("suffix", ["_mask", ""])
def test_strips_of_kolektor_are_a_dataset_of_their_own(tmp_path, save, save_mask, top, suffix):
    save(tmp_path / top / "test/good/kos01_Part0_1.png")
    save(tmp_path / top / "test/defect/kos01_Part5_0.png")
    mask = save_mask(tmp_path / top / f"ground_truth/defect/kos01_Part5_0{suffix}.png")
    assert facts("ksdd_strips", tmp_path) == [
        (
            f"{top}/test/defect/kos01_Part5_0.png",
            (str(mask.relative_to(tmp_path)),),
            top,
            "test",
            1,
            "defect",
        ),
        (f"{top}/test/good/kos01_Part0_1.png", (), top, "test", 0, "good"),
    ]
    for other in ("ksdd", "mvtec"):
        with pytest.raises(ValueError, match=r"; it looks like ksdd_strips$"):
            facts(other, tmp_path)


def test_cracks_have_masks_of_upper_case_extension(tmp_path, save, save_mask):
    save(tmp_path / "Images/001.jpg")
    save_mask(tmp_path / "Masks/001_label.PNG")
    assert facts("crackforest", tmp_path) == [
        ("Images/001.jpg", ("Masks/001_label.PNG",), "road", "test", 1, "crack")
    ]


@pytest.mark.parametrize("suffix", ["", "_AD"])
@pytest.mark.parametrize("folder", ["anomaly_mask", "label"])
def test_copies_of_bmad_differ_in_the_names_of_folders(tmp_path, save, save_mask, suffix, folder):
    base = f"Brain{suffix}/test"
    save(tmp_path / base / "good/img/1.png")
    save_mask(tmp_path / base / f"good/{folder}/1.png", value=0)
    save(tmp_path / base / "Ungood/img/1.png")
    save_mask(tmp_path / base / f"Ungood/{folder}/1.png")
    assert facts("bmad", tmp_path) == [
        (
            f"{base}/Ungood/img/1.png",
            (f"{base}/Ungood/{folder}/1.png",),
            "Brain",
            "test",
            1,
            "Ungood",
        ),
        (f"{base}/good/img/1.png", (), "Brain", "test", 0, "good"),
    ]


def test_visas_other_splits_learn_from_defects(visa_tree):
    table = visa_tree / "split_csv/2cls_fewshot.csv"
    table.write_text(table.read_text().replace("candle,test,anomaly", "candle,train,anomaly"))
    assert {phase for *_, phase, label, _ in facts("visa_2cls_fewshot", visa_tree) if label} == {
        "train"
    }
    assert {phase for *_, phase, label, _ in facts("visa", visa_tree) if label} == {"test"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_row_has_the_facts_a_user_needs(name):
    row = LAYOUTS[name]
    assert row.homepage.startswith("https://")
    assert all((row.title, row.licence, row.sources, row.unique_patterns or row.shared_patterns))
    assert row.instructions.endswith(".")
    assert "ROOT holds" in row.instructions
    assert row.group in ("industrial", "medical")
    assert (len(row.sha256), len(row.md5)) in ((0, 0), (64, 0), (64, 32))
    assert 0 <= row.mask_threshold < 255
    assert not row.sha256 or row.archive


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_row_has_its_configuration_with_the_same_mask_rule(name):
    text = (Path(__file__).parents[2] / f"conf/dataset/{name}.yaml").read_text()
    content = yaml.safe_load(text)
    assert (content["name"], content["mask_threshold"]) == (name, LAYOUTS[name].mask_threshold)
    assert set(content) == {"defaults", "name", "mask_threshold"}


def test_a_copy_beside_the_masks_of_an_image_is_none_of_them(tmp_path, save, save_mask):
    save(tmp_path / "pushpins/test/logical_anomalies/000.png")
    for name in ("000", "001", "000 (copy)"):
        save_mask(tmp_path / f"pushpins/ground_truth/logical_anomalies/000/{name}.png")
    ((_, masks, *_),) = facts("mvtec_loco", tmp_path)
    assert [mask[-7:] for mask in masks] == ["000.png", "001.png"]
