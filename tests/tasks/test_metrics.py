"""The shells add nothing to the maths: any batches, any processes, any category give what one ranking gives."""

import math
import os
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from torch import multiprocessing

from zsad.maths import curves
from zsad.tasks.metrics import CategoryMetrics, ImageMetrics, PixelMetrics
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
    strings = {name: tuple(getattr(batch, name)[i] for i in index) for name in ("category", "defect", "path")}
    tensors = {name: getattr(batch, name)[index] for name in ("image", "mask", "has_mask", "is_anomalous")}
    return Prediction(prediction.map[index], prediction.score[index]), Batch(**tensors, **strings)


def measured(*parts, categories=("tile", "a.b"), image=None, pixel=None):
    metrics = CategoryMetrics(categories, IMAGE if image is None else image, PIXEL if pixel is None else pixel)
    for prediction, batch in parts:
        metrics.update(prediction, batch)
    return metrics.compute()


def test_each_category_is_ranked_by_itself_and_the_mean_is_unweighted():
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
        assert results.images[category] == ((~batch.is_anomalous[own]).sum(), batch.is_anomalous[own].sum())
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
            dict.fromkeys(IMAGE, "no image with ground truth") | dict.fromkeys(PIXEL, "no pixel with ground truth"),
        ),
    ],
)
def test_what_is_undefined_has_a_reason_and_stays_out_of_the_mean(index, has_mask, reasons):
    prediction, batch = made_up(4, categories=("tile",))
    batch.has_mask[:] = has_mask
    other = made_up(6, categories=("a.b",), seed=1)
    results = measured(rows(prediction, batch, index), other)
    assert results.reasons["tile"] == reasons
    assert {name for name, value in results.values["tile"].items() if math.isnan(value)} == set(reasons)
    for name in reasons:
        assert results.mean[name] == results.values["a.b"][name]


def test_a_metric_no_category_defines_has_no_mean():
    results = Results(values={"tile": {"image_auroc": math.nan}}, reasons={}, images={})
    assert math.isnan(results.mean["image_auroc"])


def test_constant_maps_explain_why_the_papers_aupro_is_missing():
    prediction, batch = made_up(4, categories=("tile",))
    constant = Prediction(torch.full_like(prediction.map, 0.5), prediction.score)
    results = measured((constant, batch), categories=("tile",), pixel={"pixel_aupro_200": curves.aupro_200})
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


def test_without_pixel_metrics_no_map_is_kept():
    pixel = PixelMetrics({})
    prediction, batch = made_up(4)
    pixel.update(prediction.map, batch.mask, batch.has_mask)
    assert pixel.normal == []


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
    assert measured((half, batch), categories=("tile",)).values["tile"]["pixel_auroc"] == pytest.approx(expected)


def test_image_scores_keep_their_order_in_double_precision():
    images = ImageMetrics(IMAGE)
    images.update(torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64), torch.tensor([False, True]))
    assert images.compute().values["image_auroc"] == 1.0


@pytest.mark.parametrize("stem", ["default", "image_only"])
def test_every_line_of_the_configuration_names_a_function_over_rankings(stem):
    conf = yaml.safe_load((CONF / f"{stem}.yaml").read_text())
    built = {}
    for kind in ("image", "pixel"):
        for name, line in conf[kind].items():
            assert name.startswith(f"{kind}_")
            arguments = {key: value for key, value in line.items() if not key.startswith("_")}
            built[name] = partial(getattr(curves, line["_target_"].rpartition(".")[2]), **arguments)
    prediction, batch = made_up(9)
    ranking = curves.rank_pixels(prediction.map, batch.mask)
    assert all(0 <= metric(ranking) <= 1 for metric in built.values())


def one_process(rank, world, port, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    prediction, batch = made_up(11)
    # Process 1 sees no image of "a.b", and none of its images has a mask.
    mine = [i for i, name in enumerate(batch.category) if (name == "tile" and i % 4 == 0) == (rank == 1)]
    prediction, part = rows(prediction, batch, mine)
    torch.save(vars_of(measured((prediction, part))), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def vars_of(results):
    return {"values": results.values, "reasons": results.reasons, "images": results.images}


def test_two_processes_report_what_one_process_reports(tmp_path):
    port = 20_000 + os.getpid() % 20_000
    multiprocessing.spawn(one_process, args=(2, port, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first == second
    alone = measured(made_up(11))
    assert first["images"] == alone.images
    for category, row in alone.values.items():
        assert first["values"][category] == pytest.approx(row, abs=1e-12)
