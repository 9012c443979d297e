"""Tables say what the results say, in the order and the units that people expect."""

import csv
import io
import math

import pytest
from rich.console import Console

from zsad.reports.tables import csv_table, markdown_table, screen_table, write_tables
from zsad.types import Results

KINDS = ("image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "pixel_aupro")
METRICS = (*KINDS, "pixel_aupro_200")
NOTE = "not zero-shot: the prompts were learned on visa [all of it]"


@pytest.fixture
def results():
    """Three categories; two cannot be measured everywhere."""
    rows = {name: dict.fromkeys(METRICS, value) for name, value in (("pcb10", 0.5), ("pcb2", 0.91234), ("cashew", 1.0))}
    rows["pcb10"]["image_auroc"] = rows["cashew"]["pixel_aupro"] = math.nan
    reasons = {"pcb10": {"image_auroc": "no normal image"}, "pcb2": {}, "cashew": {"pixel_aupro": "no defective pixel"}}
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
    assert (rows["mean"]["normal"], rows["mean"]["defective"], rows["mean"]["remarks"]) == ("8", "11", NOTE)


def test_markdown_shows_one_decimal_and_a_footnote_for_each_reason(results):
    lines = markdown_table(results, "anomalyclip on visa", [NOTE]).splitlines()
    table = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines if "|" in line
    }
    assert table["pcb10"] == ["0", "7", "n/a²", *["50.0"] * 7]
    assert table["cashew"] == ["5", "0", *["100.0"] * 6, "n/a¹", "100.0"]
    assert table["**mean**"][2] == "**95.6**"
    assert {"- ¹ no defective pixel", "- ² no normal image", f"- {NOTE}"} <= set(lines)


def test_every_row_of_the_markdown_has_the_same_cells(results):
    results.values["a|b"], results.reasons["a|b"], results.images["a|b"] = dict(results.values["pcb2"]), {}, (1, 1)
    rows = [line.replace("\\|", "") for line in markdown_table(results, "t").splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {len(METRICS) + 4}


def test_eighty_characters_show_all_metrics_uncut(results):
    shown = on_screen(screen_table(results, "anomalyclip on visa", [NOTE]), width=80)
    assert "…" not in shown
    assert shown.count("AUROC") == 2
    assert NOTE in shown  # its brackets are no markup
    assert "² no normal image" in shown


def test_an_empty_result_is_a_table_with_an_empty_mean():
    assert csv_table(Results({}, {}, {})).splitlines() == ["category,normal,defective,remarks", "mean,0,0,"]


def test_files_are_whole_and_leave_nothing_beside_them(results, tmp_path):
    paths = write_tables(results, tmp_path / "run", "title", [NOTE])
    assert sorted((tmp_path / "run").iterdir()) == sorted(paths)
    assert paths[0].read_text() == csv_table(results, [NOTE])
    assert paths[1].read_text() == markdown_table(results, "title", [NOTE])
