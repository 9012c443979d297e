"""Downloads of endoscopy: images of the colon with polyps."""

from __future__ import annotations

from dataclasses import replace

from zsad.data.layouts.layout import Layout
from zsad.data.sources import Folders

_POLYPS = Layout(
    title="",
    homepage="https://figshare.com/articles/figure/Polyp_DataSet_zip/21221579",
    licence="research only; cite the paper",
    sources=(
        Folders(image="images/<stem>.*", mask="masks/<stem>.*", category="colon", defect="polyp"),
    ),
    mask_threshold=127,
    group="medical",
    instructions="",
    shared_patterns=("masks",),
)

ENDOSCOPY: dict[str, Layout] = {
    "cvc_colondb": replace(
        _POLYPS,
        title="CVC-ColonDB",
        instructions=(
            "Fetch and unpack the polyp collection; ROOT holds CVC-ColonDB/ with images/ and "
            "masks/."
        ),
        top_folders=("CVC-ColonDB",),
        images=380,
    ),
    "cvc_clinicdb": replace(
        _POLYPS,
        title="CVC-ClinicDB",
        instructions=(
            "Fetch and unpack the polyp collection; ROOT holds CVC-ClinicDB/ with images/ and "
            "masks/."
        ),
        top_folders=("CVC-ClinicDB",),
        images=612,
    ),
    "cvc_clinicdb_original": replace(
        _POLYPS,
        title="CVC-ClinicDB (its authors' files)",
        homepage="https://polyp.grand-challenge.org/CVCClinicDB/",
        sources=(
            Folders(
                image="Original/<stem>.*",
                mask="Ground Truth/<stem>.*",
                category="colon",
                defect="polyp",
            ),
        ),
        instructions=(
            "Fetch it from the page and unpack it; ROOT holds Original/ and Ground Truth/."
        ),
        unique_patterns=("Ground Truth",),
        shared_patterns=(),
        images=612,
    ),
    "kvasir": replace(
        _POLYPS,
        title="Kvasir-SEG",
        homepage="https://datasets.simula.no/kvasir-seg/",
        licence="research and education only",
        instructions=(
            "Fetch kvasir-seg.zip from the page and unpack it; ROOT holds Kvasir-SEG/ with images/ "
            "and masks/."
        ),
        unique_patterns=("kavsir_bboxes.json",),
        top_folders=("Kvasir-SEG", "Kvasir"),
        archive="kvasir-seg.zip",
        images=1000,
    ),
    "endo": replace(
        _POLYPS,
        title="Endo (EndoTect 2020)",
        homepage="https://endotect.com",
        licence="none stated",
        instructions=(
            "Fetch Google Drive file 1LNpLkv5ZlEUzr_RPN5rdOHaqk0SkZa3m and unpack it; ROOT holds "
            "EndoTect_2020_Segmentation_Test_Dataset/ with images/ and masks/."
        ),
        top_folders=("EndoTect_2020_Segmentation_Test_Dataset",),
        images=200,
    ),
}
