"""Tables say what the results say, in the order and the units that people expect."""

import csv
import dataclasses
import io
import math

import pytest
from rich.console import Console

from zsad.reports.results_table import (
    Rows,
    csv_table,
    join_datasets,
    markdown_table,
    screen_table,
    write_tables,
)
from zsad.types import Results

KINDS = (
    "image_auroc",
    "image_ap",
    "image_f1max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1max",
    "pixel_aupro",
)
METRICS = (*KINDS, "pixel_aupro_200")
NOTE = "not zero-shot: the prompts were learned on visa [all of it]"


@pytest.fixture
def results():
    """Three categories; two cannot be measured everywhere."""
    rows = {
        name: dict.fromkeys(METRICS, value)
        for name, value in (("pcb10", 0.5), ("pcb2", 0.91234), ("cashew", 1.0))
    }
    rows["pcb10"]["image_auroc"] = rows["cashew"]["pixel_aupro"] = math.nan
    reasons = {
        "pcb10": {"image_auroc": "no normal image"},
        "pcb2": {},
        "cashew": {"pixel_aupro": "no defective pixel"},
    }
    return Results(rows, reasons, {"pcb10": (0, 7), "pcb2": (3, 4), "cashew": (5, 0)})


def on_screen(table, width):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_categories_are_sorted_as_people_do_and_the_mean_is_last(results):
    rows = list(csv.DictReader(io.StringIO(csv_table(results))))
    assert [row["category"] for row in rows] == ["cashew", "pcb2", "pcb10", "mean"]


def test_the_csv_holds_percent_and_nothing_where_undefined(results):
    rows = {row["category"]: row for row in csv.DictReader(io.StringIO(csv_table(results, [NOTE])))}
    assert rows["pcb2"]["image_auroc"] == "91.2340"
    assert rows["pcb10"]["image_auroc"] == ""
    assert rows["pcb10"]["remarks"] == "image_auroc: no normal image"
    assert float(rows["mean"]["image_auroc"]) == pytest.approx((91.234 + 100) / 2)
    assert (rows["mean"]["normal"], rows["mean"]["defective"], rows["mean"]["remarks"]) == (
        "8",
        "11",
        NOTE,
    )


def test_markdown_has_one_decimal_and_a_footnote_per_reason(results):
    lines = markdown_table(results, "anomalyclip on visa", [NOTE]).splitlines()
    table = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in lines
        if "|" in line
    }
    assert table["pcb10"] == ["0", "7", "n/a²", *["50.0"] * 7]
    assert table["cashew"] == ["5", "0", *["100.0"] * 6, "n/a¹", "100.0"]
    assert table["**mean**"][2] == "**95.6**"
    assert {"- ¹ no defective pixel", "- ² no normal image", f"- {NOTE}"} <= set(lines)


def test_every_row_of_the_markdown_has_the_same_cells(results):
    results.values["a|b"], results.reasons["a|b"], results.images["a|b"] = (
        dict(results.values["pcb2"]),
        {},
        (1, 1),
    )
    rows = [
        line.replace("\\|", "")
        for line in markdown_table(results, "t").splitlines()
        if line.startswith("|")
    ]
    assert {row.count("|") for row in rows} == {len(METRICS) + 4}


def test_eighty_characters_show_all_metrics_uncut(results):
    shown = on_screen(screen_table(results, "anomalyclip on visa", [NOTE]), width=80)
    assert "…" not in shown
    assert shown.count("AUROC") == 2
    assert NOTE in shown  # its brackets are no markup
    assert "² no normal image" in shown


def test_an_empty_result_is_a_table_with_an_empty_mean():
    assert csv_table(Results({}, {}, {})).splitlines() == [
        "category,normal,defective,remarks",
        "mean,0,0,",
    ]


def test_files_are_whole_and_leave_nothing_beside_them(results, tmp_path):
    paths = write_tables(results, tmp_path / "run", "title", [NOTE])
    assert sorted((tmp_path / "run").iterdir()) == sorted(paths)
    assert paths[0].read_text() == csv_table(results, [NOTE])
    assert paths[1].read_text() == markdown_table(results, "title", [NOTE])


def results_of(*rows: tuple[str, float]) -> Results:
    values = {name: {"image_auroc": value, "pixel_auroc": math.nan} for name, value in rows}
    reasons = {name: {"pixel_auroc": "no masks"} for name in values}
    return Results(values, reasons, dict.fromkeys(values, (3, 2)))


def test_intervals_are_below_the_table_and_in_a_file(tmp_path) -> None:
    plain = results_of(("nut", 0.9), ("bolt", 0.7))
    ends = {"nut": {"image_auroc": (0.8, 0.95)}, "bolt": {"image_auroc": (0.5, 0.81234)}}
    results = dataclasses.replace(
        plain, intervals=ends, mean_intervals={"image_auroc": (0.7, 0.85)}
    )
    _, markdown = write_tables(results, tmp_path, "two")
    assert (
        "95 % intervals of the means, by resampling the images: image AUROC 70.0–85.0."
        in markdown.read_text()
    )
    assert (tmp_path / "intervals.csv").read_text().splitlines()[1:] == [
        "bolt,image_auroc,50.0000,81.2340,",
        "nut,image_auroc,80.0000,95.0000,",
        "mean,image_auroc,70.0000,85.0000,",
    ]


def test_a_missing_interval_stands_with_its_reason(tmp_path) -> None:
    """Also in the note below the table, and the note does not grow with the categories."""
    names = [f"part{number}" for number in range(1, 7)]
    plain = results_of(*((name, 0.9) for name in names))
    few = "3 good and 2 defective images, an interval needs at least 5 of each"
    results = dataclasses.replace(
        plain, interval_reasons={name: {"image_auroc": few} for name in names}
    )
    _, markdown = write_tables(results, tmp_path, "small")
    note = f"95 % intervals of the means: n/a (part1: {few}; part2: {few}; part3: {few}; and 3 more"
    assert note in markdown.read_text()
    lines = (tmp_path / "intervals.csv").read_text().splitlines()[1:]
    assert lines[0] == f'part1,image_auroc,,,"{few}"'
    assert len(lines) == len(names)


def test_datasets_are_rows_with_a_mean_for_each_group() -> None:
    """The last mean is that of all datasets."""
    joined = join_datasets(
        {
            "mvtec": results_of(("bottle", 0.9), ("cable", 0.7)),
            "headct": results_of(("brain", 0.4)),
            "btad": results_of(("01", 0.6)),
        }
    )
    rows = Rows("dataset", {"mvtec": "industrial", "btad": "industrial", "headct": "medical"})
    found = list(csv.reader(csv_table(joined, ["a note"], rows).splitlines()))
    assert [row[:4] for row in found] == [
        ["dataset", "normal", "defective", "image_auroc"],
        ["btad", "3", "2", "60.0000"],
        ["mvtec", "6", "4", "80.0000"],
        ["headct", "3", "2", "40.0000"],
        ["mean of industrial", "9", "6", "70.0000"],
        ["mean of medical", "3", "2", "40.0000"],
        ["mean", "12", "8", "60.0000"],
    ]
    assert found[-1][-1] == "a note"
    assert "pixel_auroc: no masks" in found[1][-1]
    assert "**mean of medical**" in markdown_table(joined, "all", (), rows)


def test_one_group_has_no_mean_beside_that_of_all_rows() -> None:
    joined = join_datasets({"mvtec": results_of(("bottle", 0.9)), "btad": results_of(("01", 0.6))})
    text = csv_table(joined, (), Rows("dataset", {"mvtec": "industrial", "btad": "industrial"}))
    assert [line.split(",")[0] for line in text.splitlines()] == [
        "dataset",
        "btad",
        "mvtec",
        "mean",
    ]
