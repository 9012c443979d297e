"""Reading and checking an index."""

import json
import os

import pytest

from zsad.data.index import read_index, read_unlabelled
from zsad.data.path_check import PathChecker


def test_samples_come_in_file_order_with_paths_below_the_root(tmp_path, save, save_mask, index_of):
    for name in ("b.png", "a.png"):
        save(tmp_path / "images" / name)
    save_mask(tmp_path / "images/a_mask.png")
    path = index_of(("b.png", "", 0), ("a.png", "a_mask.png", 1))
    normal, anomalous = read_index(path, tmp_path / "images", "test")
    assert (normal.image_path, normal.mask_path, normal.is_anomalous) == (
        tmp_path / "images/b.png",
        None,
        False,
    )
    assert (anomalous.mask_path, anomalous.is_anomalous) == (tmp_path / "images/a_mask.png", True)
    assert (anomalous.category, anomalous.defect) == ("tile", "")


def test_published_files_work_as_they_are(tmp_path, save, index_of):
    """Folders as masks of normal images, the phase ``Test``, absolute paths with ``//``."""
    save(tmp_path / "root/x/good.png")
    save(tmp_path / "root/x/bad.png")
    absolute = f"{tmp_path}/root//x/bad.png"
    path = index_of(("x/good.png", "x", 0), (absolute, None, 1), phase="Test")
    samples = read_index(path, tmp_path / "root", "test")
    assert [sample.image_path for sample in samples] == [
        tmp_path / "root/x/good.png",
        tmp_path / "root/x/bad.png",
    ]
    assert [sample.mask_path for sample in samples] == [None, None]


def test_a_file_without_the_other_phase_is_an_index(tmp_path, save):
    save(tmp_path / "a.png")
    entry = {"img_path": "a.png", "mask_path": "", "anomaly": 0}
    (tmp_path / "meta.json").write_text(json.dumps({"test": {"tile": [entry]}}))
    assert len(read_index(tmp_path / "meta.json", tmp_path, "test")) == 1


def test_several_masks_of_one_image_are_all_kept(tmp_path, save, save_mask, index_of):
    save(tmp_path / "a.png")
    masks = [save_mask(tmp_path / f"masks/{i}.png") for i in range(3)]
    path = index_of(("a.png", ["masks/0.png", "masks/1.png", "masks/2.png"], 1))
    (sample,) = read_index(path, tmp_path, "test")
    assert [sample.mask_path, *sample.more_masks] == masks


def test_a_missing_image_is_named_with_the_command_that_helps(tmp_path, index_of):
    with pytest.raises(
        FileNotFoundError, match=r"1 problem\n.*missing file: gone\.png(.|\n)*zsad verify some"
    ):
        read_index(index_of(("gone.png", "", 0)), tmp_path, "test")


def test_all_problems_are_counted_and_the_first_ten_are_shown(tmp_path, index_of):
    path = index_of(*((f"{i:02d}.png", "", 0) for i in range(23)))
    with pytest.raises(
        FileNotFoundError, match=r"23 problems(.|\n)*09\.png(.|\n)*and 13 more"
    ) as caught:
        read_index(path, tmp_path, "test")
    assert "10.png" not in str(caught.value)


@pytest.mark.parametrize("where", ["img_path", "mask_path"])
@pytest.mark.parametrize(
    "path",
    ["../secret.png", "x/../../secret.png", "{parent}/secret.png", "link/secret.png", "l.png"],
)
def test_no_path_leaves_the_root(tmp_path, save, index_of, where, path):
    save(tmp_path / "secret.png")
    save(tmp_path / "root/x/fine.png")
    (tmp_path / "root/link").symlink_to(tmp_path)
    (tmp_path / "root/l.png").symlink_to(tmp_path / "secret.png")
    outside = path.format(parent=tmp_path)
    triple = (outside, "", 1) if where == "img_path" else ("x/fine.png", outside, 1)
    with pytest.raises(ValueError, match="outside the root"):
        read_index(index_of(triple), tmp_path / "root", "test")


def test_links_within_the_root_are_fine(tmp_path, save, index_of):
    save(tmp_path / "root/store/a.png")
    (tmp_path / "root/a.png").symlink_to(tmp_path / "root/store/a.png")
    assert len(read_index(index_of(("a.png", "", 0)), tmp_path / "root", "test")) == 1


def test_a_root_that_is_a_link_is_followed(tmp_path, save, index_of):
    save(tmp_path / "store/a.png")
    (tmp_path / "root").symlink_to(tmp_path / "store")
    assert len(read_index(index_of(("a.png", "", 0)), tmp_path / "root", "test")) == 1


@pytest.mark.parametrize("again", ["x/a.png", "x/./a.png", "x//a.png", "x/../x/a.png"])
def test_an_image_listed_twice_is_refused_however_it_is_spelled(tmp_path, save, index_of, again):
    save(tmp_path / "x/a.png")
    with pytest.raises(ValueError, match=r"listed twice: x/a\.png"):
        read_index(index_of(("x/a.png", "", 0), (again, "", 0)), tmp_path, "test")


@pytest.mark.parametrize(
    "triple", [(3, "", 0), ("a.png", "", 2), ("a.png", "", ""), ("a.png", 5, 1), ("a.png", [1], 1)]
)
def test_a_malformed_entry_is_refused(tmp_path, save, index_of, triple):
    save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="wrong entry"):
        read_index(index_of(triple), tmp_path, "test")


def test_images_without_a_label_are_neither_tested_nor_lost(tmp_path, save, index_of):
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    index = index_of(("a.png", "", 0), ("b.png", "", None))
    assert [sample.image_path.name for sample in read_index(index, tmp_path, "test")] == ["a.png"]
    assert read_unlabelled(index, tmp_path, "test") == {"tile": [tmp_path / "b.png"]}


def test_a_phase_without_any_label_says_what_can_be_done_with_it(tmp_path, save, index_of):
    save(tmp_path / "b.png")
    with pytest.raises(
        ValueError,
        match=r"labels of phase 'test' are not published.*zsad predict CHECKPOINT FOLDER",
    ):
        read_index(index_of(("b.png", "", None)), tmp_path, "test")


def test_labelled_images_are_not_read_as_unlabelled(tmp_path, save, index_of):
    save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="every image of phase 'test' has a label"):
        read_unlabelled(index_of(("a.png", "", 1)), tmp_path, "test")


def test_a_missing_image_without_a_label_is_told(tmp_path, index_of):
    with pytest.raises(FileNotFoundError, match=r"missing file: gone\.png"):
        read_unlabelled(index_of(("gone.png", "", None)), tmp_path, "test")


@pytest.mark.parametrize("where", ["img_path", "mask_path"])
@pytest.mark.parametrize(
    "path", ["a\0.png", "x\0/a.png", "\ud800.png", "x\udcff/a.png", "\0", "/\0/a.png"]
)
def test_a_name_that_no_file_can_have_is_a_problem_like_others(
    tmp_path, save, index_of, where, path
):
    save(tmp_path / "fine.png")
    triple = (path, "", 1) if where == "img_path" else ("fine.png", path, 1)
    index = index_of(("gone.png", "", 0), triple)
    with pytest.raises(ValueError, match=r"2 problems\n.*missing file: gone\.png") as caught:
        read_index(index, tmp_path, "test")
    shown = path.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
    owner = "image, category tile" if where == "img_path" else "mask of fine.png"
    assert f"{index} does not fit" in str(caught.value)
    assert f"null byte or broken Unicode in the name: {shown} ({owner})" in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", '{"test": []}', '{"test": {"tile": {}}}', "\xff"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "some.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"some\.json"):
        read_index(path, tmp_path, "test")


def test_an_empty_phase_names_the_phases_that_have_images(tmp_path, index_of):
    with pytest.raises(ValueError, match="no images in phase 'train'; it has some in test"):
        read_index(index_of(("a.png", "", 0)), tmp_path, "train")


def test_an_empty_dataset_is_refused(tmp_path, index_of):
    with pytest.raises(ValueError, match="no images at all"):
        read_index(index_of(), tmp_path, "test")


def test_an_unknown_category_gets_the_nearest_name(tmp_path, index_of):
    with pytest.raises(ValueError, match=r"no category tiel\. Known: tile\. Did you mean tile\?"):
        read_index(index_of(("a.png", "", 0)), tmp_path, "test", ["tiel"])


def test_categories_filter(mvtec_tree, tmp_path):
    entries = {
        name: [{"img_path": f"{name}/test/good/000.png", "anomaly": 0}]
        for name in ("tile", "metal_nut")
    }
    (tmp_path / "two.json").write_text(json.dumps({"test": entries}))
    (sample,) = read_index(tmp_path / "two.json", mvtec_tree, "test", ["metal_nut"])
    assert sample.category == "metal_nut"


def test_every_folder_is_listed_once(tmp_path, save, monkeypatch):
    """150,000 images in 200 folders must not cost 150,000 calls of the operating system."""
    save(tmp_path / "x/a.png")
    listed: list[str] = []
    scandir = os.scandir

    def counting(path):
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    checker = PathChecker(tmp_path)
    assert [checker.check(f"x/{name}.png")[1] for name in "aabc"] == [
        "",
        "",
        PathChecker.MISSING,
        PathChecker.MISSING,
    ]
    assert listed == [f"{tmp_path}/", f"{tmp_path}/x"]


def test_a_path_of_thousands_of_folders_is_missing_and_no_crash(tmp_path):
    assert PathChecker(tmp_path).check("a/" * 5000 + "b.png")[1] == PathChecker.MISSING


def test_a_folder_below_a_link_that_leaves_the_root_is_outside(tmp_path, save):
    save(tmp_path / "secret/deep/a.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path / "secret")
    assert PathChecker(tmp_path / "root").check("link/deep/a.png")[1] == PathChecker.OUTSIDE


def test_a_link_to_a_folder_inside_the_root_is_followed(tmp_path, save):
    save(tmp_path / "x/deep/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert PathChecker(tmp_path).check("link/deep/a.png") == ("link/deep/a.png", "")


def test_an_index_written_on_windows_is_read(tmp_path, save, save_mask, index_of):
    save(tmp_path / "root/x/good.png")
    save(tmp_path / "root/x/bad.png")
    save_mask(tmp_path / "root/x/gt/bad.png")
    path = index_of((".\\x\\good.png", "", 0), ("x\\bad.png", "x\\gt\\bad.png", 1))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    normal, anomalous = read_index(path, tmp_path / "root", "test")
    assert normal.image_path == tmp_path / "root/x/good.png"
    assert anomalous.mask_path == tmp_path / "root/x/gt/bad.png"
    with pytest.raises(ValueError, match="outside the root"):
        read_index(index_of(("x\\..\\..\\other.png", "", 0)), tmp_path / "root", "test")
