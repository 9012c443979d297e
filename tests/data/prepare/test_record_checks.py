"""What is wrong with the samples of a download."""

from pathlib import Path

import pytest

from zsad.data.path_check import PathChecker
from zsad.data.prepare import record_checks
from zsad.data.prepare.record_checks import (
    check_files,
    choose_threshold,
    file_problems,
    inconsistencies,
)
from zsad.data.sources import Record


def record(image: str, *masks: str, category: str = "nut") -> Record:
    return Record("test", category, image, masks, "hole" if masks else "good", bool(masks))


def test_many_threads_find_what_one_loop_finds_in_the_same_order(
    tmp_path, save, save_mask, monkeypatch
):
    monkeypatch.setattr(record_checks, "CHUNK", 3)
    records = []
    for i in range(20):
        save(tmp_path / f"{i}.png")
        save_mask(tmp_path / f"{i}_mask.png", size=(24, 16 + (i % 4 == 1)))
        records.append(record(f"{i}.png", f"{i}_mask.png"))
    for i in (2, 11):
        (tmp_path / f"{i}.png").write_bytes(b"no image")
    (tmp_path / "7.png").unlink()
    checker, moves = PathChecker(tmp_path), []
    found = file_problems(records, tmp_path, lambda done, total: moves.append((done, total)))
    assert found == [list(check_files(each, checker)) for each in records]
    assert [i for i, problems in enumerate(found) if problems] == [1, 2, 5, 7, 9, 11, 13, 17]
    assert moves == [(i, 20) for i in range(1, 21)]


def test_an_image_that_is_also_a_mask_is_told():
    problems = list(
        inconsistencies(
            [record("a.png", "b.png"), record("b.png"), record("c.png", "b.png"), record("c.png")]
        )
    )
    assert {(problem.kind, problem.path) for problem in problems} == {
        ("listed twice", "c.png"),
        ("mask of two images", "b.png"),
        ("both image and mask", "b.png"),
    }


@pytest.mark.parametrize(
    ("value", "threshold", "is_said"),
    [(1, 127, True), (1, 0, False), (255, 127, False), (0, 127, False)],
)
def test_a_threshold_above_all_values_is_said(tmp_path: Path, save_mask, value, threshold, is_said):
    save_mask(tmp_path / "m.png", value=value)
    records = [record("a.png", "m.png")]
    kept, remarks = choose_threshold(records, tmp_path, threshold, is_fixed=True)
    assert kept == threshold
    assert any("read as empty" in remark for remark in remarks) is is_said


def test_a_damaged_mask_has_a_remark_of_its_own(tmp_path: Path, save_mask):
    for name in ("m.png", "n.png"):
        save_mask(tmp_path / name, value=1)
    damaged = bytearray((tmp_path / "m.png").read_bytes())
    damaged[damaged.index(b"IDAT") + 5] ^= 0xFF  # first and last bytes stay sound
    (tmp_path / "m.png").write_bytes(damaged)
    records = [record("a.png", "m.png"), record("b.png", "n.png")]
    _, (first, second) = choose_threshold(records, tmp_path, 127, is_fixed=True)
    assert f"cannot read {tmp_path / 'm.png'}" in first
    assert "the largest value is 1" in second
