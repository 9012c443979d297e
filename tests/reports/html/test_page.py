"""The report stands alone, escapes its texts, leaves out empty parts, and works in a browser."""

import base64
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from tests.reports.html.html_checks import assert_stands_alone, browser, look_at
from zsad.reports.figures.curve_data import Curves
from zsad.reports.html.embedded_images import select_extremes
from zsad.reports.html.page import render_page, write_page
from zsad.reports.html.rendering import render
from zsad.reports.image_scores import ImageScore
from zsad.reports.published_numbers import Comparison, PublishedNumber
from zsad.reports.results_table import Rows
from zsad.reports.run_page import RobustnessTable, RunPage
from zsad.types import Results

NASTY = "<script>alert('1')</script> & \"co\""
VALUES = {"pcb10": 0.5, "pcb2": 0.91234, NASTY: 0.75}
METRICS = (
    "image_auroc",
    "image_ap",
    "image_f1max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1max",
    "pixel_aupro",
)
RISING = tuple(i / 200 for i in range(201))
ALL = Curves(RISING, RISING, RISING, RISING, RISING)


def measured():
    """Three categories; one cannot be measured everywhere."""
    rows = {name: dict.fromkeys(METRICS, value) for name, value in VALUES.items()}
    rows["pcb2"]["pixel_aupro"] = math.nan
    reasons = {
        name: {"pixel_aupro": "no defective pixel"} if name == "pcb2" else {} for name in VALUES
    }
    return Results(rows, reasons, {"pcb10": (3, 4), "pcb2": (20, 7), NASTY: (1_000, 2)})


def scores_of(category, count=10):
    return [
        ImageScore(
            f"{category}/{i}.png",
            category,
            "good" if i % 2 else "scratch",
            i % 2 == 0,
            i - 4.5,
            0.5,
        )
        for i in range(count)
    ]


@pytest.fixture
def heatmap(tmp_path):
    """A wide heat map."""
    file = tmp_path / "map.png"
    Image.new("RGB", (1500, 30), "navy").save(file)
    return file


@pytest.fixture
def known(heatmap):
    """A run that knows everything."""
    scores = [score for category in VALUES for score in scores_of(category)]
    there = PublishedNumber(
        "x", "b", "", "visa", "", 3, 0, 0, "image_auroc", 91.5, "a <paper>", "recalled"
    )
    return RunPage(
        title="AnomalyCLIP on a & b",
        results=measured(),
        notes=["not zero-shot: <b>learned</b> here"],
        intervals={"pcb10": {"image_auroc": (0.4, 0.6)}},
        mean_intervals={"image_auroc": (0.61, 0.8123)},
        curves=dict.fromkeys(VALUES, ALL),
        scores=scores,
        heatmaps={score.path: heatmap for score in scores[:12]},
        sheets={"pcb2": heatmap},
        robustness=RobustnessTable(
            ("corruption", "image_auroc"), [("blur & noise", 51.25), ("rotation", math.nan)]
        ),
        published=[Comparison("visa", "mean", "image_auroc", 72.1, there)],
        card={
            "command": "test.py name=<x>",
            "seed": 111,
            "config": {"a": ["<b>"]},
            "packages": {"torch": "2"},
        },
    )


def words_of(outline):
    return " ".join(
        text for tag_name, texts in outline.words.items() if tag_name != "script" for text in texts
    )


def test_the_page_stands_alone_and_shows_all_that_is_known(known):
    outline = assert_stands_alone(render_page(known))
    shown = words_of(outline)
    for said in (
        "AnomalyCLIP on a & b",
        "not zero-shot: <b>learned</b> here",
        "40.0–60.0",
        "61.0–81.2",
        "1,023 good",
        "no defective pixel",
        "blur & noise",
        "51.2",
        "a <paper>",
        "recalled",
        "-19.4",
        "test.py name=<x>",
        '"<b>"',
    ):
        assert said in shown
    assert outline.words["h2"] == [
        "Summary",
        "Per category",
        "Curves, scores and images",
        "Robustness",
        "Beside published numbers",
        "Run card",
    ]


def test_names_are_text_wherever_they_stand(known):
    outline = assert_stands_alone(render_page(known))
    assert len(outline.all_of("script")) == 1
    assert not outline.all_of("paper")
    assert outline.words["option"].count(NASTY) == 1
    assert NASTY in [attributes.get("data-panel") for attributes in outline.all_of("div")]


def test_rows_stand_in_the_order_of_the_tables(known):
    """Undefined values are not sorted as zero."""
    outline = assert_stands_alone(render_page(known))
    first = [text for text in outline.words["th"] if text in {*VALUES, "mean"}]
    assert first == [NASTY, "pcb2", "pcb10", "mean"]
    cells = [
        attributes
        for attributes in outline.all_of("td")
        if attributes.get("title") == "no defective pixel"
    ]
    assert [cell["data-value"] for cell in cells] == [""]


def test_images_are_small_and_inside_the_page(known, heatmap):
    noise = np.random.default_rng(0).integers(
        0, 256, (300, 1500, 3), dtype=np.uint8
    )  # does not compress
    Image.fromarray(noise).save(heatmap)
    images = assert_stands_alone(render_page(known)).all_of("img")
    assert len(images) == 13  # the heat maps, none twice, and one sheet
    for image in images:
        content = base64.b64decode(image["src"].partition(",")[2])
        with Image.open(io.BytesIO(content)) as opened:
            assert opened.size == (int(image["width"]), int(image["height"]))
            assert opened.width <= 1136
        assert len(content) < 150_000


def test_sheets_of_many_categories_are_shown_smaller(known):
    names = [f"c{i}" for i in range(64)]
    results = Results(
        {n: {"image_auroc": 1.0} for n in names},
        {n: {} for n in names},
        dict.fromkeys(names, (1, 1)),
    )
    many = RunPage("t", results, sheets=dict.fromkeys(names, known.sheets["pcb2"]))
    images = assert_stands_alone(render_page(many)).all_of("img")
    assert {image["width"] for image in images} == {"568"}  # half the width, a quarter of the bytes


@pytest.mark.parametrize(
    "missing",
    [
        "notes",
        "intervals",
        "mean_intervals",
        "curves",
        "scores",
        "heatmaps",
        "sheets",
        "published",
        "card",
    ],
)
def test_what_is_not_known_is_left_out(known, missing):
    empty = type(getattr(known, missing))()
    assert_stands_alone(render_page(replace(known, **{missing: empty})))


def test_a_run_that_knows_only_its_results_has_two_parts():
    assert assert_stands_alone(render_page(RunPage("t", measured()))).words["h2"] == [
        "Summary",
        "Per category",
    ]


def test_a_heat_map_that_is_gone_is_left_out(known, tmp_path):
    gone = replace(
        known,
        heatmaps={known.scores[0].path: tmp_path / "gone.png"},
        sheets={"pcb2": tmp_path / "gone"},
    )
    assert assert_stands_alone(render_page(gone)).all_of("img") == []


def test_one_category_is_shown_at_once_with_its_heat_maps(known):
    one = measured()
    results = Results(*({"pcb2": part["pcb2"]} for part in (one.values, one.reasons, one.images)))
    outline = assert_stands_alone(render_page(replace(known, results=results)))
    assert outline.all_of("select") == []
    assert [part.get("data-panel") for part in outline.all_of("div") if "data-panel" in part] == [
        "pcb2"
    ]
    assert "1 category" in words_of(outline)
    assert len(outline.all_of("img")) > 1


def test_images_of_one_kind_have_a_histogram_and_no_curves():
    results = Results(
        {"nut": {"image_auroc": math.nan}},
        {"nut": {"image_auroc": "no normal image"}},
        {"nut": (0, 5)},
    )
    defective = [one for one in scores_of("nut") if one.is_anomalous]
    outline = assert_stands_alone(
        render_page(RunPage("t", results, curves={"nut": Curves()}, scores=defective))
    )
    assert len(outline.all_of("svg")) == 1
    assert "good: none" in outline.words["span"]
    assert "nut: no normal image" in outline.words["li"]


def test_equal_scores_and_no_results_at_all_are_no_trouble():
    same = [replace_score(one, 0.25) for one in scores_of("nut")]
    results = Results({"nut": {"image_auroc": 0.5}}, {"nut": {}}, {"nut": (5, 5)})
    assert (
        len(assert_stands_alone(render_page(RunPage("t", results, scores=same))).all_of("rect"))
        == 2
    )
    assert_stands_alone(render_page(RunPage("t", Results({}, {}, {}))))


def test_a_threshold_is_a_line_in_every_histogram(known):
    outline = assert_stands_alone(render_page(replace(known, threshold=-4.5, curves={})))
    lines = [attributes for attributes in outline.all_of("line") if attributes["class"] == "mark"]
    assert [line["x1"] for line in lines] == ["52"] * 4  # the lowest score of all, at the left end
    assert outline.words["span"].count("threshold -4.50") == 4
    assert "threshold" not in render_page(known)


def replace_score(one, score):
    return ImageScore(one.path, one.category, one.defect, one.is_anomalous, score, one.probability)


def test_the_page_of_several_datasets_leads_to_theirs(known, tmp_path):
    rows = Rows("dataset", {"pcb10": "industrial", "pcb2": "industrial", NASTY: "others"})
    several = RunPage("3 datasets", measured(), rows, links={"pcb2": "pcb2/report.html"})
    outline = assert_stands_alone(write_page(several, tmp_path).read_text())
    assert outline.all_of("a") == [{"href": "pcb2/report.html"}]
    assert {"mean of industrial", "mean of others", "mean"} <= set(outline.words["th"])


def test_no_image_is_among_the_extremes_twice():
    scores = scores_of("nut", count=6)
    (_, good), (_, missed), (_, found) = select_extremes(scores, length=2)
    assert [one.score for one in good] == [0.5, -1.5]
    assert [one.score for one in missed] == [-4.5, -2.5]
    assert [one.score for one in found] == [-0.5]


def test_markup_is_escaped_once(known):
    text = render_page(replace(known, title="a & b < c"))
    assert "<h1>a &amp; b &lt; c</h1>" in text
    assert '<pre tabindex="0">{\n  &#34;a&#34;: [\n    &#34;&lt;b&gt;&#34;' in text


def test_a_name_that_a_template_misses_is_an_error():
    with pytest.raises(UndefinedError, match="'run' is undefined"):
        render("run_page.html", "t")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Report of a browser on the page, wide and narrow."""
    if browser() is None:
        pytest.skip("no Chromium on this machine; Debian's package is called chromium")
    folder = tmp_path_factory.mktemp("seen")
    file = folder / "map.png"
    Image.new("RGB", (1500, 300), "navy").save(file)
    scores = [score for category in VALUES for score in scores_of(category)]
    run = RunPage(
        title="AnomalyCLIP on " + "a_name_without_any_blank_" * 5,
        results=measured(),
        notes=["a note " * 40],
        mean_intervals={"image_auroc": (0.61, 0.8123)},
        curves=dict.fromkeys(VALUES, ALL),
        scores=scores,
        heatmaps={score.path: file for score in scores},
        sheets={"pcb2": file},
        robustness=RobustnessTable(("corruption", *METRICS), [("blur", *(50.0 for _ in METRICS))]),
        card={"command": "test.py " + "a_long_argument=" * 30, "config": {"key": "value " * 100}},
    )
    return look_at(render_page(run), folder, widths=(1280, 400))


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_has_nothing_to_complain_about(seen, width):
    assert seen[width]["problems"] == []
    assert len(seen[width]["images"]) == 19
    assert all(seen[width]["images"])
    assert seen[width]["charts"] == 16  # four of each category, and of all


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window_and_no_text_is_tiny(seen, width):
    assert seen[width]["outside"] == []
    assert seen[width]["scrollable"] == width
    assert seen[width]["smallest"] >= 10


def test_headings_sort_the_table_and_undefined_stays_last(seen):
    heads, sorted_by, states = (seen[1280][key] for key in ("headings", "sorted", "states"))
    assert sorted_by["first category"] == [NASTY, "pcb2", "pcb10"]
    assert sorted_by["second category"] == ["pcb10", "pcb2", NASTY]
    assert sorted_by["first image AUROC"] == ["pcb2", NASTY, "pcb10"]
    assert sorted_by["second image AUROC"] == ["pcb10", NASTY, "pcb2"]
    assert sorted_by["first good"][0] == NASTY  # 1,000 is a number
    assert sorted_by["first pixel AUPRO"] == [NASTY, "pcb10", "pcb2"]
    assert sorted_by["second pixel AUPRO"] == ["pcb10", NASTY, "pcb2"]
    at = heads.index("pixel AUPRO")
    assert states["second pixel AUPRO"] == [None] * at + ["ascending"] + [None] * (
        len(heads) - at - 1
    )


def test_the_choice_shows_one_category_or_all(seen):
    assert seen[400]["panels"] == {"": [""], **{name: [name] for name in VALUES}}
