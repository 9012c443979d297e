"""What a download lacks is told whole."""

import shutil
from pathlib import Path

import pytest

from tests.data.fabricated import download
from zsad.data.layouts import LAYOUTS
from zsad.data.prepare.missing_files import completeness_notes, missing_masks
from zsad.data.prepare.write_index import prepare


def looked_at(layout: str, root: Path):
    row = LAYOUTS[layout]
    tree = row.scan(root)
    return row, tree, list(row.records(tree))


def problems(layout: str, root: Path) -> list[str]:
    row, _, records = looked_at(layout, root)
    return [str(problem) for problem in missing_masks(row, records)]


def test_a_folder_without_masks_is_a_single_problem(tmp_path):
    """A single image without a mask is another."""
    root = download("mpdd").write(tmp_path / "raw")
    shutil.rmtree(root / "MPDD/tubes/ground_truth")
    shutil.rmtree(root / "MPDD/metal_plate/ground_truth/scratches")
    (root / "MPDD/connector/ground_truth/parts_mismatch/001_mask.png").unlink()
    assert problems("mpdd", root) == [
        "no mask at all: MPDD/metal_plate/test/scratches (2 anomalous images)",
        "no mask at all: MPDD/tubes/test/anomalous (2 anomalous images)",
        "no mask: MPDD/connector/test/parts_mismatch/001.png",
    ]


@pytest.mark.parametrize(
    "case", ["kvasir_seg", "isic2016", "tn3k", "visa_1cls", "mvtec_ad", "mvtec_loco"]
)
def test_a_download_that_lost_all_its_masks_is_refused(tmp_path, case):
    it = download(case)
    root = it.write(tmp_path / "raw")
    for mask in {mask for _, masks, *_ in it.facts for mask in masks}:
        (root / mask).unlink()
    with pytest.raises(ValueError, match=r"no index written for .*no mask at all"):
        prepare(it.layout, root, data_json=tmp_path / "dj", conf=tmp_path / "conf")


@pytest.mark.parametrize("case", ["vad", "br35h", "covid19", "headct", "bmad", "visa_challenge"])
def test_nothing_is_missing_where_no_masks_are_published(tmp_path, case):
    it = download(case)
    assert problems(it.layout, it.write(tmp_path / "raw")) == []


def test_own_images_in_a_published_layout_may_lack_masks(tmp_path, save):
    for kind in ("good", "bad"):
        save(tmp_path / f"gear/test/{kind}/0.png")
    assert problems("mvtec", tmp_path) == []
    row, tree, records = looked_at("mvtec", tmp_path)
    assert completeness_notes(row, tree, records) == []


def test_missing_categories_images_and_lost_masks_are_told(tmp_path):
    root = download("goodsad").write(tmp_path / "raw")
    shutil.rmtree(root / "food_box")
    shutil.rmtree(root / "drink_can")
    for i in range(2):
        (root / f"cigarette_box/test/opened/{i:06d}.jpg").unlink()
    row, tree, records = looked_at("goodsad", root)
    assert completeness_notes(row, tree, records) == [
        "cigarette_box/ground_truth/opened has masks without an image: 000000, 000001",
        "no images of drink_can, food_box",
        f"{len(records)} images, but GoodsAD is published with 6124",
    ]


def test_long_lists_of_lost_masks_are_counted(tmp_path, save, save_mask):
    save(tmp_path / "tile/test/good/0.png")
    for i in range(8):
        save_mask(tmp_path / f"tile/ground_truth/crack/{i}_mask.png")
    row, tree, records = looked_at("mvtec", tmp_path)
    assert completeness_notes(row, tree, records)[0].endswith(
        "without an image: 0_mask, 1_mask, 2_mask, 3_mask, 4_mask and 3 more"
    )


def test_a_whole_download_lacks_nothing(tmp_path, save, save_mask):
    for i in range(118):
        save(tmp_path / f"Images/{i:03d}.jpg", size=(2, 2))
        save_mask(tmp_path / f"Masks/{i:03d}_label.PNG", size=(2, 2))
    row, tree, records = looked_at("crackforest", tmp_path)
    assert completeness_notes(row, tree, records) == []


def test_unlabelled_images_are_counted(tmp_path):
    row, tree, records = looked_at("mvtec_ad2", download("mvtec_ad_2").write(tmp_path / "raw"))
    assert completeness_notes(row, tree, records) == [
        "32 images have no published label: they can be predicted, not tested"
    ]
