"""From a download to a checked index."""

import json
import os
import shutil
import string
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from zsad.data.index import read_index
from zsad.data.prepare.dataset_names import check_name
from zsad.data.prepare.write_index import prepare


@pytest.fixture
def run(tmp_path):
    def call(name, root, layout=None, **options):
        return prepare(
            name, root, layout, data_json=tmp_path / "dj", conf=tmp_path / "conf", **options
        )

    return call


def contents(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_index_is_in_the_fields_format(run, mvtec_tree):
    made = run("tiles", mvtec_tree, "mvtec")
    index = json.loads(made.index.read_text())
    assert index["test"]["tile"][0] == {
        "img_path": "tile/test/crack/000.png",
        "mask_path": "tile/ground_truth/crack/000_mask.png",
        "cls_name": "tile",
        "specie_name": "crack",
        "anomaly": 1,
    }
    assert list(index) == ["train", "test"]
    assert index["train"]["metal_nut"][0]["mask_path"] == ""


def test_counts_are_per_phase_and_category(run, visa_tree, mvtec_tree):
    assert run("visa", visa_tree).counts == [
        ("test", "candle", 1, 2, 2),
        ("train", "candle", 1, 0, 0),
    ]
    assert run("tiles", mvtec_tree, "mvtec").counts == [
        (phase, category, 2, 2 * (phase == "test"), 2 * (phase == "test"))
        for phase in ("test", "train")
        for category in ("metal_nut", "tile")
    ]


def test_the_report_is_a_table_of_counts(run, visa_tree, tmp_path):
    assert str(run("visa", visa_tree)).splitlines()[:4] == [
        f"wrote {tmp_path}/dj/visa.json",
        "phase  category  normal  anomalous  with mask",
        "test   candle    1       2          2",
        "train  candle    1       0          0",
    ]


def test_what_it_makes_can_be_read(run, visa_tree):
    samples = read_index(run("visa", visa_tree).index, visa_tree, "test")
    assert [sample.is_anomalous for sample in samples] == [True, True, False]


def test_the_download_is_left_as_it_was(run, mvtec_tree):
    before = contents(mvtec_tree)
    run("tiles", mvtec_tree, "mvtec")
    assert contents(mvtec_tree) == before


def test_preparing_twice_gives_the_same_bytes(run, mvtec_tree):
    first = run("tiles", mvtec_tree, "mvtec").index.read_bytes()
    assert run("tiles", mvtec_tree, "mvtec").index.read_bytes() == first


def test_the_root_is_remembered_and_a_configuration_kept(run, mvtec_tree, tmp_path):
    """Only a missing configuration is written."""
    made = run("tiles", mvtec_tree, "mvtec")
    assert json.loads((tmp_path / "dj/roots.json").read_text()) == {"tiles": str(mvtec_tree)}
    content = yaml.safe_load(made.dataset_yaml.read_text())
    assert content == {"defaults": ["_json", "_self_"], "name": "tiles", "mask_threshold": 127}
    made.dataset_yaml.write_text("mine")
    run("tiles", mvtec_tree, "mvtec")
    assert made.dataset_yaml.read_text() == "mine"


def test_progress_counts_every_image(run, mvtec_tree):
    seen: list[tuple[int, int]] = []
    run("tiles", mvtec_tree, "mvtec", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 12) for i in range(1, 13)]


def test_all_broken_files_are_told_and_no_index_is_written(run, mvtec_tree, save_mask, tmp_path):
    save_mask(mvtec_tree / "tile/ground_truth/crack/000_mask.png", size=(24, 17))
    (mvtec_tree / "tile/test/good/000.png").write_bytes(b"")
    (mvtec_tree / "metal_nut/ground_truth/crack/001_mask.png").unlink()
    with pytest.raises(ValueError, match="no index written for tiles") as caught:
        run("tiles", mvtec_tree, "mvtec")
    text = str(caught.value)
    assert "1 x sizes differ, 1 x unreadable, 1 x no mask" in text
    assert "000_mask.png is 24 x 17, but its image tile/test/crack/000.png is 24 x 16" in text
    assert "unreadable: tile/test/good/000.png" in text
    assert "no mask: metal_nut/test/crack/001.png" in text
    assert not (tmp_path / "dj").exists()


def test_missing_masks_can_be_accepted(run, mvtec_tree):
    (mvtec_tree / "tile/ground_truth/crack/001_mask.png").unlink()
    made = run("tiles", mvtec_tree, "mvtec", allow_missing_masks=True)
    assert ("test", "tile", 2, 2, 1) in made.counts


def test_a_download_without_any_masks_is_fine(run, tmp_path, save):
    save(tmp_path / "raw/brain/test/good/0.png")
    save(tmp_path / "raw/brain/test/bad/0.png")
    assert run("brain", tmp_path / "raw", "mvtec").counts == [("test", "brain", 1, 1, 0)]


@pytest.fixture
def unsuffixed_tree(tmp_path, save, save_mask):
    """The layout of MVTec AD, but masks that are named as their images."""
    root = tmp_path / "raw"
    save(root / "tile/test/good/000.png")
    for i in range(2):
        save(root / f"tile/test/bad/{i:03d}.png")
        save_mask(root / f"tile/ground_truth/bad/{i:03d}.png")
    return root


def test_masks_of_another_name_are_not_taken_for_none(run, unsuffixed_tree, tmp_path):
    with pytest.raises(
        ValueError, match=r"none named <stem>_mask after its image; try --mask-suffix ''"
    ) as caught:
        run("tiles", unsuffixed_tree, "mvtec")
    assert "ground_truth/<defect> holds 2 files such as tile/ground_truth/bad/000.png" in str(
        caught.value
    )
    assert not (tmp_path / "dj").exists()
    assert run("tiles", unsuffixed_tree, "mvtec", mask_suffix="").counts == [
        ("test", "tile", 1, 2, 2)
    ]


def test_masks_with_an_unexpected_suffix_are_told(run, mvtec_tree):
    """They are not taken for missing masks."""
    with pytest.raises(
        ValueError, match=r"none named <stem> after its image; try --mask-suffix _mask"
    ):
        run("tiles", mvtec_tree, "mvtec", mask_suffix="")


def test_masks_of_another_name_can_be_left_out(run, unsuffixed_tree):
    made = run("tiles", unsuffixed_tree, "mvtec", allow_missing_masks=True)
    assert made.counts == [("test", "tile", 1, 2, 0)]


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems have no file names outside of Unicode"
)
def test_a_file_whose_name_is_not_unicode_is_told(run, mvtec_tree, save):
    save(mvtec_tree / os.fsdecode(b"tile/test/good/\xff.png"))
    with pytest.raises(
        ValueError, match=r"broken Unicode in the name: tile/test/good/\\udcff\.png"
    ):
        run("tiles", mvtec_tree, "mvtec")


@pytest.mark.parametrize("name", ["on", "0x1F", "yes", "3d", "2024-10", "plain"])
def test_a_name_stays_text_in_the_configuration(run, mvtec_tree, name):
    assert OmegaConf.load(run(name, mvtec_tree, "mvtec").dataset_yaml).name == name


def test_a_file_of_the_table_that_is_missing_is_told(run, visa_tree):
    (visa_tree / "candle/Data/Images/Normal/0000.JPG").unlink()
    with pytest.raises(ValueError, match=r"missing file: candle/Data/Images/Normal/0000\.JPG"):
        run("visa", visa_tree)


@pytest.mark.parametrize("path", ["../secret.png", "candle/../../secret.png", "/secret.png"])
def test_a_table_cannot_name_files_outside_the_root(run, visa_tree, save, path):
    save(visa_tree.parent / "secret.png")
    table = visa_tree / "split_csv/1cls.csv"
    table.write_text(table.read_text() + f"candle,test,normal,{path},\n")
    with pytest.raises(ValueError, match=r"outside the root|missing file"):
        run("visa", visa_tree)


def test_a_table_cannot_give_one_mask_or_image_to_two_rows(run, visa_tree):
    table = visa_tree / "split_csv/1cls.csv"
    image, mask = "candle/Data/Images/Normal/0000.JPG", "candle/Data/Masks/Anomaly/000.png"
    table.write_text(table.read_text() + f"candle,test,anomaly,{image},{mask}\n")
    with pytest.raises(ValueError, match="1 x listed twice, 1 x mask of two images"):
        run("visa", visa_tree)


def test_a_link_that_leaves_the_root_is_refused(run, mvtec_tree, save):
    (mvtec_tree / "tile/test/good/777.png").symlink_to(save(mvtec_tree.parent / "secret.png"))
    with pytest.raises(ValueError, match=r"outside the root: tile/test/good/777\.png"):
        run("tiles", mvtec_tree, "mvtec")


def test_a_missing_root_and_an_empty_one_are_told_apart(run, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no folder .*gone: unpack the download and run zsad prepare visa"
    ):
        run("visa", tmp_path / "gone")
    (tmp_path / "empty/tile/test/good").mkdir(parents=True)
    with pytest.raises(ValueError, match="no image in them; is the download complete"):
        run("mine", tmp_path / "empty", "mvtec")


@pytest.mark.parametrize(
    "name",
    [
        *("roots", "../x", "a/b", "", "-x", "x.png", "größe", "a" * 101),
        *("2025", "01", "1e3", "1_0", "NULL", "True", "nan", "inf", "mean"),
    ],
)
def test_a_name_must_be_a_file_name(run, mvtec_tree, name):
    with pytest.raises(ValueError, match="cannot name a dataset"):
        run(name, mvtec_tree, "mvtec")


STEMS = st.text(string.ascii_letters + string.digits + " ()_-.é", min_size=1, max_size=6).filter(
    lambda stem: not stem.startswith(".") and stem.strip(". ") == stem
)


@settings(max_examples=30, deadline=None)
@given(
    images=st.lists(
        st.tuples(
            st.sampled_from(["good", "crack", "hole"]),
            STEMS,
            st.sampled_from([".png", ".PNG", ".bmp"]),
        ),
        unique_by=lambda image: (image[0], image[1]),
        min_size=1,
        max_size=8,
    ),
    strays=st.lists(st.tuples(st.sampled_from(["crack", "hole"]), STEMS), max_size=4),
)
def test_an_index_never_repeats_an_image_or_swaps_a_mask(images, strays):
    """Whatever the names, and it never leaves its root.

    The mask of DEFECT/STEM is ground_truth/DEFECT/STEM_mask, and nothing else.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "raw")
        (root / "tile/test/good").mkdir(parents=True)
        for defect, stem, suffix in images:
            _tiny(root / "tile/test" / defect / f"{stem}{suffix}")
        masked = {(defect, stem) for defect, stem, _ in images if defect != "good"} | set(strays)
        for defect, stem in masked:
            _tiny(root / "tile/ground_truth" / defect / f"{stem}_mask.png")
        made = prepare(
            "tiles", root, "mvtec", data_json=Path(folder, "dj"), conf=Path(folder, "conf")
        )
        entries = json.loads(made.index.read_text())["test"]["tile"]
    expected = {
        f"tile/test/{defect}/{stem}{suffix}": ""
        if defect == "good"
        else f"tile/ground_truth/{defect}/{stem}_mask.png"
        for defect, stem, suffix in images
    }
    assert len(entries) == len(expected)
    assert {entry["img_path"]: entry["mask_path"] for entry in entries} == expected


def _tiny(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2)).save(path)


@pytest.fixture
def half_broken_tree(mvtec_tree, save_mask):
    """One image without content, one cut short, one mask of another size."""
    (mvtec_tree / "tile/test/good/000.png").write_bytes(b"")
    cut = mvtec_tree / "tile/train/good/001.png"
    cut.write_bytes(cut.read_bytes()[:300])
    save_mask(mvtec_tree / "metal_nut/ground_truth/crack/001_mask.png", size=(24, 17))
    return mvtec_tree


def test_bad_images_can_be_skipped_and_are_written_down(run, half_broken_tree, tmp_path):
    made = run("tiles", half_broken_tree, "mvtec", skip_bad_images=True)
    listed = (tmp_path / "dj/tiles.skipped.txt").read_text().splitlines()
    assert [line.partition(" (")[0] for line in listed] == [
        "sizes differ: metal_nut/ground_truth/crack/001_mask.png",
        "unreadable: tile/test/good/000.png",
        "unreadable: tile/train/good/001.png",
    ]
    assert f"3 of the images skipped; which and why: {tmp_path}/dj/tiles.skipped.txt" in made.notes
    index = json.loads(made.index.read_text())
    images = {
        entry["img_path"]
        for part in index.values()
        for entries in part.values()
        for entry in entries
    }
    assert len(images) == 12 - 3
    assert not images & {
        "metal_nut/test/crack/001.png",
        "tile/test/good/000.png",
        "tile/train/good/001.png",
    }


def test_what_is_skipped_needs_no_mask(run, half_broken_tree):
    image = half_broken_tree / "metal_nut/test/crack/000.png"
    image.write_bytes(b"")
    (half_broken_tree / "metal_nut/ground_truth/crack/000_mask.png").unlink()
    assert ("test", "metal_nut", 2, 0, 0) in run(
        "tiles", half_broken_tree, "mvtec", skip_bad_images=True
    ).counts
    with pytest.raises(ValueError, match="1 x no mask"):
        run("tiles", half_broken_tree, "mvtec")


def test_images_without_a_decidable_label_can_be_skipped(run, save, save_mask, tmp_path):
    """KolektorSDD2 says by the pixels of a mask whether an image is defective."""
    root = tmp_path / "raw"
    for number in range(5):
        save(root / f"test/2000{number}.png")
        save_mask(root / f"test/2000{number}_GT.png", value=255 * (number % 2))
    (root / "test/20001_GT.png").write_bytes(b"no image")
    (root / "test/20002_GT.png").unlink()
    (root / "test/20003.png").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"2 x label unknown, 1 x unreadable(.|\n)*20002\.png \(its mask is missing\)",
    ):
        run("ksdd2", root)
    made = run("ksdd2", root, skip_bad_images=True)
    assert made.counts == [("test", "surface", 2, 0, 0)]


def test_the_list_of_an_earlier_call_does_not_stay(
    run, half_broken_tree, mvtec_tree, save, save_mask, tmp_path
):
    run("tiles", half_broken_tree, "mvtec", skip_bad_images=True)
    for name in ("test/good/000.png", "train/good/001.png"):
        save(mvtec_tree / "tile" / name)
    save_mask(mvtec_tree / "metal_nut/ground_truth/crack/001_mask.png")
    run("tiles", mvtec_tree, "mvtec", skip_bad_images=True)
    assert not (tmp_path / "dj/tiles.skipped.txt").exists()


def test_where_every_image_is_bad_there_is_nothing_to_skip_to(run, mvtec_tree):
    for image in mvtec_tree.rglob("*.png"):
        image.write_bytes(b"")
    with pytest.raises(ValueError, match="no index written"):
        run("tiles", mvtec_tree, "mvtec", skip_bad_images=True)


def test_every_unreadable_image_is_reported_however_many(run, mvtec_tree, tmp_path):
    """The message counts all and shows ten; the file beside the index has the rest."""
    names = sorted(path.relative_to(mvtec_tree).as_posix() for path in mvtec_tree.rglob("*.png"))
    for name in names:
        (mvtec_tree / name).write_bytes(b"no image")
    with pytest.raises(
        ValueError,
        match=rf"16 x unreadable(.|\n)*… and 6 more, all in {tmp_path}/dj/tiles\.problems\.txt",
    ):
        run("tiles", mvtec_tree, "mvtec")
    listed = (tmp_path / "dj/tiles.problems.txt").read_text().splitlines()
    assert sorted(line.removeprefix("unreadable: ").partition(" (")[0] for line in listed) == names
    assert not (tmp_path / "dj/tiles.json").exists()


def test_masks_that_would_read_as_empty_are_remarked_on(run, mvtec_tree, save_mask):
    for mask in mvtec_tree.rglob("*_mask.png"):
        save_mask(mask, value=1)
    remark = (
        "the largest value is 1, but defects lie above 127; prepare again with --mask-threshold 0"
    )
    assert remark in " ".join(run("tiles", mvtec_tree, "mvtec").notes)
    made = run("ones", mvtec_tree, "mvtec", mask_threshold=0)
    assert "read as empty" not in " ".join(made.notes)
    assert OmegaConf.load(made.dataset_yaml).mask_threshold == 0


def test_another_threshold_goes_into_an_untouched_configuration(run, mvtec_tree):
    run("tiles", mvtec_tree, "mvtec")
    made = run("tiles", mvtec_tree, "mvtec", mask_threshold=0)
    assert OmegaConf.load(made.dataset_yaml).mask_threshold == 0
    again = run("tiles", mvtec_tree, "mvtec")  # without a wish it stays
    assert OmegaConf.load(again.dataset_yaml).mask_threshold == 0


def test_a_contradicting_kept_configuration_is_remarked_on(run, mvtec_tree):
    yaml = run("tiles", mvtec_tree, "mvtec").dataset_yaml
    yaml.write_text(f"# mine\n{yaml.read_text()}")
    remark = "is there and was kept: the mask_threshold in it counts, not 100; change it there"
    assert remark in " ".join(run("tiles", mvtec_tree, "mvtec", mask_threshold=100).notes)
    assert remark not in " ".join(run("tiles", mvtec_tree, "mvtec", mask_threshold=127).notes)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True))
def test_the_command_line_can_say_every_accepted_name(name):
    try:
        check_name(name, "mvtec")
    except ValueError:
        return
    override = OverridesParser.create().parse_override(f"dataset={name}")
    assert override.value() == name


def test_a_taken_name_is_refused_for_another_folder(run, mvtec_tree, tmp_path):
    made = run("tiles", mvtec_tree, "mvtec", mask_threshold=9)
    before = contents(tmp_path / "dj"), made.dataset_yaml.read_bytes()
    other = shutil.copytree(mvtec_tree, tmp_path / "other")
    with pytest.raises(ValueError, match=r"tiles is taken by the images in .*mvtec.*--overwrite"):
        run("tiles", other, "mvtec")
    assert (contents(tmp_path / "dj"), made.dataset_yaml.read_bytes()) == before
    run("tiles", mvtec_tree, "mvtec")
    again = run("tiles", other, "mvtec", overwrite=True)
    assert OmegaConf.load(again.dataset_yaml).mask_threshold == 127
    assert json.loads((tmp_path / "dj/roots.json").read_text()) == {"tiles": str(other)}
    shutil.rmtree(other)
    run("tiles", mvtec_tree, "mvtec")  # the images have moved


@pytest.mark.parametrize("name", ["btad", "synthetic_a"])
def test_own_images_cannot_take_a_known_name(run, save, tmp_path, name):
    save(tmp_path / "own/good/0.png")
    with pytest.raises(ValueError, match="the name of a known dataset"):
        run(name, tmp_path / "own", "folder", overwrite=True)


def test_categories_that_would_become_one_are_refused(run, save, tmp_path):
    for folder in ("a/b/good", "a_b/good"):
        save(tmp_path / "own" / folder / "0.png")
    with pytest.raises(ValueError, match="a/b and a_b would both be the category a_b"):
        run("parts", tmp_path / "own", "folder")


@pytest.mark.parametrize("is_first", [True, False])
def test_all_is_written_or_nothing(run, mvtec_tree, tmp_path, monkeypatch, is_first):
    if not is_first:
        run("tiles", mvtec_tree, "mvtec")
    before = contents(tmp_path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("zsad.data.prepare.write_index.save_root", fail)
    with pytest.raises(OSError, match="disk full"):
        run("tiles", mvtec_tree, "mvtec", mask_threshold=3)
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
    assert not [path for path in after.keys() - before.keys() if path.endswith((".json", ".yaml"))]
