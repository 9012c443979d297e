"""Tables of finished tests are read with their names as text and their numbers to the last bit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from zsad.reports.read_runs import metrics_of, read_finished_runs, read_table
from zsad.reports.results_table import write_tables
from zsad.types import Results


def finished(folder: Path, names: tuple[str, ...]) -> Path:
    values = {
        name: {"image_auroc": 0.1 + i / 7, "pixel_ap": math.nan} for i, name in enumerate(names)
    }
    reasons = {name: {"pixel_ap": "no masks"} for name in names}
    write_tables(Results(values, reasons, dict.fromkeys(names, (3, 4))), folder, "title", ["a; b"])
    config = {
        "dataset": {"name": "visa"},
        "image_size": 518,
        "model": {"method": {"_target_": "zsad.methods.x.Method"}},
    }
    card = {"notes": ["a; b", "c"], "trained_on": {"dataset": "mvtec"}, "config": config}
    (folder / "run_card.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize("name", ["01", "1e5", "NA", "nan", "", "true"])
def test_names_stay_text(tmp_path: Path, name: str) -> None:
    table = read_table(finished(tmp_path, (name, "other")))
    assert set(table.index) == {name, "other", "mean"}
    assert table.index.name == "category"


def test_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    table = read_table(finished(tmp_path, ("a", "b", "c")))
    assert metrics_of(table) == ["image_auroc", "pixel_ap"]
    assert table["image_auroc"].tolist() == [10.0, 24.2857, 38.5714, 24.2857]
    assert table["pixel_ap"].isna().all()
    assert table["normal"].tolist() == [3, 3, 3, 9]
    assert table["remarks"].tolist() == ["pixel_ap: no masks"] * 3 + ["a; b"]


def test_a_finished_run_has_its_facts_in_each_row(tmp_path: Path) -> None:
    (table,) = read_finished_runs([finished(tmp_path / "run", ("a", "b"))])
    facts = table[["run", "method", "trained_on", "image_size", "dataset"]].drop_duplicates()
    assert facts.to_numpy().tolist() == [["run", "Method", "mvtec", "518", "visa"]]
    assert table["category"].tolist() == ["a", "b", "mean"]
    assert table["notes"].tolist() == [(), (), ("a; b", "c")]
    assert metrics_of(table) == ["image_auroc", "pixel_ap"]
