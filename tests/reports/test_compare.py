"""Runs are compared on the same images, the best number is bold, no name breaks a table."""

import csv
import io
import json
import math

import pytest
from rich.console import Console

from tests.reports.html.html_checks import assert_stands_alone, browser, look_at
from zsad.reports.compare import compare, csv_table, latex, markdown, screen_tables, write_compared
from zsad.reports.html.compare_page import render_comparison
from zsad.reports.results_table import Rows, join_datasets, write_tables
from zsad.types import Results


def results_of(images=(4, 4), **metrics):
    """Two categories: the values of the first as given, those of the second a tenth lower."""
    rows = {"nut": metrics, "bolt": {name: value - 0.1 for name, value in metrics.items()}}
    return Results(rows, {"nut": {}, "bolt": {}}, dict.fromkeys(rows, images))


@pytest.fixture
def run(tmp_path):
    """Write a run folder, as a test leaves it."""

    def write(
        name, dataset="visa", notes=(), trained_on="mvtec", results=None, images=(4, 4), **metrics
    ):
        folder = tmp_path / name
        write_tables(results or results_of(images, **metrics), folder, name, notes)
        config = {
            "dataset": {"name": dataset},
            "image_size": 518,
            "model": {"method": {"_target_": "zsad.methods.x.Method"}},
        }
        card = {
            "notes": list(notes),
            "trained_on": trained_on and {"dataset": trained_on},
            "config": config,
        }
        (folder / "run_card.json").write_text(json.dumps(card))
        return folder

    return write


def best_of(block):
    return {
        (row[0].text, block.heading[i])
        for row in block.rows
        for i, cell in enumerate(row)
        if cell.is_best
    }


def test_the_best_of_each_metric_is_marked(run):
    """Numbers that print alike are marked alike."""
    folders = [
        run("a", image_auroc=0.9, pixel_ap=0.30004, pixel_fpr95=0.2),
        run("b", image_auroc=0.8, pixel_ap=0.30001, pixel_fpr95=0.4, trained_on=None),
    ]
    (block,) = compare(folders)
    assert block.title == "visa: 8 good, 8 defective, 2 categories"
    assert best_of(block) == {
        ("a", "image AUROC"),
        ("a", "pixel AP"),
        ("b", "pixel AP"),
        ("a", "pixel FPR95"),
    }
    assert [[cell.text for cell in row] for row in block.rows] == [
        ["a", "Method", "mvtec", "518", "85.0", "25.0", "15.0"],
        ["b", "Method", "nothing", "518", "75.0", "25.0", "35.0"],
    ]


def test_other_images_are_in_other_tables_without_a_best(run):
    folders = [
        run("a", image_auroc=0.9),
        run("b", "mtd", image_auroc=0.8),
        run("c", images=(2, 4), image_auroc=0.7),
    ]
    blocks = compare(folders)
    assert [block.title.split(",")[0] for block in blocks] == [
        "visa: 8 good",
        "mtd: 8 good",
        "visa: 4 good",
    ]
    assert [best_of(block) for block in blocks] == [set()] * 3
    assert [block.notes for block in blocks] == [
        ("Not the same images as in another table of visa.",),
        (),
        ("Not the same images as in another table of visa.",),
    ]


def test_a_metric_that_a_run_lacks_or_cannot_define_is_no_best(run):
    empty = results_of(image_auroc=math.nan, pixel_ap=0.5)
    (block,) = compare(
        [run("a", image_auroc=0.9), run("b", results=empty), run("c", image_auroc=0.6)]
    )
    assert [[cell.text for cell in row[4:]] for row in block.rows] == [
        ["85.0", "n/a"],
        ["n/a", "45.0"],
        ["55.0", "n/a"],
    ]
    assert best_of(block) == {("a", "image AUROC")}


def test_on_wish_every_category_has_its_best(run):
    rows = {"nut": {"image_auroc": 0.5}, "bolt": {"image_auroc": 0.95}}
    other = Results(rows, {"nut": {}, "bolt": {}}, {"nut": (4, 4), "bolt": (4, 4)})
    alone = run("c", "mtd", image_auroc=0.5)
    *_, block = blocks = compare(
        [run("a", image_auroc=0.9), run("b", results=other), alone], by_category=True
    )
    assert len(blocks) == 3  # nothing to compare on mtd
    assert block.title.endswith("image AUROC")
    assert block.heading == ("category", "a", "b")
    assert best_of(block) == {("nut", "a"), ("bolt", "b"), ("mean", "a")}


def test_a_test_on_several_datasets_takes_part_in_each(run, tmp_path):
    one, other = results_of(image_auroc=0.9), results_of(image_auroc=0.7)
    run("several/visa", results=one), run("several/mtd", "mtd", results=other)
    groups = Rows("dataset", {"visa": "industrial", "mtd": "others"})
    write_tables(
        join_datasets({"visa": one, "mtd": other}), tmp_path / "several", "2 datasets", rows=groups
    )
    visa, mtd = compare([tmp_path / "several", run("alone", image_auroc=0.8)])
    assert [row[0].text for row in visa.rows] == ["several", "alone"]
    assert [row[0].text for row in mtd.rows] == ["several"]


def test_runs_of_one_name_are_told_apart_by_their_folders(run):
    folders = [run("x/same", image_auroc=0.9), run("y/same", image_auroc=0.8)]
    assert [row[0].text for row in compare(folders)[0].rows] == [str(folder) for folder in folders]


def test_every_form_says_the_same_and_survives_odd_names(run, tmp_path):
    folders = [
        run("a&b_50%", image_auroc=0.9, notes=["not <zero> shot"]),
        run("c|d", image_auroc=0.8),
    ]
    written = write_compared(folders, tmp_path / "out", by_category=True)
    assert [path.name for path in written] == [
        "compare.md",
        "compare.tex",
        "compare.html",
        "compare.csv",
    ]
    text, tex, page, table = (path.read_text() for path in written)
    assert "| a&b_50% | Method | mvtec | 518 | **85.0** |" in text
    assert "| c\\|d | Method | mvtec | 518 | 75.0 |" in text
    assert "- a&b_50%: not <zero> shot" in text
    assert r"a\&b\_50\% & Method & mvtec & 518 & \textbf{85.0} \\" in tex
    outline = assert_stands_alone(page)
    assert outline.words["strong"][0] == "85.0"
    assert "a&b_50%: not <zero> shot" in outline.words["p"]
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(row["run"], row["category"], row["image_auroc"]) for row in rows[:3]] == [
        ("a&b_50%", "bolt", "80.0000"),
        ("a&b_50%", "nut", "90.0000"),
        ("a&b_50%", "mean", "85.0000"),
    ]
    assert (rows[2]["normal"], rows[2]["remarks"]) == ("8", "not <zero> shot")


def test_every_row_of_the_latex_has_all_columns(run):
    blocks = compare(
        [run("a", image_auroc=0.9, pixel_ap=0.2), run("b", image_auroc=0.8)], by_category=True
    )
    text = latex(blocks)
    tables = text.split(r"\begin{tabular}{")[1:]
    assert len(tables) == 3 == text.count(r"\bottomrule")
    for table in tables:
        columns, rest = table.split("}", 1)
        rows = [
            line for line in rest.split(r"\end{tabular}")[0].splitlines() if line.endswith(r"\\")
        ]
        assert {row.count("&") + 1 for row in rows} == {len(columns)}


def test_a_browser_shows_the_comparison_without_problems(run, tmp_path):
    if browser() is None:
        pytest.skip("no Chromium on this machine; Debian's package is called chromium")
    metrics = {
        f"pixel_{name}": 0.5
        for name in ("auroc", "ap", "f1max", "aupro", "aupro_200", "iou", "fpr95")
    }
    blocks = compare([run("a_long_name_" * 8, **metrics), run("b", **metrics)], by_category=True)
    for width, seen in look_at(render_comparison(blocks), tmp_path, widths=(1280, 400)).items():
        assert seen["problems"] == seen["outside"] == []
        assert seen["scrollable"] == width
        assert seen["sorted"]["second run"] == ["b", "a_long_name_" * 8]


def test_the_screen_shows_a_table_per_set_of_images(run):
    console = Console(width=120, file=io.StringIO())
    folders = [run("a", image_auroc=0.9, notes=["a [note]"]), run("b", "mtd", image_auroc=0.8)]
    for table in screen_tables(compare(folders)):
        console.print(table)
    shown = console.file.getvalue()
    assert "visa: 8 good" in shown
    assert "mtd: 8 good" in shown
    assert "a [note]" in shown


def test_mistakes_are_told_with_what_to_do(run, tmp_path):
    finished = run("a", image_auroc=0.9)
    with pytest.raises(
        ValueError, match="two runs or more to compare, got 1: zsad compare RUN RUN"
    ):
        compare([finished])
    with pytest.raises(FileNotFoundError, match=r"results\.csv: .* is no finished test"):
        compare([finished, tmp_path / "nothing"])
    (finished / "run_card.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"run_card\.json"):
        compare([finished, finished])


def test_markdown_and_csv_read_the_same_numbers(run):
    folders = [run("a", image_auroc=0.9), run("b", image_auroc=0.8)]
    rows = list(csv.DictReader(io.StringIO(csv_table(folders))))
    for row in rows:
        assert f"{float(row['image_auroc']):.1f}" in markdown(compare(folders))
    assert render_comparison(compare(folders)).count("<table") == 1
