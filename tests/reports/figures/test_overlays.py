"""What a detector found is drawn where it is, the best alone, and said beside the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.callbacks.test_heatmaps import TRAINER, batch_of
from zsad.callbacks.heatmaps import HeatmapWriter
from zsad.functional import rle
from zsad.reports.figures import detection_overlay
from zsad.reports.figures.detection_overlay import (
    DETECTION_COLOURS,
    LABEL_PX,
    count_detections,
    draw_detections,
)
from zsad.reports.figures.overlays import draw_overlay
from zsad.types import Detections, Prediction

GREY = np.full((200, 300, 3), 128, np.uint8)
SEEN = (100, 150)  # the method saw the picture at half the size


def detections(boxes, masks=(), phrases=None):
    scores = torch.linspace(0.9, 0.1, len(boxes))
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        scores,
        tuple(phrases or ["crack"] * len(boxes)),
        tuple(rle.encode(mask) for mask in masks),
    )


def pixels(picture, colour):
    """Rows and columns between which a colour is found."""
    rows, columns = (picture == np.array(colour)).all(axis=2).nonzero()
    return (rows.min(), columns.min(), rows.max(), columns.max()) if len(rows) else None


def test_a_box_is_drawn_at_the_size_of_the_picture():
    drawn = draw_detections(GREY, detections([[40, 30, 60, 80]]), SEEN)
    assert pixels(drawn[:, :300], DETECTION_COLOURS[0]) == (60, 80, 159, 119)
    assert (GREY == 128).all()


def test_boxes_end_at_the_border_of_the_picture():
    drawn = draw_detections(GREY, detections([[-40, 30, 60, 180], [200, 30, 260, 50]]), SEEN)
    assert pixels(drawn[:, :300], DETECTION_COLOURS[0]) == (60, 0, 199, 119)
    assert drawn.shape[0] == 200


def test_masks_are_outlined_in_the_colour_of_their_box():
    mask = torch.zeros(SEEN, dtype=torch.bool)
    mask[40:60, 45:55] = True
    with_mask = draw_detections(GREY, detections([[40, 30, 60, 80]], [mask]), SEEN)
    without = draw_detections(GREY, detections([[40, 30, 60, 80]]), SEEN)
    rows, columns = (with_mask != without).any(axis=2).nonzero()
    edges = np.array([rows.min(), rows.max(), columns.min(), columns.max()])
    assert (
        abs(edges - (80, 119, 90, 109)).max() <= 3
    )  # a line of one pixel, its rim, and what smooths it
    coloured = [
        (one[:, :300, 2] > one[:, :300, 0] + 40.0).sum() for one in (with_mask, without)
    ]  # the first is blue
    assert coloured[0] > coloured[1] + 80


def test_the_ten_best_are_drawn_however_many_there_are():
    boxes = [[10 * i, 0, 10 * i + 8, 50] for i in range(12)]
    drawn = draw_detections(GREY, detections(boxes), SEEN)
    assert all(pixels(drawn[:, :300], colour) for colour in DETECTION_COLOURS)
    assert (drawn[30:, 200:300] == 128).all()  # where the eleventh and the twelfth would be


def test_the_numbers_of_duplicates_stand_side_by_side():
    drawn = draw_detections(GREY, detections([[40, 30, 60, 80]] * 3), SEEN)[:, :300]
    filled = [
        (drawn[60:77, 80:140] == np.array(colour)).all(axis=2).sum()
        for colour in DETECTION_COLOURS[:3]
    ]
    assert min(filled) > LABEL_PX**2 / 2


def test_numbers_stay_inside_the_picture():
    corners = detection_overlay._free_corners(
        [(299, 199, 299, 199), (300, 0, 300, 5), (0, 0, 5, 5)], (300, 200)
    )
    assert corners == [(300 - LABEL_PX, 200 - LABEL_PX), (300 - LABEL_PX, 0), (0, 0)]


def test_the_legend_is_in_the_order_of_the_scores(monkeypatch):
    """Score and phrase stand beside the image."""
    said = []
    monkeypatch.setattr(detection_overlay, "_legend", lambda lines: said.extend(lines) or GREY)
    draw_detections(
        GREY, Detections(torch.zeros(2, 4), torch.tensor([0.25, 0.75]), ("hole", "crack")), SEEN
    )
    assert said == ["0.75 crack", "0.25 hole"]


def test_a_panel_shows_that_nothing_was_found():
    """Methods without a detector have no such panel."""
    image, anomaly_map = torch.rand(3, 100, 150), torch.rand(100, 150)
    none, nothing = (
        draw_overlay(image, anomaly_map, detections=one) for one in (None, detections([]))
    )
    assert nothing.shape[1] >= none.shape[1] + 150


@pytest.mark.parametrize(
    ("number", "title"), [(0, "found: nothing"), (3, "found: 3"), (12, "found: 12, the best 10")]
)
def test_the_title_says_how_many(number, title):
    assert count_detections(number) == title


def test_heat_maps_have_a_panel_of_detections(tmp_path):
    """Large photographs become smaller."""
    widths = {}
    for name, one in (("without", ()), ("with", (detections([[4, 3, 9, 9]]),))):
        batch, writer = batch_of([f"{name}.png"], has_mask=False), HeatmapWriter(tmp_path)
        writer.on_predict_epoch_start(TRAINER, None)
        writer.on_predict_batch_end(
            TRAINER, None, Prediction(batch.mask.float(), torch.zeros(1), one), batch, 0
        )
        widths[name] = Image.open(tmp_path / "tile" / f"{name}.png").width
    assert widths["with"] > widths["without"] + 256
    batch, writer = batch_of([Path("large.png")], has_mask=False), HeatmapWriter(tmp_path)
    large = Prediction(torch.zeros(1, 300, 3000), torch.zeros(1))
    writer.on_predict_batch_end(TRAINER, None, large, batch, 0)
    assert 2048 < Image.open(tmp_path / "tile" / "large.png").width < 2300
