"""What is lost under corruptions is a difference to the clean test, averaged over severities."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from zsad.reports.robustness_table import Trial, Trials, page_table, write_robustness

CLEAN = {"image_auroc": 0.9, "pixel_ap": math.nan}


def trial(change: str, level: int | str, auroc: float) -> Trial:
    return Trial(change, level, {"image_auroc": auroc, "pixel_ap": math.nan})


TRIALS = Trials(
    CLEAN,
    [trial("blur", 1, 0.88), trial("blur", 2, 0.80), trial("jpeg", 1, 0.91)],
    [trial("anomalous", "a|b {}", 0.7), trial("anomalous", "broken {}", 0.9)],
)


def test_the_drop_is_the_mean_over_severities() -> None:
    drops = TRIALS.mean_drops()
    assert drops["blur"]["image_auroc"] == pytest.approx((2 + 10) / 2)
    assert drops["jpeg"]["image_auroc"] == pytest.approx(-1)
    assert math.isnan(drops["jpeg"]["pixel_ap"])


def test_the_spread_is_over_all_wordings() -> None:
    spread = {measure: values["image_auroc"] for measure, values in TRIALS.spread().items()}
    assert spread == pytest.approx(
        {"lowest": 0.7, "mean": 0.8, "highest": 0.9, "standard deviation": 0.1}
    )
    assert Trials(CLEAN, [], []).spread() == {}


def test_tables_hold_every_trial(tmp_path: Path) -> None:
    table, text = write_robustness(TRIALS, tmp_path, "Robustness of X on Y")
    rows = list(csv.DictReader(table.open()))
    assert [(row["change"], row["level"]) for row in rows[:2]] == [("clean", "0"), ("blur", "1")]
    assert len(rows) == 6
    assert float(rows[2]["image_auroc_drop"]) == pytest.approx(10)
    assert rows[2]["pixel_ap"] == ""
    lines = text.read_text().splitlines()
    assert "| blur | +6.0 | n/a |" in lines
    assert "| blur | 2 | +10.0 | n/a |" in lines
    assert r"| anomalous | a\|b {} | 70.0 | n/a |" in lines
    assert "| **highest** |  | 90.0 | n/a |" in lines


def test_the_report_gets_a_row_per_trial_with_what_is_lost() -> None:
    table = page_table(TRIALS)
    assert table.heading == ["change", "severity or words", "image AUROC lost", "pixel AP lost"]
    assert list(table.rows[1])[:3] == ["blur", 2, pytest.approx(10)]
    assert "image AUROC 90.0" in table.remark
