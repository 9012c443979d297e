"""Downloads of industrial inspection with folders of their own."""

from __future__ import annotations

from dataclasses import replace

from zsad.data.layouts.layout import Layout
from zsad.data.sources import CategoryTables, Folders, LabelRule

_REAL_IAD_TABLES = ("realiad_jsons/realiad_jsons", "realiad_jsons")
_REAL_IAD = Layout(
    title="Real-IAD (1024 px)",
    homepage="https://realiad4ad.github.io/Real-IAD/",
    licence="CC BY-NC-SA 4.0",
    sources=(CategoryTables(_REAL_IAD_TABLES, "realiad_1024"),),
    mask_threshold=0,  # as the field's readers do; the stored masks are 0 and 255
    group="industrial",
    instructions=(
        "Ask its authors for access (REAL-IAD/Real-IAD on Hugging Face); ROOT holds realiad_1024/ "
        "and realiad_jsons/."
    ),
    unique_patterns=("realiad_1024",),
    images=151050,
)


def _real_iad(size: str, size_text: str) -> Layout:
    """Return Real-IAD of another image size, which is a download of its own."""
    return replace(
        _REAL_IAD,
        title=f"Real-IAD ({size_text})",
        sources=(CategoryTables(_REAL_IAD_TABLES, f"realiad_{size}"),),
        instructions=f"As real_iad, but ROOT holds realiad_{size}/ beside realiad_jsons/.",
        unique_patterns=(f"realiad_{size}",),
    )


INDUSTRIAL: dict[str, Layout] = {
    "ksdd": Layout(
        title="KolektorSDD",
        homepage="https://www.vicos.si/resources/kolektorsdd/",
        licence="CC BY-NC-SA 4.0",
        sources=(
            Folders(
                image=r"<item:kos\d+>/<stem:Part\d+>.jpg",
                mask="<item>/<stem>_label.bmp",
                category="commutator",
                defect="defect",
                label=LabelRule.MASK_PIXELS,
                masks_of_normal=True,
            ),
        ),
        mask_threshold=0,  # class numbers 1 and 2
        group="industrial",
        instructions=(
            "Fetch the archive (not KolektorSDD-boxes.zip) from the page and unpack it; ROOT holds "
            "kos01/ to kos50/."
        ),
        unique_patterns=("kos*/Part*_label.bmp",),
        archive="KolektorSDD.zip",
        sha256="65dc621693418585de9c4467d1340ea7958a6181816f0dc2883a1e8b61f9d4dc",
        md5="2b094030343c1cd59df02203ac6c57a0",
        images=399,
    ),
    "ksdd_strips": Layout(
        title="KolektorSDD (strips of AnomalyCLIP and AdaCLIP)",
        homepage="https://github.com/caoyunkang/AdaCLIP",
        licence="CC BY-NC-SA 4.0",
        sources=(
            Folders(
                image="<category>/<phase:train|test>/<defect>/<stem>.*",
                mask="<category>/ground_truth/<defect>/<stem><mask_suffix>.*",
                mask_suffix="_mask",
                other_mask_suffixes=("",),
            ),
        ),
        mask_threshold=0,
        group="industrial",
        instructions=(
            "KolektorSDD cut into three strips an image, as AnomalyCLIP and AdaCLIP distribute or "
            "make it; ROOT holds SDD/ (or another name) with train/good/, test/good/, test/defect/ "
            "and ground_truth/defect/. Its numbers are not comparable with ksdd."
        ),
        unique_patterns=("*/test/*/kos*_Part*_*.*", "*/train/good/kos*_Part*_*.*"),
    ),
    "ksdd2": Layout(
        title="KolektorSDD2",
        homepage="https://www.vicos.si/resources/kolektorsdd2/",
        licence="CC BY-NC-SA 4.0",
        sources=(
            Folders(
                # The download has stray copies: train/10301 (copy).png
                image=r"<phase:train|test>/<stem:\d{5}>.png",
                mask="<phase>/<stem>_GT.png",
                category="surface",
                defect="defect",
                label=LabelRule.MASK_PIXELS,
                masks_of_normal=True,
            ),
        ),
        mask_threshold=127,
        group="industrial",
        instructions=(
            "Fetch the archive from the page and unpack it; ROOT holds train/ and test/ with "
            "10000.png, 10000_GT.png."
        ),
        unique_patterns=("train/*_GT.png", "test/*_GT.png"),
        archive="KolektorSDD2.zip",
        sha256="edcdb486809b24f1d17b785e30c52fafc5999554dd5fe18ddf77b61ceb6f36a8",
        md5="1ed0f628122776ace4965afa30dfe316",
        images=3335,
    ),
    "dagm2007": Layout(
        title="DAGM 2007",
        homepage="https://zenodo.org/records/12750201",
        licence="free for research; cite the DAGM 2007 competition",
        sources=(
            Folders(
                image=r"<category:Class\d+>/<phase:Train|Test>/<stem>.PNG",
                mask="<category>/<phase>/Label/<stem>_label.PNG",
                defect="defect",
                label=LabelRule.MASK_FILE,
            ),
        ),
        mask_threshold=127,
        group="industrial",
        instructions=(
            "Fetch and unpack the classes from the page, or the Kaggle set "
            "mhskjelvareid/dagm-2007-competition-dataset-optical-inspection; ROOT holds Class1/ to "
            "Class10/."
        ),
        unique_patterns=("Class*/Train/Label", "Class*/Test/Label"),
        categories=tuple(f"Class{number}" for number in range(1, 11)),
        images=16100,
    ),
    "mtd": Layout(
        title="MTD (magnetic tile defects)",
        homepage="https://github.com/abin24/Magnetic-tile-defect-datasets.",
        licence="none stated; the authors ask for citation",
        sources=(
            Folders(
                image="MT_<defect>/Imgs/<stem>.jpg",
                mask="MT_<defect>/Imgs/<stem>.png",
                category="magnetic_tile",
                normal=("Free",),
                defects={
                    "Blowhole": "blowhole",
                    "Break": "break",
                    "Crack": "crack",
                    "Fray": "fray",
                    "Uneven": "uneven",
                },
                masks_of_normal=True,
            ),
        ),
        mask_threshold=127,  # the edges are soft and no pixel convention is published
        group="industrial",
        instructions=(
            "git clone the page (the full stop belongs to its name); ROOT holds MT_Free/, "
            "MT_Blowhole/, ..."
        ),
        unique_patterns=("MT_Free/Imgs", "MT_Blowhole/Imgs"),
        images=1344,
    ),
    "real_iad": _REAL_IAD,
    "real_iad_256": _real_iad("256", "256 px"),
    "real_iad_512": _real_iad("512", "512 px"),
    "real_iad_raw": _real_iad("raw", "full size"),
    "vad": Layout(
        title="VAD",
        homepage="https://github.com/abc-125/vad",
        licence="CC BY-NC-SA 4.0",
        sources=(Folders(image="<phase:train|test>/<defect:good|bad>/<stem>.*", category="vad"),),
        mask_threshold=127,
        group="industrial",
        instructions=(
            "Fetch the archive from the page and unpack it; ROOT holds train/ and test/ with good/ "
            "and bad/ in each."
        ),
        shared_patterns=("train/bad", "test/bad"),
        top_folders=("vad",),
        archive="VAD.zip",
        sha256="bfffce213d1649c8dd6b8e3afd8d85512736131e9ec7c5edfa0c26e774b5760b",
        images=5000,
    ),
    "crackforest": Layout(
        title="CrackForest",
        homepage="https://github.com/cuilimeng/CrackForest-dataset",
        licence="non-commercial research only",
        sources=(
            Folders(
                image="Images/<stem>.*",
                mask="Masks/<stem>_label.*",
                category="road",
                defect="crack",
            ),
        ),
        mask_threshold=127,  # stray values of 3 and 4 are region numbers, not cracks
        group="industrial",
        instructions=(
            "The masks as PNG are in CrackForest/ of "
            "https://github.com/msminhas93/DeepLabv3FineTuning; ROOT holds Images/ and Masks/."
        ),
        unique_patterns=("Masks/*_label.*",),
        images=118,
    ),
}
