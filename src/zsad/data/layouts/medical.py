"""Downloads of medical imaging; polyps are in ``endoscopy.py``."""

from __future__ import annotations

from zsad.data.layouts.endoscopy import ENDOSCOPY
from zsad.data.layouts.layout import Layout
from zsad.data.sources import Folders, NumberedTable

_UNUSED = 127  # a mask threshold where there are no masks

_KAGGLE = "https://www.kaggle.com/datasets"
_BMAD_CATEGORY = "<category:[^/]+?><ad:_AD|>"
_BMAD_FOLDERS = f"{_BMAD_CATEGORY}/<phase:train|valid|test>/<defect:good|Ungood>"

_TUMOR_FOLDERS = Folders(
    image="<defect:yes|no>/<stem>.*", category="brain", normal=("no",), defects={"yes": "tumor"}
)

MEDICAL: dict[str, Layout] = {
    "headct": Layout(
        title="HeadCT",
        homepage=f"{_KAGGLE}/felipekitamura/head-ct-hemorrhage",
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
        homepage=f"{_KAGGLE}/navoneel/brain-mri-images-for-brain-tumor-detection",
        licence="not confirmed",
        sources=(_TUMOR_FOLDERS,),
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
        homepage=f"{_KAGGLE}/ahmedhamada0/brain-tumor-detection",
        licence="not confirmed",
        sources=(_TUMOR_FOLDERS,),
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
        homepage=f"{_KAGGLE}/tawsifurrahman/covid19-radiography-database",
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
        homepage=f"{_KAGGLE}/tawsifurrahman/covid19-radiography-database",
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
    **ENDOSCOPY,
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
                image=f"{_BMAD_FOLDERS}/img/<stem>.*",
                mask=f"{_BMAD_CATEGORY}/<phase>/<defect>/<folder:anomaly_mask|label>/<stem>.*",
                phases={"valid": "val"},
            ),
            Folders(image=f"{_BMAD_FOLDERS}/<stem>.*", phases={"valid": "val"}),
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
