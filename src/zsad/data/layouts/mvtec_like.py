"""Downloads in the folders of MVTec AD: CATEGORY/{train,test}/KIND, CATEGORY/ground_truth/KIND."""

from __future__ import annotations

from dataclasses import replace

from zsad.data.layouts.layout import Layout
from zsad.data.sources import Folders, LabelRule

_MVTEC_FOLDERS = Folders(
    image="<category>/<phase:train|test>/<defect>/<stem>.*",
    mask="<category>/ground_truth/<defect>/<stem><mask_suffix>.*",
    mask_suffix="_mask",
)
_MVTEC_SHAPE = ("<category>/test/good", "<category>/train/good")

MVTEC_LIKE: dict[str, Layout] = {
    "mvtec": Layout(
        title="MVTec AD",
        homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
        licence="CC BY-NC-SA 4.0",
        sources=(_MVTEC_FOLDERS,),
        mask_threshold=127,
        group="industrial",
        instructions=(
            "Fetch the archive from the page and unpack it; ROOT holds bottle/, cable/, ... with "
            "train/ and test/."
        ),
        shared_patterns=(
            "*/test/<normal>",
            "*/train/<normal>",
        ),  # anybody's own images may lie like this
        top_folders=("mvtec_anomaly_detection",),
        categories=(
            "bottle",
            "cable",
            "capsule",
            "carpet",
            "grid",
            "hazelnut",
            "leather",
            "metal_nut",
            "pill",
            "screw",
            "tile",
            "toothbrush",
            "transistor",
            "wood",
            "zipper",
        ),
        archive="mvtec_anomaly_detection.tar.xz",
        sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
        bytes=4_900_000_000,
        images=5354,
    ),
    "mvtec_ad2": Layout(
        title="MVTec AD 2",
        homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad-2",
        licence="CC BY-NC-SA 4.0",
        sources=(
            Folders(
                image="<category>/<phase:train|validation|test_public>/<defect:good|bad>/<stem>.*",
                mask="<category>/<phase>/ground_truth/<defect>/<stem><mask_suffix>.*",
                mask_suffix="_mask",
                phases={"validation": "val", "test_public": "test"},
            ),
            Folders(
                image="<category>/<set:test_private|test_private_mixed>/<stem>.*",
                label=LabelRule.UNKNOWN,
            ),
        ),
        mask_threshold=127,
        group="industrial",
        instructions=(
            "Fetch the archive from the page and unpack it; ROOT holds can/, fabric/, ... with "
            "test_public/ in each."
        ),
        unique_patterns=("*/test_public", "*/test_private"),
        categories=(
            "can",
            "fabric",
            "fruit_jelly",
            "rice",
            "sheet_metal",
            "vial",
            "wallplugs",
            "walnuts",
        ),
        archive="mvtec_ad_2.tar.gz",
        sha256="c0ded99ef32bfc8e352d52beb44515e5b292b8598cb963aadfa91ca0763505e4",
    ),
    "mvtec_loco": Layout(
        title="MVTec LOCO AD",
        homepage="https://www.mvtec.com/company/research/datasets/mvtec-loco",
        licence="CC BY-NC-SA 4.0",
        sources=(
            Folders(
                image="<category>/<phase:train|validation|test>/<defect>/<stem>.*",
                mask="<category>/ground_truth/<defect>/<stem>/<part:[0-9]+>.*",
                phases={"validation": "val"},
            ),
        ),
        mask_threshold=127,  # the values 236-255 name the kind of defect
        group="industrial",
        instructions=(
            "Fetch the archive from the page and unpack it; ROOT holds breakfast_box/, "
            "juice_bottle/, ..."
        ),
        unique_patterns=(
            "*/test/logical_anomalies",
            "*/test/structural_anomalies",
            "*/defects_config.json",
        ),
        categories=(
            "breakfast_box",
            "juice_bottle",
            "pushpins",
            "screw_bag",
            "splicing_connectors",
        ),
        archive="mvtec_loco_anomaly_detection.tar.xz",
        sha256="9e7c84dba550fd2e59d8e9e231c929c45ba737b6b6a6d3814100f54d63aae687",
        images=3644,
    ),
    "mpdd": Layout(
        title="MPDD (metal parts)",
        homepage="https://github.com/stepanje/MPDD",
        licence="CC BY-NC-SA 4.0",
        sources=(_MVTEC_FOLDERS,),
        mask_threshold=127,
        group="industrial",
        instructions=(
            "Follow the link of the page and unpack the archive; ROOT holds bracket_black/, ..., "
            "tubes/."
        ),
        shared_patterns=_MVTEC_SHAPE,
        top_folders=("MPDD",),
        categories=(
            "bracket_black",
            "bracket_brown",
            "bracket_white",
            "connector",
            "metal_plate",
            "tubes",
        ),
        archive="MPDD.zip",
        bytes=1_825_041_283,
        images=1346,
    ),
    "btad": Layout(
        title="BTAD (beanTech)",
        homepage="https://avires.dimi.uniud.it/papers/btad/btad.zip",
        licence="CC BY-NC-SA 4.0",
        sources=(replace(_MVTEC_FOLDERS, normal=("ok",), mask_suffix=""),),
        mask_threshold=127,
        group="industrial",
        instructions=(
            "The page is the archive; ROOT holds 01/, 02/ and 03/ with train/, test/ and "
            "ground_truth/."
        ),
        shared_patterns=("<category>/test/<normal>", "<category>/train/<normal>"),
        top_folders=("BTech_Dataset_transformed",),
        categories=("01", "02", "03"),
        archive="btad.zip",
        sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
        bytes=1_229_193_337,
        images=2540,
    ),
    "dtd_synthetic": Layout(
        title="DTD-Synthetic",
        homepage="https://drive.google.com/drive/folders/10OyPzvI3H6llCZBxKxFlKWt1Pw1tkMK1",
        licence="research only (textures of DTD)",
        sources=(replace(_MVTEC_FOLDERS, other_mask_suffixes=("",)),),
        mask_threshold=127,
        group="industrial",
        instructions=(
            "Fetch the folder of the page; ROOT holds Blotchy_099/, ..., Woven_127/ with train/ "
            "and test/ in each."
        ),
        shared_patterns=_MVTEC_SHAPE,
        top_folders=("DTD-Synthetic",),
        categories=(
            "Blotchy_099",
            "Fibrous_183",
            "Marbled_078",
            "Matted_069",
            "Mesh_114",
            "Perforated_037",
            "Stratified_154",
            "Woven_001",
            "Woven_068",
            "Woven_104",
            "Woven_125",
            "Woven_127",
        ),
    ),
    "goodsad": Layout(
        title="GoodsAD",
        homepage="https://github.com/jianzhang96/GoodsAD",
        licence="none stated",
        sources=(replace(_MVTEC_FOLDERS, mask_suffix="", other_mask_suffixes=("_mask",)),),
        mask_threshold=127,
        group="industrial",
        instructions=(
            "Fetch and unpack the six archives that the page links to; ROOT holds drink_bottle/, "
            "drink_can/, ..."
        ),
        shared_patterns=_MVTEC_SHAPE,
        top_folders=("GoodsAD",),
        categories=(
            "cigarette_box",
            "drink_bottle",
            "drink_can",
            "food_bottle",
            "food_box",
            "food_package",
        ),
        bytes=12_300_000_000,
        images=6124,
    ),
}
