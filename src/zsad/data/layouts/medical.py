"""Downloads of medical imaging."""

from __future__ import annotations

from dataclasses import replace

from zsad.data.layouts.layout import Layout
from zsad.data.sources import Folders, NumberedTable

_UNUSED = 127  # a mask threshold where there are no masks

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

MEDICAL: dict[str, Layout] = {
    "headct": Layout(
        title="HeadCT",
        homepage="https://www.kaggle.com/datasets/felipekitamura/head-ct-hemorrhage",
        licence="not confirmed",
        sources=(
            NumberedTable(
                table="labels.csv",
                number="id",
                label="hemorrhage",
                image=r"head_ct/head_ct/<number:\d+>.png",
                category="brain",
                defect="hemorrhage",
            ),
        ),
        mask_threshold=_UNUSED,
        group="medical",
        instructions=(
            "Fetch and unpack the Kaggle set; ROOT holds labels.csv and head_ct/head_ct/000.png, "
            "..."
        ),
        unique_patterns=("head_ct/head_ct",),
        images=200,
    ),
    "brainmri": Layout(
        title="BrainMRI",
        homepage="https://www.kaggle.com/datasets/navoneel/brain-mri-images-for-brain-tumor-detection",
        licence="not confirmed",
        sources=(
            Folders(
                image="<defect:yes|no>/<stem>.*",
                category="brain",
                normal=("no",),
                defects={"yes": "tumor"},
            ),
        ),
        mask_threshold=_UNUSED,
        group="medical",
        instructions=(
            "Fetch and unpack the Kaggle set; ROOT holds yes/ and no/, or brain_tumor_dataset/ "
            "with a second copy of them, which is then read instead."
        ),
        shared_patterns=("yes/Y*", "no/* no.jpeg"),
        top_folders=("brain_tumor_dataset",),
        images=253,
    ),
    "br35h": Layout(
        title="Br35H",
        homepage="https://www.kaggle.com/datasets/ahmedhamada0/brain-tumor-detection",
        licence="not confirmed",
        sources=(
            Folders(
                image="<defect:yes|no>/<stem>.*",
                category="brain",
                normal=("no",),
                defects={"yes": "tumor"},
            ),
        ),
        mask_threshold=_UNUSED,
        group="medical",
        instructions=(
            "Fetch and unpack the Kaggle set; ROOT holds yes/ and no/ (pred/ and Br35H-Mask-RCNN/ "
            "are not read)."
        ),
        unique_patterns=("yes/y*", "no/no[0-9]*.*"),
        images=3000,
    ),
    "covid19_v1": Layout(
        title="COVID-19 Radiography, first version",
        homepage="https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",
        licence="differs by source: see its README",
        sources=(
            Folders(
                image="<defect:COVID-19|NORMAL>/<stem>.*", category="chest", normal=("NORMAL",)
            ),
        ),
        mask_threshold=_UNUSED,
        group="medical",
        instructions=(
            "The first version, which published zero-shot numbers use and Kaggle keeps as a "
            "version; ROOT holds COVID-19/ and NORMAL/ (Viral Pneumonia/ is not read)."
        ),
        unique_patterns=("COVID-19/*.*", "NORMAL/NORMAL*.*"),
        images=1560,
    ),
    "covid19": Layout(
        title="COVID-19 Radiography, today's version",
        homepage="https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",
        licence="differs by source: see its README",
        sources=(
            Folders(
                image="<defect:COVID|Lung_Opacity|Normal|Viral Pneumonia>/images/<stem>.*",
                category="chest",
                normal=("Normal",),
            ),
        ),
        mask_threshold=_UNUSED,  # its masks are lung fields, not lesions, and are not read
        group="medical",
        instructions=(
            "Fetch and unpack the Kaggle set; ROOT holds COVID/, Lung_Opacity/, Normal/ and Viral "
            "Pneumonia/ with images/ in each. Published zero-shot numbers are those of covid19_v1."
        ),
        unique_patterns=("COVID/images", "Lung_Opacity/images", "Normal/images"),
        images=21165,
    ),
    "isic2016": Layout(
        title="ISIC 2016, task 1",
        homepage="https://challenge.isic-archive.com/data/#2016",
        licence="CC0",
        sources=(
            Folders(
                image="ISBI2016_ISIC_Part1_<phase:Training|Test>_Data/<stem>.jpg",
                mask="ISBI2016_ISIC_Part1_<phase>_GroundTruth/<stem>_Segmentation.png",
                phases={"Training": "train"},
                category="skin",
                defect="lesion",
            ),
        ),
        mask_threshold=127,
        group="medical",
        instructions=(
            "Fetch and unpack ISBI2016_ISIC_Part1_{Training,Test}_{Data,GroundTruth}.zip; ROOT "
            "holds the four folders."
        ),
        unique_patterns=("ISBI2016_ISIC_Part1_Test_Data", "ISBI2016_ISIC_Part1_Training_Data"),
        images=1279,
    ),
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
    "tn3k": Layout(
        title="TN3K",
        homepage="https://github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation",
        licence="research only",
        sources=(
            Folders(
                image="<phase:trainval|test>-image/<stem>.*",
                mask="<phase>-mask/<stem>.*",
                phases={"trainval": "train"},
                category="thyroid",
                defect="nodule",
            ),
        ),
        mask_threshold=127,
        group="medical",
        instructions=(
            "Follow the link of the page and unpack the archive; ROOT holds Thyroid Dataset/tn3k/ "
            "with test-image/, test-mask/, trainval-image/ and trainval-mask/."
        ),
        unique_patterns=("test-image", "trainval-image"),
        images=3493,
    ),
    "bmad": Layout(
        title="BMAD",
        homepage="https://github.com/DorisBao/BMAD",
        licence="each of its sources has its own terms",
        sources=(
            Folders(
                image="<category:[^/]+?><ad:_AD|>/<phase:train|valid|test>/<defect:good|Ungood>/img/<stem>.*",
                mask="<category:[^/]+?><ad:_AD|>/<phase>/<defect>/<folder:anomaly_mask|label>/<stem>.*",
                phases={"valid": "val"},
            ),
            Folders(
                image="<category:[^/]+?><ad:_AD|>/<phase:train|valid|test>/<defect:good|Ungood>/<stem>.*",
                phases={"valid": "val"},
            ),
        ),
        mask_threshold=25,  # its authors cut at 0.1 of 255
        group="medical",
        instructions=(
            "Fetch and unpack the folder that the page links to; ROOT holds Brain/, liver/, RESC/, "
            "camelyon16/, OCT2017/ and RSNA/, or some of them."
        ),
        unique_patterns=("*/test/Ungood", "*/valid/Ungood"),
        categories=("Brain", "liver", "RESC", "camelyon16", "OCT2017", "RSNA"),
    ),
}
