"""Published numbers stand beside measured ones; only like runs have a difference."""

import csv
import io
import math
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from zsad.data.layouts import LAYOUTS
from zsad.reports.published_numbers import compare_with_published, read_published
from zsad.reports.published_table import csv_table, markdown_table, screen_table, write_comparison
from zsad.types import Results

REPOSITORY = Path(__file__).parents[2]
LARGEST_CLIP = "clip_vit_l14_336"
# Methods that have no model here, or a model that is still to come.
NOT_OURS = {
    "april_gan",
    "coop",
    "anovl",
    "anovl_plus",
    "clipseg",
    "utad",
    "dhrclip_224",
    "saa",
    "saa_plus",
}


@pytest.fixture(scope="module")
def published():
    return read_published()


def measured(categories, images=1725, **metrics):
    """Return results with a number of categories and images, by default those of MVTec AD."""
    names = [f"c{i}" for i in range(categories)]
    counts = dict.fromkeys(names, (1, 1)) | {"c0": (1, images - 2 * categories + 1)}
    return Results({name: dict(metrics) for name in names}, {name: {} for name in names}, counts)


def compared(published, results, **run):
    """Compare as AnomalyCLIP learned from VisA, unless said otherwise."""
    run = {"method": "anomalyclip", "backbone": LARGEST_CLIP, "trained_on": "visa"} | run
    return compare_with_published(results, published, **run)


def test_alike_runs_have_a_difference(published):
    rows = compared(published, {"mvtec": measured(15, image_auroc=0.9200)})
    from_paper = next(row for row in rows if "Table 1" in row.published.source)
    assert (from_paper.dataset, from_paper.category, from_paper.metric) == (
        "mvtec",
        "mean",
        "image_auroc",
    )
    assert from_paper.published.value == 91.5
    assert from_paper.difference == pytest.approx(0.5)
    assert from_paper.remark == ""


@pytest.mark.parametrize(
    ("run", "categories", "remark"),
    [
        ({"backbone": "pocket"}, 15, "backbone clip_vit_l14_336 there, pocket here"),
        ({"trained_on": "mvtec"}, 15, "learned from visa there, mvtec here"),
        ({"trained_on": "?"}, 15, "learned from visa there, (not stated) here"),
        ({"trained_on": ""}, 15, "learned from visa there, nothing here"),
        ({}, 3, "mean of 15 categories there, 3 here"),
        ({"mismatches": ["tested on 100 images here"]}, 15, "tested on 100 images here"),
    ],
)
def test_unlike_runs_have_a_remark_and_no_difference(published, run, categories, remark):
    rows = compared(published, {"mvtec": measured(categories, image_auroc=0.92)}, **run)
    assert rows
    for row in rows:
        assert math.isnan(row.difference)
        assert row.remark == remark
    assert f"not comparable: {remark}" in markdown_table(rows, "title")
    assert all(line.split(",")[5] == "" for line in csv_table(rows).splitlines()[1:])


def test_half_a_download_has_no_difference(published):
    rows = compared(published, {"mvtec": measured(15, images=1400, image_auroc=0.92)})
    assert {row.remark for row in rows} == {"1725 images there, 1400 here"}
    assert all(math.isnan(row.difference) for row in rows)


def test_an_unknown_number_of_images_is_no_mismatch(published):
    rows = compared(
        published, {"ksdd_strips": measured(1, images=7, image_auroc=0.8)}, trained_on="mvtec"
    )
    assert [row.difference for row in rows] == [pytest.approx(80 - 84.7)]


def test_a_backbone_that_is_not_stated_is_like_no_other(published):
    rows = compared(
        published,
        {"mpdd": measured(6, 458, image_auroc=0.6)},
        method="winclip",
        backbone="?",
        trained_on="",
    )
    assert [row.remark for row in rows] == ["backbone (not stated) there, (not stated) here"]


def test_few_shots_are_compared_with_as_many(published):
    results = {"mvtec": measured(15, image_auroc=0.931)}
    run = {"method": "winclip", "backbone": "clip_vit_b16_plus_240", "trained_on": ""}
    one, four = (compared(published, results, shots=shots, **run) for shots in (1, 4))
    assert [row.published.value for row in one] == [93.1, 93.7]
    assert [row.published.value for row in four] == [95.2, 95.3]


def test_what_nobody_published_is_not_available(published):
    (row,) = compared(published, {"mtd": measured(1, image_auroc=0.5)})
    assert row.published is None
    assert math.isnan(row.difference)
    assert (
        markdown_table([row], "t").splitlines()[4]
        == "| mtd | mean | image auroc | 50.0 | n/a | n/a |"
    )


def test_an_undefined_measurement_has_no_difference(published):
    rows = compared(published, {"mvtec": measured(15, image_auroc=math.nan)})
    assert all(math.isnan(row.difference) for row in rows)
    assert csv_table(rows).splitlines()[1].startswith("mvtec,mean,image_auroc,,91.5,,")


def test_single_categories_are_compared_when_asked_for(published):
    results = measured(15, pixel_auroc=0.9)
    results.values["grid"], results.images["grid"] = results.values.pop("c0"), (21, 57)
    plain = compared(published, {"mvtec": results})
    rows = compared(published, {"mvtec": results}, by_category=True)
    assert {row.category for row in plain} == {"mean"}
    (grid,) = (row for row in rows if row.category != "mean")
    assert (grid.category, grid.published.value) == ("grid", 97.3)
    assert grid.difference == pytest.approx(90 - 97.3)


def test_csv_and_markdown_and_screen_say_the_same(published):
    rows = compared(published, {"mvtec": measured(15, image_auroc=0.92, pixel_aupro_200=0.8)})
    lines = list(csv.DictReader(io.StringIO(csv_table(rows))))
    shown = [line for line in markdown_table(rows, "t").splitlines() if line.startswith("|")][2:]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown]
    console = Console(width=80, file=io.StringIO())
    console.print(screen_table(rows, "t"))
    assert len(table) == len(lines) == len(rows)
    for line, cells in zip(lines, table, strict=True):
        assert cells[3] == f"{float(line['measured']):.1f}"
        assert cells[4].rstrip("¹²") == line["published"]
        assert cells[5] == f"{float(line['difference']):+.1f}"
        assert {cells[3], cells[4], cells[5]} <= set(console.file.getvalue().split())
    for row in rows:
        assert row.published.source in markdown_table(rows, "t")


def test_files_are_those_tables(published, tmp_path):
    rows = compared(published, {"mvtec": measured(15, image_auroc=0.92)})
    paths = write_comparison(rows, tmp_path / "run", "title")
    assert [path.read_text() for path in paths] == [csv_table(rows), markdown_table(rows, "title")]


def test_every_row_has_a_name_a_source_and_a_percentage(published):
    assert len(published) > 500
    for row in published:
        assert 0 <= row.value <= 100
        assert row.source
        assert (
            row.tested_on in LAYOUTS or row.tested_on == "ksdd2_train"
        )  # named as a variant: no index holds it
        assert row.trained_on in ("", "?", "mvtec", "visa")
        assert row.categories == 1 if row.category else row.categories >= 1


def test_no_number_of_a_source_is_there_twice(published):
    keys = [(r.method, r.tested_on, r.category, r.shots, r.metric, r.source) for r in published]
    assert len(keys) == len(set(keys))


def test_methods_have_the_names_of_the_models(published):
    models = {file.stem for file in (REPOSITORY / "conf/model").glob("*.yaml")}
    assert {row.method for row in published} - models <= NOT_OURS
    assert {"anomalyclip", "dhrclip", "winclip", "clip", "clip_ac"} <= {
        row.method for row in published
    } & models


def test_metrics_and_backbones_are_named_as_in_conf(published):
    metrics = yaml.safe_load((REPOSITORY / "conf/metrics/default.yaml").read_text())
    known = {*metrics["image"], *metrics["pixel"], "region_f1"}
    backbones = {file.stem for file in (REPOSITORY / "conf/backbone").glob("*.yaml")} | {
        "grounded_sam",
        "?",
    }
    assert {row.metric for row in published} <= known
    assert {row.backbone for row in published} <= backbones


@pytest.mark.parametrize(("dataset", "images"), [("mvtec", 467 + 1258), ("visa", 962 + 1200)])
def test_the_images_of_the_categories_are_those_of_the_mean(published, dataset, images):
    here = [row for row in published if row.tested_on == dataset]
    assert {row.images for row in here if not row.category} == {images}
    assert sum({row.category: row.images for row in here if row.category}.values()) == images


def test_no_method_was_trained_on_the_tested_dataset(published):
    assert all(row.trained_on != row.tested_on for row in published)


def test_the_table_agrees_with_itself(published):
    """A published mean is, within its rounding, that of the categories of the same source."""
    logs = [row for row in published if row.method == "anomalyclip" and "logs" in row.source]
    for mean in (row for row in logs if not row.category):
        values = [
            r.value
            for r in logs
            if r.category and (r.tested_on, r.metric) == (mean.tested_on, mean.metric)
        ]
        assert len(values) == mean.categories
        assert sum(values) / len(values) == pytest.approx(mean.value, abs=0.11)


@pytest.mark.parametrize(
    "row", ["anomalyclip,x", "a,b,c,d,,1,9,0,image_auroc,high,s,n", "a,b,c,d,,1,9,0,m,1,s,n,more"]
)
def test_a_broken_row_is_told_with_its_line(tmp_path, row):
    heading = (
        "method,backbone,trained_on,tested_on,category,categories,images,shots,metric,value,"
        "source,note"
    )
    file = tmp_path / "published.csv"
    file.write_text(f"{heading}\n{row}\n")
    with pytest.raises(
        ValueError, match=r"published\.csv, line 2: .*expected columns method, backbone"
    ):
        read_published(file)
