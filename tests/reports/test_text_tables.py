"""All forms of a table hold the same cells, and no character of a cell breaks a form."""

from __future__ import annotations

import csv
import io
import math

import pytest
from rich.console import Console

from zsad.reports.text_tables import (
    Bold,
    TextTable,
    csv_text,
    format_number,
    latex_lines,
    markdown_lines,
    markdown_page,
    screen_table,
)

TABLE = TextTable(
    heading=["run", "kind", "image AUROC"],
    rows=[["a|b", "x_y", "91.2"], ["[c]", "", Bold("93.0")]],
    means=[["mean", "", "92.1"]],
    text_columns=2,
    title="two runs",
    notes=["a [note]"],
)


def shown(table: TextTable, width: int = 80, **options: bool) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(screen_table(table, **options))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_markdown_aligns_numbers_and_escapes_pipes() -> None:
    assert markdown_lines(TABLE) == [
        "| run | kind | image AUROC |",
        "| :--- | :--- | ---: |",
        "| a\\|b | x_y | 91.2 |",
        "| [c] |  | **93.0** |",
        "| **mean** |  | **92.1** |",
    ]


def test_a_page_has_a_title_and_notes() -> None:
    lines = markdown_page(TABLE, level=2).split("\n")
    assert lines[:2] == ["## two runs", ""]
    assert lines[-3:] == ["", "- a [note]", ""]


def test_a_page_without_notes_ends_with_the_table() -> None:
    assert markdown_page(TextTable(["a"], [["1"]], title="t")) == "# t\n\n| a |\n| :--- |\n| 1 |\n"


def test_latex_escapes_its_special_characters() -> None:
    lines = latex_lines(TABLE)
    assert "\\begin{tabular}{llr}" in lines
    assert "a|b & x\\_y & 91.2 \\\\" in lines
    assert "[c] &  & \\textbf{93.0} \\\\" in lines
    assert "\\caption{two runs a [note].}" in lines


def test_csv_is_read_back_as_written() -> None:
    rows = [["a,b", 'say "x"', "1"], ["c\nd", "", "2"]]
    text = csv_text(["p", "q", "r"], rows)
    assert list(csv.reader(io.StringIO(text))) == [["p", "q", "r"], *rows]
    assert "\r" not in text


def test_the_screen_shows_brackets_as_they_are() -> None:
    text = shown(TABLE)
    for cell in ("a|b", "[c]", "93.0", "92.1", "a [note]", "two runs"):
        assert cell in text


def test_long_cells_are_cut_or_continued() -> None:
    table = TextTable(["name"], [["abcdefghij"]])
    assert "ij" not in shown(table, width=6)
    assert "…" in shown(table, width=6)
    assert "abcdefghij" in shown(table, width=6, wrap=True).replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(91.25, ".1f", "91.2"), (0.05, "+.1f", "+0.1"), (math.nan, ".1f", "-")],
)
def test_numbers_are_formatted_and_nan_is_named(value: float, form: str, text: str) -> None:
    assert format_number(value, form, undefined="-") == text
