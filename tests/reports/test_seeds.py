"""Runs that repeat one another become mean ± deviation, and runs that do not are refused."""

from __future__ import annotations

import csv
import io
import json
import statistics
from pathlib import Path

import pytest
from rich.console import Console

from zsad.reports.seeds import average, csv_table, markdown_table, screen_table, write_average


def a_run(
    folder: Path, auroc: str, *, images: int = 3, model: str = "anomalyclip", remark: str = ""
) -> Path:
    folder.mkdir()
    rows = [
        "category,normal,defective,image_auroc,pixel_ap,remarks",
        f"nut,{images},2,{auroc},,pixel_ap: no masks",
        f"mean,{images},2,{auroc},,{remark}",
    ]
    (folder / "results.csv").write_text("\n".join(rows) + "\n")
    (folder / "run_card.json").write_text(
        json.dumps({"config": {"model": {"method": model}, "image_size": 64}})
    )
    return folder


def test_every_number_becomes_its_mean_and_sample_deviation(tmp_path: Path) -> None:
    values = ["80.0", "82.5", "81.0"]
    result = average([a_run(tmp_path / str(i), value) for i, value in enumerate(values)])
    (nut, _) = csv.DictReader(csv_table(result).splitlines())
    numbers = [float(value) for value in values]
    assert float(nut["image_auroc_mean"]) == pytest.approx(statistics.mean(numbers), abs=1e-4)
    assert float(nut["image_auroc_deviation"]) == pytest.approx(statistics.stdev(numbers), abs=1e-4)
    assert nut["image_auroc_runs"] == "3"
    assert "81.2 ± 1.3" in markdown_table(result, "three seeds")


def test_a_narrow_screen_cuts_no_number(tmp_path: Path) -> None:
    result = average([a_run(tmp_path / value, value) for value in ("80.0", "82.5", "81.0")])
    console = Console(width=22, file=io.StringIO())
    console.print(screen_table(result, "three seeds"))
    words = console.file.getvalue().split()  # type: ignore[attr-defined]
    assert words.count("81.2") == 2
    assert words.count("1.3") == 2


def test_what_no_run_defines_is_not_a_number(tmp_path: Path) -> None:
    result = average([a_run(tmp_path / "1", "80.0"), a_run(tmp_path / "2", "81.0")])
    (nut, _) = csv.DictReader(csv_table(result).splitlines())
    assert (nut["pixel_ap_mean"], nut["pixel_ap_runs"]) == ("", "0")
    assert "| n/a |" in markdown_table(result, "two seeds")


def test_what_runs_say_about_themselves_is_said_once(tmp_path: Path) -> None:
    runs = [a_run(tmp_path / str(i), "80.0", remark="not zero-shot") for i in range(3)]
    _, written = write_average(average(runs), tmp_path / "out", "three seeds")
    assert written.read_text().count("not zero-shot") == 1


@pytest.mark.parametrize(
    ("other", "named"), [({"images": 4}, "rows"), ({"model": "winclip"}, "model")]
)
def test_runs_that_are_no_repetitions_are_refused(
    tmp_path: Path, other: dict[str, object], named: str
) -> None:
    first = a_run(tmp_path / "1", "80.0")
    second = a_run(tmp_path / "2", "80.0", **other)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"2 does not repeat .*1: they differ in {named}"):
        average([first, second])


def test_runs_on_several_datasets_are_compared_by_their_cards(tmp_path: Path) -> None:
    runs = [
        a_run(tmp_path / str(i), "80.0", model=model)
        for i, model in enumerate(("anomalyclip", "winclip"))
    ]
    for run in runs:
        (run / "mtd").mkdir()
        (run / "run_card.json").rename(run / "mtd/run_card.json")
    with pytest.raises(ValueError, match="they differ in model"):
        average(runs)


def test_what_was_learned_from_has_to_be_the_same(tmp_path: Path) -> None:
    runs = [a_run(tmp_path / dataset, "80.0") for dataset in ("visa", "mvtec")]
    for run in runs:
        card = json.loads((run / "run_card.json").read_text())
        (run / "run_card.json").write_text(
            json.dumps({**card, "trained_on": {"dataset": run.name}})
        )
    with pytest.raises(ValueError, match="they differ in trained_on"):
        average(runs)


def test_an_unfinished_run_and_a_single_one_are_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "1", "80.0")
    with pytest.raises(ValueError, match="expected two runs or more"):
        average([run])
    with pytest.raises(FileNotFoundError, match="2 is no finished test"):
        average([run, tmp_path / "2"])
