"""SAA+ equals its published code, from what the detector says to the map, wherever that code does
not crash.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.parity import saa_case
from zsad.backbones.grounded.box_segmenter import letterbox
from zsad.backbones.grounded.grounded_sam import GroundedSAM
from zsad.backbones.grounded.grounding import Grounding
from zsad.config import compose, instantiate
from zsad.functional.resample import upsample
from zsad.methods.box_filter import BoxCandidates, filter_boxes
from zsad.methods.saa import SAA, Explained
from zsad.prompts.saa_captions import DefectPrompts, DefectWords
from zsad.prompts.saa_rows import read_property

MAPS = 1e-5
SCORES = 1e-6
PIXELS = 1e-2
STORED_UNDER = {
    ("mtd", "ksdd2"): "mtd"
}  # the published program's slip, as the golden file keeps it


def read(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture
def saa_properties(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture
def saa_suppression(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture
def saa_proposals(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture
def saa_chain(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture
def saa_masks(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


def compare(case: dict[str, Any], key: str, ours: Tensor, bound: float) -> None:
    """Compare with a stored array, if the case holds it."""
    if key in case:
        reference = torch.from_numpy(np.asarray(case[key]))
        torch.testing.assert_close(
            ours.double(), reference.double(), atol=bound, rtol=0, msg=lambda m: f"{key}: {m}"
        )


def words() -> DefectWords:
    config = compose.compose_config(
        "test", ["model=saa_plus", "backbone=grounded_sam_random", "paths.output_dir=/nowhere"]
    )
    return instantiate.build(config.model.method.prompts)


def test_the_published_numbers_of_every_category(saa_properties: dict[str, Any]) -> None:
    ours = words()
    for row, (dataset, name) in enumerate(
        zip(saa_properties["dataset"], saa_properties["class_name"], strict=True)
    ):
        ours.set_dataset(str(dataset))
        asked = ours.prompts(STORED_UNDER.get((str(dataset), str(name)), str(name)))
        assert len(asked.captions) > 3, f"{dataset} {name} has no expert words"
        numbers = {
            "object_prompt": asked.object_prompt,
            "object_number": asked.object_count,
            "k_mask": asked.k_mask,
            "defect_area_threshold": asked.defect_area_threshold,
            "object_max_area": 1 / asked.object_count,
            "object_min_area": 0,
        }
        for key in numbers.keys() & saa_properties.keys():
            assert numbers[key] == saa_properties[key][row].item(), f"{dataset} {name}: {key}"


def test_the_published_sentence_carries_these_numbers(saa_properties: dict[str, Any]) -> None:
    for row, name in enumerate(saa_properties["class_name"]):
        prompt, alike = (
            str(saa_properties["object_prompt"][row]),
            str(saa_properties["similar"][row]),
        )
        count, k_mask = (
            int(saa_properties["object_number"][row]),
            int(saa_properties["k_mask"][row]),
        )
        share = float(saa_properties["defect_area_threshold"][row])
        said = read_property(
            f"the image of {name} have {count} {alike} {prompt} "
            f"with a maximum of {k_mask} anomaly. "
            f"The anomaly would not exceed {share} object area. "
        )
        numbers = (said.object_prompt, said.object_count, said.k_mask, said.defect_area_threshold)
        assert numbers == (prompt, count, k_mask, share)


def test_which_boxes_are_believed_and_what_they_are_called(saa_suppression: dict[str, Any]) -> None:
    case, tokenizer = saa_suppression, saa_case.WordPiece(saa_suppression["vocab"])
    ids = tokenizer.encode(str(case["caption"]))
    assert ids == case["input_ids"].tolist()
    boxes, scores = (torch.from_numpy(case[key]) for key in ("boxes_cxcywh", "token_scores"))
    found = filter_boxes(
        Grounding(boxes, scores, torch.tensor(ids), tokenizer.decode),
        filter_word=str(case["filtered_phrase"]),
        **{
            key: float(case[key])
            for key in ("box_threshold", "text_threshold", "max_area", "min_area")
        },
    )
    assert (len(found) == 0) == bool(case["is_none"])
    if len(found):
        compare(case, "kept_boxes", found.boxes, 0)
        compare(case, "kept_scores", found.scores, SCORES)
        assert list(found.phrases) == case["kept_phrases"].tolist()
        torch.testing.assert_close(
            boxes[torch.from_numpy(case["kept_index"])], found.boxes, atol=0, rtol=0
        )


def test_boxes_and_masks_of_several_captions(saa_proposals: dict[str, Any]) -> None:
    case, size = saa_proposals, (int(saa_proposals["height"]), int(saa_proposals["width"]))
    frame = torch.tensor(letterbox(size, saa_case.side_of(case)))
    compare(case, "sam_input_hw", frame, 0)
    captions = tuple(
        zip(map(str, case["captions"]), map(str, case["filtered_phrases"]), strict=True)
    )
    asked = DefectPrompts(captions, saa_case.NOWHERE, 1, None, float(case["max_area"]))
    method = saa_case.method_of(case, asked)
    look = method.backbone.prepare_image(torch.zeros(3, *size))
    _, found = method.search(look, asked)
    found = found.select((found.areas > float(case.get("min_area", 0))).nonzero()[:, 0])
    if not len(found):  # there, one mask without a pixel stands for that
        assert "out_masks" not in case or not case["out_masks"].any()
        return
    boxes = found.corners(size)
    compare(case, "out_scores", found.scores, SCORES)
    compare(case, "out_pixel_boxes", boxes, PIXELS)
    compare(case, "out_sam_boxes", saa_case.sam_boxes(found, size, saa_case.side_of(case)), PIXELS)
    compare(case, "out_max_box_area", found.areas.max(), SCORES)
    if "out_masks" in case:
        masks = np.unpackbits(case["out_masks"], axis=-1, count=int(case["masks_width"]))
        compare({"masks": masks}, "masks", torch.cat(list(look.masks(boxes))), 0)


def explain(case: dict[str, Any], **settings: Any) -> tuple[SAA, Explained]:
    captions = tuple(
        zip(map(str, case["captions"]), map(str, case["filtered_phrases"]), strict=True)
    )
    numbers = (
        int(case["object_number"]),
        int(case["k_mask"]),
        float(case["defect_area_threshold"]),
    )
    method = saa_case.method_of(
        case, DefectPrompts(captions[1:], str(case["object_prompt"]), *numbers), **settings
    )
    return method, method.explain(torch.zeros(3, *case["image_hw"].tolist()), "candle")


def test_the_whole_way_from_an_image_to_its_map(saa_chain: dict[str, Any]) -> None:
    case, (height, width), side = (
        saa_chain,
        saa_chain["image_hw"].tolist(),
        saa_case.side_of(saa_chain),
    )
    method, explained = explain(case)
    objects, found = explained.objects, explained.found
    assert objects is not None
    compare(
        case, "out_object_sam_boxes", saa_case.sam_boxes(objects, (height, width), side), PIXELS
    )
    if len(found):
        compare(
            case, "out_defect_sam_boxes", saa_case.sam_boxes(found, (height, width), side), PIXELS
        )
    compare(
        case,
        "out_defect_max_area",
        objects.areas.max() * float(case["defect_area_threshold"]),
        SCORES,
    )
    assert explained.saliency is not None
    compare(case, "out_similarity_map", explained.saliency, MAPS)
    if "out_anomaly_map" in case:
        compare(case, "out_anomaly_map", _resized(explained.raw_map, case), MAPS)
    if "sam_set_image_calls" in case:
        # There the image is encoded even if nothing is to be outlined.
        assert method.backbone.segmenter.encoded <= case["sam_set_image_calls"]
        assert method.backbone.segmenter.encoded or not len(found)


class StoredMasks(torch.nn.Module):
    """A segmenter that knows the mask of each box of a golden case."""

    def __init__(self, boxes: Tensor, masks: Tensor) -> None:
        super().__init__()
        self.boxes, self.kept = boxes, masks

    def encode_image(self, image: Tensor) -> None:
        pass

    def masks(self, embedding: None, boxes: Tensor):
        for box in boxes:
            yield self.kept[[int((self.boxes - box).abs().sum(dim=1).argmin())]]


def test_weights_choice_and_fusion_of_given_masks(saa_masks: dict[str, Any]) -> None:
    case, masks, heat = (
        saa_masks,
        torch.from_numpy(saa_masks["masks"]),
        torch.from_numpy(saa_masks["similarity_map"]),
    )
    scores, size = torch.from_numpy(saa_masks["scores"]), (heat.shape[0], heat.shape[1])
    centres = (torch.arange(len(scores)) + 0.5) / len(scores)
    found = BoxCandidates(
        centres[:, None].repeat(1, 4), scores, tuple(map(str, range(len(scores))))
    )
    segmenter = StoredMasks(found.corners(size), masks)
    method = SAA(
        GroundedSAM(torch.nn.Identity(), segmenter),
        saa_case.StoredWords(DefectPrompts((), "", 1, None, None)),
    )
    look = method.backbone.prepare_image(torch.zeros(3, *size))
    every = method.weigh(look, found, heat, None)
    rows = torch.tensor([int(phrase) for phrase in every.phrases])
    compare(case, "rescored", torch.zeros(len(scores)).scatter(0, rows, every.scores), MAPS)
    chosen = method.weigh(look, found, heat, int(case["k_mask"]))
    if {"selected", "rescored"} <= case.keys():
        selected = np.sort(case["rescored"][case["selected"]])[::-1]
        np.testing.assert_allclose(chosen.scores.numpy(), selected, atol=MAPS)
    fused = method.fuse(chosen, size)
    if case.get("has_native", False):
        compare(case, "native_map", fused, MAPS)
    if "anomaly_map" in case:
        compare(case, "anomaly_map", _resized(fused, case), MAPS)


def _resized(raw_map: Tensor, case: dict[str, Any]) -> Tensor:
    side = int(case["out_size"])
    return upsample(raw_map[None], (side, side))[0]


def test_the_highest_weight_bounds_the_map(saa_chain: dict[str, Any]) -> None:
    method, explained = explain(saa_chain)
    prediction = method(torch.zeros(1, 3, *saa_chain["image_hw"].tolist()), ["candle"])
    bound = math.exp(1.5)
    torch.testing.assert_close(
        prediction.map[0].double() * bound, explained.raw_map, atol=1e-6, rtol=0
    )
