"""Every public download becomes the index that its maker expects, traps and all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.fabricated import GOLDEN, Download, downloads, index_facts
from zsad.data.layouts import LAYOUTS
from zsad.data.prepare.write_index import prepare
from zsad.data.sources import Folders, LabelRule, Record, Tree

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
MAKER = SHARED / "make_layouts.py"
EVERY = pytest.mark.parametrize("case", downloads(), ids=str)
READ_FROM_NAMES = [
    case
    for case in downloads()
    if all(
        isinstance(s, Folders) and s.label in (LabelRule.FOLDER, LabelRule.UNKNOWN)
        for s in LAYOUTS[case.layout].sources
    )
]


def read(layout: str, root: Path) -> list[tuple]:
    """(image, masks, category, phase, label, defect) of every sample, sorted."""
    row = LAYOUTS[layout]
    label = {True: 1, False: 0, None: None}
    records = row.records(row.scan(root))
    return sorted(
        (r.image, r.masks, r.category, r.phase, label[r.is_anomalous], r.defect) for r in records
    )


@EVERY
def test_the_index_of_a_download_says_what_is_in_it(case: Download, tmp_path):
    root = case.write(tmp_path / "raw")
    before = sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))
    made = prepare(case.layout, root, data_json=tmp_path / "dj", conf=tmp_path / "conf")
    assert index_facts(made.index) == case.facts
    assert sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*")) == before


@EVERY
def test_a_download_is_recognised_as_itself_alone(case: Download, tmp_path):
    """Not by the rows with the most common folders either.

    VisA's splits are tables of the same files.
    """
    root = case.write(tmp_path / "raw")
    same = ["visa", "visa_2cls_fewshot", "visa_2cls_highshot"]
    names = " or ".join(same) if case.layout in same else case.layout
    for other in {"mvtec", "visa_challenge", "cvc_colondb", "vad", "brainmri"} - {case.layout}:
        with pytest.raises(ValueError, match=f"; it looks like {names}$"):
            LAYOUTS[other].scan(root)


@EVERY
def test_a_download_without_its_top_folder_is_the_same(case: Download, tmp_path):
    root = case.write(tmp_path / "raw")
    base = LAYOUTS[case.layout].scan(root).base
    assert [(image.removeprefix(base), *rest[1:]) for image, *rest in case.facts] == [
        (image, *rest[1:]) for image, *rest in read(case.layout, root / base)
    ]


def test_every_row_is_tried():
    """Those that no fabricated download covers have tests of their own in ``test_layouts``."""
    others = {"crackforest", "ksdd_strips", "real_iad_256", "real_iad_512", "real_iad_raw"}
    splits = {"visa_2cls_fewshot", "visa_2cls_highshot"}
    assert {case.layout for case in downloads()} | others | splits == set(LAYOUTS)


@pytest.mark.skipif(not MAKER.exists(), reason="needs ../shared/data/make_layouts.py")
@pytest.mark.parametrize("seed", [0, 1])
def test_trees_fresh_from_their_maker_are_read_as_it_says(tmp_path, seed):
    """All of them, with real pixels; the stored lists are lists of these."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(MAKER), str(tmp_path), "--seed", str(seed)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    for folder in sorted(tmp_path.iterdir()):
        golden = json.loads((GOLDEN / f"{folder.name}.json").read_text())
        case = Download(
            folder.name, golden["layout"], next(t for t in golden["trees"] if seed in t["seeds"])
        )
        expected = [
            (
                entry["path"],
                tuple(mask for mask in (entry["mask_path"], *entry.get("more_masks", ())) if mask),
                entry["class"],
                entry["split"] or "test",
                entry["label"],
                entry["defect_type"] or "",
            )
            for entry in json.loads((folder / "expected.json").read_text())
        ]
        assert read(case.layout, folder / "raw") == sorted(expected) == case.facts
        suffixes = {".png", ".jpg", ".jpeg", ".bmp", ".tif"}
        raw = folder / "raw"
        there = {
            path.relative_to(raw).as_posix()
            for path in raw.rglob("*")
            if path.suffix.lower() in suffixes
        }
        assert there == set(case.images)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_missing_and_stray_files_shift_no_image_and_no_mask(data):
    """Files are removed, or copied beside themselves or into another folder.

    The samples that are still found are as before, or a stray alone.
    """
    case = data.draw(st.sampled_from(READ_FROM_NAMES))
    there = case.images
    gone = data.draw(st.sets(st.sampled_from(there)))
    copied = data.draw(st.lists(st.sampled_from(there), max_size=4))
    kept = set(there) - gone
    strays = {data.draw(st.sampled_from([_beside, _deeper, _twin]))(path) for path in copied} - set(
        there
    )
    row = LAYOUTS[case.layout]
    base = _base(case)
    files = sorted(file.removeprefix(base) for file in kept | strays if file.startswith(base))
    records = list(row.records(Tree(Path("/nowhere"), base, tuple(files))))
    truth = {image: set(masks) for image, masks, *_ in case.facts}
    _require_consistent(records, kept | strays)
    assert {record.image for record in records} & truth.keys() == kept & truth.keys()
    for record in records:
        if record.image in truth:
            assert set(record.masks) <= truth[record.image]
        else:
            assert record.image in strays
            assert all(mask in strays for mask in record.masks)


def _require_consistent(records: list[Record], files: set[str]) -> None:
    images = [record.image for record in records]
    masks = [mask for record in records for mask in record.masks]
    assert len(images) == len(set(images))
    assert len(masks) == len(set(masks))
    assert not set(images) & set(masks)
    assert {*images, *masks} <= files


def _beside(path: str) -> str:
    stem, _, suffix = path.rpartition(".")
    return f"{stem} (copy).{suffix}"


def _deeper(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/copies/{name}"


def _twin(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/_{name}"


def _base(case: Download) -> str:
    """Return the top folder that all samples share, cut to where the row's templates begin."""
    tops = {image.split("/")[0] for image, *_ in case.facts}
    depths = {"tn3k": 2, "vad": 2, "visa_1cls": 2}
    depth = depths.get(case.layout, 1 if len(tops) == 1 else 0)
    image = case.facts[0][0]
    return "/".join(image.split("/")[:depth]) + "/" if depth else ""


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("layout", "folder", "normal", "anomalous", "masked"),
    [
        ("mtd", "mtd", 952, 392, 1344),
        ("brainmri", "brain_mri", 98, 155, 0),
        ("crackforest", "crackforest", 0, 118, 118),
        ("kvasir", "kvasir_seg_sample", 0, 5, 5),
    ],
)
def test_real_downloads_have_the_counts_that_are_published(
    layout, folder, normal, anomalous, masked
):
    found = read(layout, SHARED / folder)
    labels = [label for *_, label, _ in found]
    assert (labels.count(0), labels.count(1), sum(len(masks) for _, masks, *_ in found)) == (
        normal,
        anomalous,
        masked,
    )
