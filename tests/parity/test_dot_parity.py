"""DOT-Prompt equals its published helpers, from what the detector says to the map, and in how it
reads answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.parity.saa_case import WordPiece
from zsad.backbones.grounded.grounding import Grounding
from zsad.methods.box_filter import BoxCandidates
from zsad.methods.dot import DOTPrompt
from zsad.prompts.defect_answers import published_words
from zsad.prompts.defect_vocabulary import WordTable

MAPS = 1e-5
SCORES = 1e-6
PIXELS = 1e-2
PUBLISHED = {"separator": ",", "normalization": "image"}


class Unasked(nn.Module):
    """A backbone that nobody looks through: the cases hold what it said."""

    def prepare_image(self, image: torch.Tensor) -> None:
        raise AssertionError("it was asked")


def read(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture
def dot_pipeline(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture
def dot_answers(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture
def dot_fusion(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


def compare(case: dict[str, Any], key: str, ours: Tensor, bound: float) -> None:
    """Compare with a stored array, if the case holds it."""
    if key in case:
        reference = torch.from_numpy(np.asarray(case[key])).double().reshape(ours.shape)
        torch.testing.assert_close(
            ours.double(), reference, atol=bound, rtol=0, msg=lambda m: f"{key}: {m}"
        )


def grounding(case: dict[str, Any], kind: str) -> Grounding:
    if f"{kind}_logits" not in case:
        pytest.skip(f"the file holds nothing of the {kind}")
    tokenizer = WordPiece(case["vocab"])
    scores, boxes = (
        torch.from_numpy(case[f"{kind}_logits"]).sigmoid(),
        torch.from_numpy(case[f"{kind}_boxes"]),
    )
    return Grounding(
        boxes,
        scores,
        torch.tensor(tokenizer.encode(str(case[f"{kind}_caption"]))),
        tokenizer.decode,
    )


def published(case: dict[str, Any]) -> DOTPrompt:
    thresholds = {
        key: float(case[key]) for key in ("box_threshold", "text_threshold", "size_threshold")
    }
    return DOTPrompt(
        Unasked(),
        WordTable(["defect"]),
        nms_iou=float(case["iou_threshold"]),
        **thresholds,
        **PUBLISHED,
    )


def size_of(case: dict[str, Any]) -> tuple[int, int]:
    height, width = (int(side) for side in case["image_hw"])
    return height, width


def test_the_object_is_the_best_box_of_its_caption(dot_pipeline: dict[str, Any]) -> None:
    method, said = published(dot_pipeline), grounding(dot_pipeline, "object")
    found = method.best_box(said)
    compare(dot_pipeline, "out_object_box", found.corners(size_of(dot_pipeline)), PIXELS)
    compare(dot_pipeline, "out_object_score", found.scores[0], SCORES)
    compare(dot_pipeline, "out_object_area", torch.tensor(method.object_area(said)), MAPS)
    if "out_object_phrase" in dot_pipeline:
        assert found.phrases == (str(dot_pipeline["out_object_phrase"]),)


def test_near_duplicates_of_better_boxes_go(dot_pipeline: dict[str, Any]) -> None:
    found = published(dot_pipeline).select_boxes(
        grounding(dot_pipeline, "anomaly"), size_of(dot_pipeline)
    )
    compare(dot_pipeline, "out_nms_boxes", found.corners(size_of(dot_pipeline)), PIXELS)
    compare(dot_pipeline, "out_nms_scores", found.scores, SCORES)
    if "out_nms_phrases" in dot_pipeline:
        assert list(found.phrases) == dot_pipeline["out_nms_phrases"].tolist()


def test_what_is_as_large_as_the_object_is_no_defect(dot_pipeline: dict[str, Any]) -> None:
    method, size = published(dot_pipeline), size_of(dot_pipeline)
    area = method.object_area(grounding(dot_pipeline, "object"))
    kept = method.select_small(method.select_boxes(grounding(dot_pipeline, "anomaly"), size), area)
    if "out_kept_none" in dot_pipeline:
        assert (len(kept) == 0) == bool(dot_pipeline["out_kept_none"])
    if len(kept):
        compare(dot_pipeline, "out_kept_boxes", kept.corners(size), PIXELS)
        compare(dot_pipeline, "out_kept_scores", kept.scores, SCORES)


def test_an_answer_is_read_as_published_but_for_its_order(dot_answers: dict[str, Any]) -> None:
    assert len(dot_answers["raw"])
    for answer, tags in zip(
        dot_answers["raw"].tolist(), dot_answers["sorted_tags"].tolist(), strict=True
    ):
        assert sorted(published_words(answer)) == sorted(
            tag.strip() for tag in tags if tag.strip()
        ), repr(answer)


def test_masks_become_the_published_map(dot_fusion: dict[str, Any]) -> None:
    method = DOTPrompt(Unasked(), WordTable(["defect"]), **PUBLISHED)
    assert len(dot_fusion["masks"])
    for i, n in enumerate(dot_fusion["num_masks"].tolist()):
        masks, scores = (torch.from_numpy(dot_fusion[key][i][:n]) for key in ("masks", "scores"))
        size = dot_fusion["masks"].shape[2:]
        found = BoxCandidates(torch.full((n, 4), 0.5), scores, ("defect",) * n)
        fused, runs = method.fuse(
            SimpleNamespace(size=size, masks=lambda _, masks=masks: one_by_one(masks)), found
        )
        assert len(runs) == n
        reference = torch.from_numpy(dot_fusion["fused"][i]).double()
        torch.testing.assert_close(
            method.normalize_map(fused).double(), reference, atol=MAPS, rtol=0
        )


def one_by_one(masks: Tensor) -> Iterator[Tensor]:
    yield from masks.bool().split(1)
