"""Reference images of few-shot methods: drawn fairly, never tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsad.data.few_shot import draw_references, normal_samples
from zsad.types import Sample


def samples(category: str, count: int, *, anomalous: int = 0, phase: str = "test") -> list[Sample]:
    labels = [False] * count + [True] * anomalous
    return [
        Sample(Path(phase, category, str(i)), None, category, "", label)
        for i, label in enumerate(labels)
    ]


TESTED = [*samples("nut", 6, anomalous=3), *samples("cork", 5, anomalous=2)]
KEPT = samples("nut", 8, phase="train")


@given(shots=st.integers(1, 5), seed=st.integers(0, 2**31 - 1))
def test_every_category_gets_its_number_of_normal_images(shots: int, seed: int) -> None:
    drawn = draw_references(TESTED, KEPT, shots, seed).samples
    assert list(drawn) == ["nut", "cork"]
    for category, shown in drawn.items():
        assert len({sample.image_path for sample in shown}) == shots
        assert all(sample.category == category and not sample.is_anomalous for sample in shown)


@given(shots=st.integers(1, 5), seed=st.integers(0, 1000))
def test_what_is_shown_is_not_tested_and_everything_else_is(shots: int, seed: int) -> None:
    references = draw_references(TESTED, KEPT, shots, seed)
    left = references.exclude_from(TESTED)
    shown = [sample for drawn in references.samples.values() for sample in drawn]
    assert not {sample.image_path for sample in left} & {sample.image_path for sample in shown}
    assert [sample for sample in TESTED if sample in left or sample in shown] == TESTED
    assert len(left) == len(TESTED) - shots  # those of cork; nuts are kept apart
    assert all(sample.image_path.parts[0] == "train" for sample in references.samples["nut"])


def test_a_smaller_number_takes_the_first_of_a_larger_one() -> None:
    one, four = (draw_references(TESTED, KEPT, shots, 111).samples for shots in (1, 4))
    assert all(one[category] == four[category][:1] for category in one)


def test_the_draw_does_not_depend_on_other_categories() -> None:
    pool = samples("nut", 50)
    draws = [draw_references(pool, [], 4, seed).samples["nut"] for seed in range(4)]
    assert draws[0] == draw_references([*samples("cork", 9), *pool], [], 4, 0).samples["nut"]
    assert any(draw != draws[0] for draw in draws)


def test_reserved_images_that_are_tested_leave_the_test() -> None:
    references = draw_references(TESTED, TESTED[:6], 2, 0)
    assert len(references.exclude_from(TESTED)) == len(TESTED) - 4


def test_too_few_normal_images_are_refused_with_both_numbers() -> None:
    with pytest.raises(
        ValueError, match=r"k_shot=6 needs .* but cork has 5: choose a smaller k_shot"
    ):
        draw_references(TESTED, KEPT, 6, 0)
    with pytest.raises(
        ValueError, match=r"nut has 8"
    ):  # the test has no say where images are kept for it
        draw_references(samples("nut", 20), KEPT, 9, 0)


def test_the_remark_says_how_many_and_where_they_come_from() -> None:
    apart = draw_references(TESTED[:9], KEPT, 1, 7).remark
    assert (
        apart == "1-shot, not zero-shot: 1 normal image of each category, drawn with seed 7, "
        "served as references"
    )
    assert draw_references(TESTED, KEPT, 2, 7).remark.endswith(
        "those of cork come from the tested images, which are tested without them"
    )


def write_index(root: Path, train: dict[str, list[object]]) -> Path:
    (root / "index.json").write_text(json.dumps({"Train": train, "test": {}}))
    return root / "index.json"


def entry(root: Path, name: str, anomaly: int = 0) -> dict[str, object]:
    (root / name).touch()
    return {
        "img_path": name,
        "mask_path": "",
        "cls_name": "nut",
        "specie_name": "good",
        "anomaly": anomaly,
    }


def test_normal_samples_are_read_for_the_asked_categories(tmp_path: Path) -> None:
    train = {
        "nut": [entry(tmp_path, "a"), entry(tmp_path, "b", anomaly=1)],
        "cork": [entry(tmp_path, "c")],
    }
    index = write_index(tmp_path, train)
    assert [
        s.image_path.name for s in normal_samples(index, tmp_path, "train", ["nut", "tile"])
    ] == ["a"]
    assert normal_samples(index, tmp_path, "validation", ["nut"]) == []


def test_references_that_are_not_on_disk_are_named(tmp_path: Path) -> None:
    index = write_index(tmp_path, {"nut": [entry(tmp_path, "a")]})
    (tmp_path / "a").unlink()
    with pytest.raises(FileNotFoundError, match="missing file: a"):
        normal_samples(index, tmp_path, "train", ["nut"])
    with pytest.raises(ValueError, match="wrong entry"):
        normal_samples(write_index(tmp_path, {"nut": ["a"]}), tmp_path, "train", ["nut"])
