"""SAA+: masks of what words find, the heaviest of them fused; nothing found is no defect and no
crash.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.parity.saa_case import StoredWords
from zsad.backbones.grounded.grounded_sam import GroundedSAM
from zsad.backbones.grounded.grounding import Grounding
from zsad.config import compose, instantiate
from zsad.functional import rle, saliency
from zsad.functional.resample import upsample
from zsad.methods.box_filter import BoxCandidates
from zsad.methods.saa import SAA
from zsad.prompts.saa_captions import DefectPrompts

SIZE = (24, 32)
IMAGE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
WHOLE = [0.5, 0.5, 0.9, 0.9]  # boxes: centre, width and height
LEFT, RIGHT, SPOT = [0.25, 0.5, 0.4, 0.8], [0.75, 0.5, 0.4, 0.8], [0.3, 0.4, 0.2, 0.2]


class Detector(nn.Module):
    """Answers each caption with boxes and scores, and records its images and captions."""

    def __init__(self, **answers: list[tuple[list[float], float]]) -> None:
        super().__init__()
        self.answers, self.shown, self.asked = answers, [], []

    def check_captions(self, captions: Sequence[str]) -> None:
        pass

    def encode_image(self, image: Tensor) -> None:
        self.shown.append(image)

    def detect_from_features(self, seen: None, captions: Sequence[str]) -> list[Grounding]:
        self.asked.append(tuple(captions))
        return [self._say(caption) for caption in captions]

    def _say(self, caption: str) -> Grounding:
        answer = self.answers.get(caption, [])
        boxes, scores = [box for box, _ in answer], [[score] for _, score in answer]
        tokens = torch.tensor([7])
        return Grounding(
            torch.tensor(boxes).reshape(-1, 4),
            torch.tensor(scores).reshape(-1, 1),
            tokens,
            lambda _: caption,
        )


class Segmenter(nn.Module):
    """Takes each box for its mask, two at a time, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.shown, self.decoded = [], 0

    def encode_image(self, image: Tensor) -> tuple[int, int]:
        self.shown.append(image)
        return (image.shape[1], image.shape[2])

    def masks(self, embedding: tuple[int, int], boxes: Tensor) -> Iterator[Tensor]:
        rows, columns = torch.arange(embedding[0])[:, None] + 0.5, torch.arange(embedding[1]) + 0.5
        for part in boxes.split(2):
            self.decoded += len(part)
            yield torch.stack(
                [
                    (rows > y0) & (rows < y1) & (columns > x0) & (columns < x1)
                    for x0, y0, x1, y1 in part
                ]
            )


class Saliency(nn.Module):
    """Features of a grid of 8 × 8 that hang on the image, and a memory of what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.shown, self.sizes = [], []

    def stages(self, image: Tensor, size_px: int) -> list[Tensor]:
        self.shown.append(image)
        self.sizes.append(size_px)
        return [upsample(image, (side, side)) for side in (8, 4, 2)]


def ask(
    captions: Sequence[str] = ("crack",),
    *,
    object_count: int = 1,
    k_mask: int | None = None,
    defect_area_threshold: float | None = 0.9,
) -> StoredWords:
    pairs = tuple((caption, "nut") for caption in captions)
    return StoredWords(DefectPrompts(pairs, "nut", object_count, k_mask, defect_area_threshold))


def method(detector: Detector, words: StoredWords, **settings: Any) -> SAA:
    return SAA(GroundedSAM(detector, Segmenter(), Saliency()), words, **settings)


class ListedMasks(nn.Module):
    """The masks of boxes that tell their number by their left side, some at a time."""

    def __init__(self, masks: Tensor, chunk: int) -> None:
        super().__init__()
        self.kept, self.chunk, self.decoded = masks, chunk, 0

    def encode_image(self, image: Tensor) -> None:
        pass

    def masks(self, embedding: None, boxes: Tensor) -> Iterator[Tensor]:
        for part in boxes[:, 0].round().long().split(self.chunk):
            self.decoded += len(part)
            yield self.kept[part]


def numbered(scores: list[float]) -> BoxCandidates:
    """Return boxes of which the i-th begins at pixel i of an image of 1 × 100."""
    centres = (torch.arange(len(scores)) + 0.5) / 100
    boxes = torch.stack(
        [centres, torch.full_like(centres, 0.5), torch.full_like(centres, 0.01), centres], dim=1
    )
    return BoxCandidates(boxes, torch.tensor(scores), tuple(str(i) for i in range(len(scores))))


LEVELS = st.sampled_from([0.1, 0.2, 0.2000001, 0.3, 0.45, 0.9])


@given(
    st.lists(st.tuples(LEVELS, st.integers(0, 2**10 - 1)), min_size=0, max_size=14),
    st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5]), min_size=10, max_size=10),
    st.integers(1, 6),
    st.integers(1, 5),
    st.sampled_from([0.0, 1.0, 3.0]),
)
def test_leaving_boxes_without_a_mask_changes_nothing(
    boxes: list[tuple[float, int]], heat: list[float], k_mask: int, chunk: int, factor: float
) -> None:
    scores = [score for score, _ in boxes]
    bits = torch.tensor([[bit >> i & 1 for i in range(10)] for _, bit in boxes], dtype=torch.bool)
    masks, saliency_map = bits.reshape(-1, 1, 10), torch.tensor([heat])
    network = ListedMasks(masks, chunk)
    saa = SAA(GroundedSAM(nn.Identity(), network), ask(), saliency_factor=factor)
    given_heat = saliency_map if factor else None
    chosen = saa.weigh(
        saa.backbone.prepare_image(torch.zeros(3, 1, 100)), numbered(scores), given_heat, k_mask
    )
    means = [float(saliency_map[mask].mean()) if mask.any() else 0.0 for mask in masks]
    weights = [
        score * math.exp(factor * mean)
        for score, mean in zip(torch.tensor(scores).tolist(), means, strict=True)
    ]
    expected = sorted(weights, reverse=True)[:k_mask]
    torch.testing.assert_close(
        chosen.scores, torch.tensor(expected).float().reshape(-1), atol=1e-6, rtol=0
    )
    for phrase, weight, runs in zip(
        chosen.phrases, chosen.scores.tolist(), chosen.masks, strict=True
    ):
        assert weights[int(phrase)] == pytest.approx(weight, abs=1e-6)
        assert torch.equal(rle.decode(runs), masks[int(phrase)])
    everything = saa.weigh(
        saa.backbone.prepare_image(torch.zeros(3, 1, 100)), numbered(scores), given_heat, None
    )
    assert chosen.phrases == everything.phrases[:k_mask]


@pytest.mark.parametrize(("factor", "decoded"), [(0.0, 3), (1.0, 6), (3.0, 60)])
def test_low_saliency_means_fewer_decoded_masks(factor: float, decoded: int) -> None:
    """The less saliency can raise a weight the fewer masks are decoded."""
    network = ListedMasks(torch.ones(60, 1, 10, dtype=torch.bool), 3)
    saa = SAA(GroundedSAM(nn.Identity(), network), ask(), saliency_factor=factor)
    heat = torch.zeros(1, 10)
    heat[0, 0] = 0.5  # a peak, and masks that cover much besides
    scores = [0.9 - 0.1 * i for i in range(6)] + [0.25] * 54
    saa.weigh(saa.backbone.prepare_image(torch.zeros(3, 1, 100)), numbered(scores), heat, 3)
    assert network.decoded == decoded


def test_what_nothing_was_found_in_is_without_defect() -> None:
    saa = method(Detector(nut=[(WHOLE, 0.8)]), ask())
    prediction = saa(IMAGE[None], ["nut"])
    assert not prediction.map.any()
    assert prediction.score.isfinite().all()
    assert len(prediction.detections[0]) == 0
    assert saa.backbone.segmenter.shown == []
    found = method(Detector(nut=[(WHOLE, 0.8)], crack=[(SPOT, 0.11)]), ask())
    assert found(IMAGE[None], ["nut"]).score > prediction.score


def test_where_no_object_is_found_the_image_is_the_object() -> None:
    crack = [(SPOT, 0.5), (WHOLE, 0.6)]
    without = method(Detector(crack=crack), ask(defect_area_threshold=0.5)).explain(IMAGE, "nut")
    small = method(
        Detector(crack=crack, nut=[(LEFT, 0.5)]), ask(defect_area_threshold=0.1)
    ).explain(IMAGE, "nut")
    assert without.found.boxes.tolist()[0] == pytest.approx(SPOT)
    assert len(without.found) == 1
    assert not len(small.found)  # 0.04 of the image, and the object's 0.32 allows 0.032


def test_a_single_object_is_compared_with_the_rest_of_the_image() -> None:
    """One object where several are declared is compared with the rest of the image."""
    objects = {"nut": [(LEFT, 0.5)], "crack": [(SPOT, 0.5)]}
    several = method(Detector(**objects), ask(object_count=2)).explain(IMAGE, "nut")
    alone = method(Detector(**objects), ask(object_count=1)).explain(IMAGE, "nut")
    assert several.saliency is not None
    assert torch.equal(several.saliency, alone.saliency)


def test_objects_that_vanish_on_the_grid_are_passed_over() -> None:
    speck = [0.51, 0.51, 1e-3, 1e-3]
    two = Detector(nut=[(LEFT, 0.5), (RIGHT, 0.5), (speck, 0.5)], crack=[(SPOT, 0.5)])
    one = Detector(nut=[(LEFT, 0.5), (speck, 0.5)], crack=[(SPOT, 0.5)])
    compared = method(two, ask(object_count=2)).explain(IMAGE, "nut").saliency
    features = saliency.join_stages(Saliency().stages(IMAGE, 0))
    masks = torch.cat(
        list(
            Segmenter().masks(
                SIZE,
                BoxCandidates(torch.tensor([LEFT, RIGHT]), torch.ones(2), ("", "")).corners(SIZE),
            )
        )
    )
    torch.testing.assert_close(
        compared, upsample(saliency.between_objects(features, masks)[None], SIZE)[0]
    )
    left = method(one, ask(object_count=2)).explain(IMAGE, "nut").saliency
    torch.testing.assert_close(left, upsample(saliency.farthest_mean(features, 400)[None], SIZE)[0])


def test_plain_saa_needs_no_saliency_network() -> None:
    """Saa without plus asks for defects alone and needs no saliency network."""
    detector = Detector(crack=[(SPOT, 0.5), (WHOLE, 0.3)], nut=[(LEFT, 0.9)])
    backbone = GroundedSAM(detector, Segmenter(), None)
    saa = SAA(backbone, ask(defect_area_threshold=None), saliency_factor=0.0)
    explained = saa.explain(IMAGE, "nut")
    assert detector.asked == [("crack",)]
    assert (explained.objects, explained.saliency) == (None, None)
    assert explained.detections.scores.tolist() == pytest.approx([0.5, 0.3])


def test_each_network_runs_once_for_an_image() -> None:
    """Each network sees an image once and all captions are asked together."""
    detector = Detector(nut=[(LEFT, 0.5), (RIGHT, 0.5)], crack=[(SPOT, 0.5)], hole=[(SPOT, 0.4)])
    saa = method(detector, ask(("crack", "hole"), object_count=2))
    saa(IMAGE[None], ["nut"])
    assert detector.asked == [("nut", "crack", "hole")]
    assert [
        len(part.shown) for part in (detector, saa.backbone.segmenter, saa.backbone.saliency)
    ] == [1, 1, 1]
    assert saa.backbone.saliency.sizes == [1024]


def test_published_colours_are_exchanged_but_for_the_detector() -> None:
    """Published colours are exchanged for all but the detector."""
    detector = Detector(nut=[(LEFT, 0.5)], crack=[(SPOT, 0.5)])
    saa = method(detector, ask(), legacy_bgr=True)
    saa(IMAGE[None], ["nut"])
    assert torch.equal(detector.shown[0], IMAGE)
    assert torch.equal(saa.backbone.segmenter.shown[0], IMAGE.flip(0))
    assert torch.equal(saa.backbone.saliency.shown[0], IMAGE.flip(0))


def test_a_single_mask_counts_half_in_code_and_whole_in_paper() -> None:
    """One mask alone counts half in the code and whole in the paper."""
    detector = Detector(crack=[(SPOT, 0.5)])
    code = method(detector, ask(), saliency_factor=0.0).explain(IMAGE, "nut")
    paper = method(detector, ask(), saliency_factor=0.0, fusion="paper").explain(IMAGE, "nut")
    assert float(code.raw_map.max()) == pytest.approx(0.25)
    assert float(paper.raw_map.max()) == pytest.approx(0.5)


def test_duplicates_go_where_that_is_asked_for() -> None:
    detector = Detector(crack=[(SPOT, 0.5)], hole=[(SPOT, 0.4), (LEFT, 0.3)])
    asked = ask(("crack", "hole"))
    assert method(detector, asked).explain(IMAGE, "nut").found.phrases == ("crack", "hole", "hole")
    assert method(detector, asked, nms_iou=0.9).explain(IMAGE, "nut").found.phrases == (
        "crack",
        "hole",
    )


def test_the_map_follows_from_the_detections_and_keeps_its_range() -> None:
    """The map is what the detections say and stays in its range."""
    saa = method(Detector(nut=[(WHOLE, 0.9)], crack=[(SPOT, 0.99), (LEFT, 0.6)]), ask(k_mask=1))
    prediction = saa(torch.stack([IMAGE, 1 - IMAGE]), ["nut", "nut"])
    assert prediction.map.shape == (2, *SIZE)
    assert prediction.map.dtype == torch.float32
    assert 0 <= prediction.map.min() <= prediction.map.max() <= 1
    peak = prediction.map.flatten(1).amax(1)
    torch.testing.assert_close(prediction.probability.float(), peak, atol=1e-5, rtol=0)
    for anomaly_map, detections in zip(prediction.map, prediction.detections, strict=True):
        assert len(detections) == len(detections.masks) == 1
        inside = rle.decode(detections.masks[0])
        assert torch.equal(anomaly_map > 0, inside)
        torch.testing.assert_close(
            anomaly_map[inside].amax() * math.exp(1.5) * 2, detections.scores[0]
        )
    alone = saa(1 - IMAGE[None], ["nut"])
    assert torch.equal(alone.map[0], prediction.map[1])


def test_autocast_of_the_trainer_does_not_reach_the_arithmetic() -> None:
    saa = method(Detector(crack=[(SPOT, 0.5)]), ask())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = saa(IMAGE[None], ["nut"])
    assert torch.equal(half.map, saa(IMAGE[None], ["nut"]).map)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": "mean"}, "fusion='mean': expected one of code, paper"),
        ({"saliency_factor": -1.0}, r"saliency_factor=-1\.0: expected 0"),
        ({"farthest": 0}, "farthest=0: expected a number of 1 or more"),
        ({"image_px": 0}, "image_px=0: expected a number of 1 or more"),
        ({"box_threshold": 1.5}, r"box_threshold=1\.5: expected a number from 0 to 1"),
        ({"nms_iou": 0.0}, r"nms_iou=0\.0: expected a share above 0, such as 0\.9"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method(Detector(), ask(), **settings)


def test_cached_masks_give_the_same_map_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another choice of masks comes from what was kept to the last bit."""
    given = ["model=saa_plus", "backbone=grounded_sam_random", "paths.output_dir=/nowhere"]
    kept, other = f"backbone.cache={tmp_path}", "model.method.prompts.general.k_mask=2"
    instantiate.build(compose.compose_config("test", [*given, kept]).model).method(
        IMAGE[None], ["nut"]
    )
    again = instantiate.build(
        compose.compose_config("test", [*given, kept, other, "model.method.nms_iou=0.95"]).model
    ).method
    fresh = instantiate.build(
        compose.compose_config("test", [*given, other, "model.method.nms_iou=0.95"]).model
    ).method
    expected = fresh(IMAGE[None], ["nut"])
    for network, verb in (
        (again.backbone.detector, "encode_image"),
        (again.backbone.saliency, "stages"),
    ):
        monkeypatch.setattr(network, verb, None)  # would not survive being asked
    recalled = again(IMAGE[None], ["nut"])
    assert torch.equal(recalled.map, expected.map)
    assert expected.map.any()
    assert recalled.detections[0].phrases == expected.detections[0].phrases
