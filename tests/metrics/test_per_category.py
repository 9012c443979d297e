"""Any batches, any processes and any category give the numbers of one ranking."""

import importlib
import math
import os
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from torch import multiprocessing

from zsad.metrics import curves, operating_points
from zsad.metrics.aupimo import aupimo
from zsad.metrics.per_category import CategoryMetrics
from zsad.metrics.region_f1 import region_f1
from zsad.metrics.states import BinnedPixelMetrics, ImageMetrics
from zsad.types import Batch, Prediction, Results

CONF = Path(__file__).parents[2] / "conf" / "metrics"
IMAGE = {"image_auroc": curves.auroc, "image_f1max": curves.f1_max}
PIXEL = {"pixel_auroc": curves.auroc, "pixel_aupro": partial(curves.aupro, fpr_limit=0.3)}


def made_up(count, categories=("tile", "a.b"), seed=0, size=16):
    """A prediction and its batch; every third image is normal, categories alternate."""
    generator = torch.Generator().manual_seed(seed)
    is_anomalous = torch.arange(count) % 3 > 0
    mask = (torch.rand(count, size, size, generator=generator) < 0.1) & is_anomalous[:, None, None]
    anomaly_map = torch.rand(count, size, size, generator=generator) + 0.2 * mask
    batch = Batch(
        image=torch.zeros(count, 3, size, size),
        mask=mask,
        has_mask=torch.ones(count, dtype=torch.bool),
        is_anomalous=is_anomalous,
        category=tuple(categories[i // 2 % len(categories)] for i in range(count)),
        defect=tuple("crack" if bad else "good" for bad in is_anomalous),
        path=tuple(f"{i:03}.png" for i in range(count)),
    )
    return Prediction(map=anomaly_map, score=torch.randn(count, generator=generator)), batch


def rows(prediction, batch, index):
    """The part of a batch that ``index`` names."""
    strings = {
        name: tuple(getattr(batch, name)[i] for i in index)
        for name in ("category", "defect", "path")
    }
    tensors = {
        name: getattr(batch, name)[index] for name in ("image", "mask", "has_mask", "is_anomalous")
    }
    return Prediction(prediction.map[index], prediction.score[index]), Batch(**tensors, **strings)


def measured(*parts, categories=("tile", "a.b"), image=None, pixel=None, **options):
    image, pixel = IMAGE if image is None else image, PIXEL if pixel is None else pixel
    metrics = CategoryMetrics(categories, image, pixel, **options)
    for prediction, batch in parts:
        metrics.update(prediction, batch)
    return metrics.compute()


def test_categories_are_ranked_apart_and_the_mean_is_unweighted():
    prediction, batch = made_up(11)
    results = measured((prediction, batch))
    for category in ("tile", "a.b"):
        own = torch.tensor([name == category for name in batch.category])
        pixels = curves.rank_pixels(prediction.map[own], batch.mask[own])
        images = curves.rank_labelled(prediction.score[own], batch.is_anomalous[own])
        assert results.values[category] == pytest.approx(
            {name: metric(images) for name, metric in IMAGE.items()}
            | {name: metric(pixels) for name, metric in PIXEL.items()}
        )
        assert results.images[category] == (
            (~batch.is_anomalous[own]).sum(),
            batch.is_anomalous[own].sum(),
        )
    both = [results.values[category]["pixel_aupro"] for category in ("tile", "a.b")]
    assert results.mean["pixel_aupro"] == pytest.approx(sum(both) / 2)


def test_the_batches_do_not_matter():
    prediction, batch = made_up(11)
    parts = [rows(prediction, batch, index) for index in ([4, 1, 0], [2], [10, 9, 3, 5, 6, 7, 8])]
    whole, split = measured((prediction, batch)), measured(*parts)
    assert split.images == whole.images
    for category, row in whole.values.items():
        assert split.values[category] == pytest.approx(row, abs=1e-12)


def test_pixels_of_images_without_ground_truth_count_nowhere():
    prediction, batch = made_up(9, categories=("tile",))
    known = [0, 1, 2, 3, 6]
    batch.has_mask[[4, 5, 7, 8]] = False
    results = measured((prediction, batch), categories=("tile",))
    expected = curves.auroc(curves.rank_pixels(prediction.map[known], batch.mask[known]))
    assert results.values["tile"]["pixel_auroc"] == pytest.approx(expected)
    assert results.images["tile"] == (3, 6)


@pytest.mark.parametrize(
    ("index", "has_mask", "reasons"),
    [
        ([1, 2], True, {"image_auroc": "no normal image", "image_f1max": "no normal image"}),
        (
            [0, 3],
            True,
            {"image_auroc": "no defective image", "image_f1max": "no defective image"}
            | {"pixel_auroc": "no defective pixel", "pixel_aupro": "no defective pixel"},
        ),
        ([0, 1], False, dict.fromkeys(PIXEL, "no pixel with ground truth")),
        (
            [],
            True,
            dict.fromkeys(IMAGE, "no image with ground truth")
            | dict.fromkeys(PIXEL, "no pixel with ground truth"),
        ),
    ],
)
def test_undefined_values_have_reasons_and_stay_out_of_the_mean(index, has_mask, reasons):
    prediction, batch = made_up(4, categories=("tile",))
    batch.has_mask[:] = has_mask
    other = made_up(6, categories=("a.b",), seed=1)
    results = measured(rows(prediction, batch, index), other)
    assert results.reasons["tile"] == reasons
    assert {name for name, value in results.values["tile"].items() if math.isnan(value)} == set(
        reasons
    )
    for name in reasons:
        assert results.mean[name] == results.values["a.b"][name]


def test_a_metric_no_category_defines_has_no_mean():
    results = Results(values={"tile": {"image_auroc": math.nan}}, reasons={}, images={})
    assert math.isnan(results.mean["image_auroc"])


def test_constant_maps_explain_why_the_papers_aupro_is_missing():
    prediction, batch = made_up(4, categories=("tile",))
    constant = Prediction(torch.full_like(prediction.map, 0.5), prediction.score)
    results = measured(
        (constant, batch), categories=("tile",), pixel={"pixel_aupro_200": curves.aupro_200}
    )
    assert "false-positive limit" in results.reasons["tile"]["pixel_aupro_200"]


@pytest.mark.parametrize("where", ["map", "score"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_prediction_that_cannot_be_ranked_names_its_image(where, bad):
    prediction, batch = made_up(4)
    getattr(prediction, where)[2] = bad
    with pytest.raises(ValueError, match=r"002\.png contains NaN or infinite"):
        measured((prediction, batch))


def test_an_unknown_category_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'a\.b', expected one of: tile, screw"):
        measured(made_up(6), categories=("tile", "screw"))


def test_without_pixel_metrics_nothing_is_kept_of_the_maps():
    metrics = CategoryMetrics(("tile",), IMAGE, {})
    metrics.update(*made_up(4, categories=("tile",)))
    assert len(metrics.states[0].pixel.bins) == len(metrics.states[0].maps.maps) == 0


def test_the_memory_for_pixels_does_not_grow_with_the_images():
    pixel = BinnedPixelMetrics(PIXEL, bins=64)
    sizes = []
    for seed in range(12):
        prediction, batch = made_up(3, seed=seed)
        pixel.update(prediction.map[1:2], batch.mask[1:2])
        sizes.append(pixel.bins.numel())
    assert max(sizes) <= 64 * 5
    assert min(sizes) > 32 * 2


def test_counted_and_sorted_pixels_give_the_same_numbers():
    parts = [made_up(11, seed=seed) for seed in (0, 1)]
    counted, exact = measured(*parts), measured(*parts, bins=None)
    for category, row in exact.values.items():
        assert counted.values[category] == pytest.approx(row, abs=1e-4)
    assert counted.images == exact.images


def test_intervals_hold_the_values_and_narrow_with_more_images():
    widths = []
    for count in (40, 400):
        metrics = CategoryMetrics(
            ("tile", "a.b"),
            IMAGE,
            {},
            intervals={"image_auroc": operating_points.roc_area},
            replicates=200,
        )
        metrics.update(*made_up(count))
        results = metrics.compute()
        for category, row in metrics.intervals.items():
            low, high = row["image_auroc"]
            assert low <= results.values[category]["image_auroc"] <= high
        low, high = metrics.mean_intervals["image_auroc"]
        assert low <= results.mean["image_auroc"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0]


def few_of(normal, anomalous, category="tile", seed=3):
    """So many images of each label of one category."""
    prediction, batch = made_up(60, categories=(category,), seed=seed)
    good = (~batch.is_anomalous).nonzero().flatten().tolist()[:normal]
    bad = batch.is_anomalous.nonzero().flatten().tolist()[:anomalous]
    return rows(prediction, batch, good + bad)


@pytest.mark.parametrize(("normal", "anomalous"), [(1, 1), (4, 20), (20, 4)])
def test_an_interval_needs_five_images_of_each_label(normal, anomalous):
    """The means have none either: it would be that of another mean."""
    formulas = {"image_auroc": operating_points.roc_area}
    metrics = CategoryMetrics(("tile", "screw"), IMAGE, {}, intervals=formulas, replicates=20)
    metrics.update(*few_of(normal, anomalous))
    metrics.update(*few_of(5, 5, "screw"))
    results = metrics.compute()
    assert list(results.intervals) == ["screw"]
    assert results.mean_intervals == {}
    reason = f"{normal} good and {anomalous} defective images, an interval needs at least 5 of each"
    assert results.interval_reasons == {"tile": {"image_auroc": reason}}


def test_no_reasons_where_no_intervals_are_asked_for():
    metrics = CategoryMetrics(("tile",), IMAGE, {})
    metrics.update(*few_of(2, 2))
    assert metrics.compute().interval_reasons == {}


def test_a_category_without_normal_images_has_no_interval():
    metrics = CategoryMetrics(
        ("tile",), IMAGE, {}, intervals={"image_auroc": operating_points.roc_area}
    )
    metrics.update(*rows(*made_up(4, categories=("tile",)), [1, 2]))
    metrics.compute()
    assert metrics.intervals == metrics.mean_intervals == {}


def test_the_rankings_behind_the_metrics_stay_at_hand():
    metrics = CategoryMetrics(("tile", "a.b"), IMAGE, PIXEL)
    prediction, batch = made_up(11)
    metrics.update(prediction, batch)
    results = metrics.compute()
    for category, (images, pixels) in metrics.rankings.items():
        assert images.counts == results.images[category]
        assert curves.auroc(pixels) == results.values[category]["pixel_auroc"]


def test_metrics_over_whole_maps_say_why_they_are_missing():
    """They stand beside the other metrics."""
    prediction, batch = made_up(11)
    own = torch.tensor([name == "tile" for name in batch.category])
    maps = {"region_f1": partial(region_f1, steps=10)}
    known = rows(prediction, batch, own.nonzero().flatten().tolist())
    results = measured(known, maps=maps)
    assert results.values["tile"]["region_f1"] == region_f1(
        prediction.map[own], batch.mask[own], steps=10
    )
    assert math.isnan(results.values["a.b"]["region_f1"])
    assert "too few regions" in results.reasons["a.b"]["region_f1"]


def test_nothing_of_a_metric_goes_into_a_checkpoint():
    metrics = CategoryMetrics(("tile",), IMAGE, PIXEL)
    metrics.update(*made_up(4, categories=("tile",)))
    assert metrics.state_dict() == {}


def test_reset_forgets_everything():
    metrics = CategoryMetrics(("tile", "a.b"), IMAGE, PIXEL)
    metrics.update(*made_up(6, seed=5))
    metrics.reset()
    prediction, batch = made_up(6)
    metrics.update(prediction, batch)
    assert metrics.compute() == measured((prediction, batch))


def test_half_precision_predictions_are_accepted():
    prediction, batch = made_up(6, categories=("tile",))
    half = Prediction(prediction.map.bfloat16(), prediction.score.bfloat16())
    expected = curves.auroc(curves.rank_pixels(half.map, batch.mask))
    assert measured((half, batch), categories=("tile",)).values["tile"][
        "pixel_auroc"
    ] == pytest.approx(expected)


def test_image_scores_keep_their_order_in_double_precision():
    images = ImageMetrics(IMAGE)
    images.update(
        torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64), torch.tensor([False, True])
    )
    assert images.compute().values["image_auroc"] == 1.0


def names_and_functions(stem, kinds):
    """The metrics of a configuration, those it takes over from the default one included."""
    conf = yaml.safe_load((CONF / f"{stem}.yaml").read_text())
    if "default" in conf.get("defaults", ()):
        yield from names_and_functions("default", kinds)
    for kind in kinds:
        for name, line in conf.get(kind, {}).items():
            module, _, function = line["_target_"].rpartition(".")
            arguments = {key: value for key, value in line.items() if not key.startswith("_")}
            yield name, partial(getattr(importlib.import_module(module), function), **arguments)


@pytest.mark.parametrize("stem", [path.stem for path in sorted(CONF.glob("*.yaml"))])
def test_every_line_of_the_configuration_names_a_metric(stem):
    prediction, batch = made_up(9)
    ranking = curves.rank_pixels(prediction.map, batch.mask)
    rankings = dict(names_and_functions(stem, ("image", "pixel")))
    assert len(rankings) >= 3
    assert all(0 <= metric(ranking) <= 1 for metric in rankings.values())
    for metric in dict(names_and_functions(stem, ("maps",))).values():
        value = metric(prediction.map[:2], batch.mask[:2])
        assert math.isnan(value) or value >= 0
    for name, formula in names_and_functions(stem, ("intervals",)):
        assert float(formula(ranking.points)) == pytest.approx(rankings[name](ranking))


EVERYTHING = {
    "pixel": PIXEL
    | {
        "pixel_ap": curves.average_precision,
        "pixel_f1max": curves.f1_max,
        "pixel_aupro_200": curves.aupro_200,
    }
    | {"pixel_ioumax": curves.iou_max, "pixel_fpr95": curves.fpr_at_tpr},
    "maps": {
        "region_f1": partial(region_f1, steps=5),
        "aupimo": partial(aupimo, fpr_low=1e-2, fpr_high=1e-1),
    },
    "intervals": {
        "image_auroc": operating_points.roc_area,
        "image_f1max": operating_points.f1_best,
    },
    "replicates": 50,
    "bins": 64,  # far fewer than there are different scores, so that bits are given up
}


GIVEN = 44  # images; enough of each label for intervals


def everything(part):
    metrics = CategoryMetrics(("tile", "a.b"), IMAGE, **EVERYTHING)
    metrics.update(*part)
    results = metrics.compute()
    return {
        "values": results.values,
        "reasons": results.reasons,
        "images": results.images,
        "mean": results.mean,
        "intervals": (metrics.intervals, metrics.mean_intervals),
        "bins": {name: pixels.histogram.bins for name, (_, pixels) in metrics.rankings.items()},
    }


def one_process(rank, world, port, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    prediction, batch = made_up(GIVEN)
    # The last process sees no image of "a.b", and the others no fourth image of "tile".
    alone = [i for i, name in enumerate(batch.category) if name == "tile" and i % 4 == 0]
    others = [i for i in range(GIVEN) if i not in alone]
    mine = alone if rank == world - 1 else others[rank :: world - 1]
    torch.save(everything(rows(prediction, batch, mine)), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_report_the_bits_of_one_process(world, tmp_path):
    port = 20_000 + (os.getpid() + 7 * world) % 20_000
    multiprocessing.spawn(one_process, args=(world, port, tmp_path), nprocs=world)
    alone = everything(made_up(GIVEN))
    bins = alone.pop("bins")
    for rank in range(world):
        joined = torch.load(tmp_path / f"{rank}.pt")
        for category, table in joined.pop("bins").items():
            assert torch.equal(table, bins[category])
        assert joined == alone
