"""VisA in all its forms."""

from __future__ import annotations

from dataclasses import replace

from zsad.data.layouts.layout import Layout
from zsad.data.sources import Folders, LabelRule, VisaTable

_VISA = Layout(
    title="VisA",
    homepage="https://github.com/amazon-science/spot-diff",
    licence="CC BY 4.0",
    sources=(VisaTable("split_csv/1cls.csv"),),
    mask_threshold=0,  # masks hold class numbers 1-9, so they look black
    group="industrial",
    instructions=(
        "Fetch the archive that the page links to and unpack it; ROOT holds split_csv/ beside "
        "candle/, capsules/, ..."
    ),
    unique_patterns=("split_csv/1cls.csv",),
    categories=(
        "candle",
        "capsules",
        "cashew",
        "chewinggum",
        "fryum",
        "macaroni1",
        "macaroni2",
        "pcb1",
        "pcb2",
        "pcb3",
        "pcb4",
        "pipe_fryum",
    ),
    archive="VisA_20220922.tar",
    sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
    bytes=1_900_000_000,
    images=10821,
)

VISA: dict[str, Layout] = {
    "visa": _VISA,
    "visa_2cls_fewshot": replace(
        _VISA,
        title="VisA (2cls_fewshot)",
        sources=(VisaTable("split_csv/2cls_fewshot.csv"),),
        unique_patterns=("split_csv/2cls_fewshot.csv",),
    ),
    "visa_2cls_highshot": replace(
        _VISA,
        title="VisA (2cls_highshot)",
        sources=(VisaTable("split_csv/2cls_highshot.csv"),),
        unique_patterns=("split_csv/2cls_highshot.csv",),
    ),
    "visa_1cls": replace(
        _VISA,
        title="VisA (prepared, 1cls)",
        sources=(
            Folders(
                image="<category>/<phase:train|test>/<defect>/<stem>.*",
                mask="<category>/ground_truth/<defect>/<stem><mask_suffix>.*",
            ),
        ),
        instructions=(
            "Run prepare_data.py of the page, which writes VisA_pytorch/1cls; ROOT holds candle/, "
            "capsules/, ... with train/ and test/ in each."
        ),
        unique_patterns=(),
        shared_patterns=("<category>/test/bad", "<category>/train/good"),
        archive="",
        sha256="",
        bytes=None,
    ),
    "visa_challenge": replace(
        _VISA,
        title="VisA-Challenge (VAND 2023)",
        homepage="https://sites.google.com/view/vand-cvpr23/challenge",
        licence="none stated",
        sources=(
            Folders(image="<track>/Test/<category>/Images/<stem>.*", label=LabelRule.UNKNOWN),
            Folders(image="<track>/Train/<category>/Images/<stem>.*", phase="train", defect="good"),
        ),
        instructions=(
            "Sign up at https://codalab.lisn.upsaclay.fr/competitions/12499; ROOT holds "
            "vand_0shot/Test/CATEGORY/Images/ (and vand_kshot/)."
        ),
        unique_patterns=("*/Test/*/Images",),
        archive="",
        sha256="",
        bytes=None,
        images=None,
    ),
}
