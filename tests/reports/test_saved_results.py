"""Results of a finished test come back if the same settings decided about them."""

from __future__ import annotations

from pathlib import Path

from zsad.reports.saved_results import load_results, save_results
from zsad.types import Results

RESULTS = Results({"nut": {"image_auroc": 0.1 + 0.2}}, {"nut": {}}, {"nut": (3, 4)})


def test_results_come_back_to_the_last_bit(tmp_path: Path) -> None:
    save_results(tmp_path, RESULTS, ["a note"], {"seed": 1})
    assert load_results(tmp_path, {"seed": 1}) == (RESULTS, ["a note"])


def test_a_key_that_came_later_and_is_null_changes_nothing(tmp_path: Path) -> None:
    save_results(tmp_path, RESULTS, [], {"seed": 1})
    assert load_results(tmp_path, {"seed": 1, "dataset.value_range": None}) == (RESULTS, [])


def test_other_settings_give_no_results(tmp_path: Path) -> None:
    save_results(tmp_path, RESULTS, [], {"seed": 1})
    assert load_results(tmp_path, {"seed": 2}) is None
    assert load_results(tmp_path, {"seed": 1, "dataset.value_range": [0, 4095]}) is None
