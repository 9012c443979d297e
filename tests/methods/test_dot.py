"""DOT-Prompt: what the object is called, what is looked for, and what becomes of the boxes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from zsad.backbones.grounded.grounding import Grounding
from zsad.backbones.grounded.grounding_dino import normalize_caption
from zsad.config import compose, instantiate
from zsad.functional import rle
from zsad.methods.dot import FUSIONS, DOTPrompt
from zsad.prompts.defect_vocabulary import WordTable
from zsad.prompts.object_tagger import StaticTagger
from zsad.types import Detections

TABLE = WordTable(["flaw"], {"nut": ["scratch", "dent"], "leather": ["fold"]}, always=False)
VARIANTS = ["dot", "dot_base", "dot_no_filter", "dot_no_llm", "dot_published", "dot_single_image"]
Said = dict[
    str, list[tuple[tuple[float, float, float, float], float]]
]  # a word → boxes (cx, cy, w, h) and scores


class FakeGroundedImage:
    """Finds in a picture the words that it is told are there; outlines a box by the box itself."""

    def __init__(self, image: Tensor, said: Said, asked: list[str]) -> None:
        self.size, self.said, self.asked = (image.shape[1], image.shape[2]), said, asked

    def detect(self, captions: Sequence[str]) -> list[Grounding]:
        self.asked += captions
        return [self._grounding(caption) for caption in captions]

    def masks(self, boxes: Tensor) -> Iterator[Tensor]:
        for x0, y0, x1, y1 in boxes.round().long().tolist():
            mask = torch.zeros(1, *self.size, dtype=torch.bool)
            mask[0, y0:y1, x0:x1] = True
            yield mask

    def _grounding(self, caption: str) -> Grounding:
        tokens = caption.replace(",", " ,").replace(".", " .").split()
        known = {word: tokens.index(word) for word in self.said if word in tokens}
        rows = [
            (box, score, column) for word, column in known.items() for box, score in self.said[word]
        ]
        scores = torch.zeros(len(rows) + 1, len(tokens))
        for row, (_, score, column) in enumerate(rows):
            scores[row, column] = score
        boxes = torch.tensor([*(box for box, _, _ in rows), (0.5, 0.5, 0.1, 0.1)])
        ids = torch.arange(len(tokens))
        return Grounding(boxes, scores, ids, lambda some: " ".join(tokens[one] for one in some))


class FakeBackbone(nn.Module):
    def __init__(self, *said: Said) -> None:
        super().__init__()
        self.said, self.asked, self.looks = said, [], 0

    def prepare_image(self, image: Tensor) -> FakeGroundedImage:
        """The brightness of a picture says which of the answers is its own."""
        self.looks += 1
        return FakeGroundedImage(image, self.said[round(float(image[0, 0, 0]) * 10)], self.asked)


def picture(number: int = 0, size: tuple[int, int] = (40, 60)) -> Tensor:
    return torch.full((3, *size), number / 10)


def method(*said: Said, tagger: Any = None, **settings: Any) -> DOTPrompt:
    return DOTPrompt(FakeBackbone(*said), TABLE, tagger, **settings)


def detections(of: DOTPrompt, number: int = 0, category: str = "nut") -> Detections:
    return of(picture(number)[None], [category]).detections[0]


OBJECT = (0.5, 0.5, 0.8, 0.5)  # 0.4 of the picture
SMALL, LARGE = (0.25, 0.5, 0.1, 0.1), (0.5, 0.5, 0.8, 0.45)


def test_a_defect_is_smaller_than_a_share_of_the_object() -> None:
    """Only what is smaller than a share of the object is a defect."""
    said: Said = {"nut": [(OBJECT, 0.9)], "scratch": [(SMALL, 0.5)], "dent": [(LARGE, 0.6)]}
    assert detections(method(said, name_object=False)).phrases == ("scratch",)
    assert detections(method(said, name_object=False, size_threshold=0.95)).phrases == (
        "dent",
        "scratch",
    )
    assert detections(method(said, name_object=False, size_threshold=None)).phrases == (
        "dent",
        "scratch",
    )


def test_an_object_that_is_not_found_is_the_whole_picture() -> None:
    assert detections(method({"dent": [(LARGE, 0.6)]})).phrases == ("dent",)
    assert len(detections(method({"dent": [((0.5, 0.5, 0.9, 0.9), 0.6)]}))) == 0


def test_nothing_found_is_a_map_of_zeros_and_the_lowest_score() -> None:
    nothing = method({})
    found = nothing(picture()[None], ["nut"])
    assert not found.map.any()
    assert len(found.detections[0]) == 0
    something = method({"dent": [(SMALL, 0.11)]})
    assert found.score[0] < something(picture()[None], ["nut"]).score[0]
    assert found.score.isfinite().all()


@pytest.mark.parametrize("normalization", ["none", "image"])
@pytest.mark.parametrize(("fusion", "inside"), [("sum", 1.1), ("mean", 0.55), ("max", 0.6)])
def test_masks_are_joined_as_is_said(fusion: str, inside: float, normalization: str) -> None:
    said: Said = {"dent": [((0.25, 0.5, 0.3, 0.2), 0.5)], "scratch": [((0.35, 0.5, 0.3, 0.2), 0.6)]}
    ours = method(said, fusion=fusion, normalization=normalization)
    look = ours.backbone.prepare_image(picture())
    fused, runs = ours.fuse(look, ours.select_boxes(look.detect(["scratch. dent."])[0], look.size))
    both, one, none = fused[20, 18], fused[20, 7], fused[0, 0]
    assert [round(float(value), 6) for value in (both, one, none)] == [inside, 0.5, 0.0]
    assert sum(rle.decode(run).sum() for run in runs) == 2 * 18 * 8
    scaled = ours.normalize_map(fused)
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    assert scaled[20, 18] > scaled[20, 7] > scaled[0, 0] == 0


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6), st.sampled_from(sorted(FUSIONS)))
def test_scaling_keeps_the_order_and_stays_within_zero_and_one(
    values: list[float], fusion: str
) -> None:
    row = torch.tensor([values], dtype=torch.float64) / (1 if fusion == "sum" else 100)
    for normalization in ("none", "image"):
        scaled = method({}, fusion=fusion, normalization=normalization).normalize_map(row)
        assert scaled.min() >= 0
        assert scaled.max() <= 1
        assert (scaled[0, row[0].argsort()].diff() >= 0).all()


def test_stretched_maps_score_alike_and_a_constant_one_is_zero() -> None:
    """Stretched by itself every picture with a box scores alike and a constant map is zero."""
    faint, clear = {"dent": [(SMALL, 0.2)]}, {"dent": [(SMALL, 0.9)]}
    stretched = method(faint, clear, normalization="image")(
        torch.stack([picture(0), picture(1)]), ["nut"] * 2
    )
    assert stretched.score[0] == stretched.score[1]
    kept = method(faint, clear)(torch.stack([picture(0), picture(1)]), ["nut"] * 2)
    assert kept.score[0] < kept.score[1]
    assert not method({}, normalization="image").normalize_map(torch.full((2, 2), 0.3)).any()


def test_the_score_of_a_sum_is_its_logarithm() -> None:
    one = method({"dent": [(SMALL, 0.4)]})(picture()[None], ["nut"])
    torch.testing.assert_close(one.score, torch.tensor([0.4]).log())


def test_near_duplicates_go_and_the_best_box_comes_first() -> None:
    """Near duplicates of better boxes go and the best comes first."""
    shifted = (SMALL[0] + 0.01, *SMALL[1:])
    said: Said = {"dent": [(shifted, 0.3), (SMALL, 0.5)], "scratch": [((0.75, 0.5, 0.1, 0.1), 0.7)]}
    assert detections(method(said)).scores.tolist() == pytest.approx([0.7, 0.5])
    assert detections(method(said, nms_iou=None)).scores.tolist() == pytest.approx([0.7, 0.5, 0.3])


def test_boxes_are_reported_unclamped_and_outlined_inside() -> None:
    """Boxes are reported as they are and outlined within the picture."""
    found = detections(method({"dent": [((0.0, 0.5, 0.2, 0.2), 0.5)]}))
    assert found.boxes.tolist() == [pytest.approx([-6, 16, 6, 24])]
    assert rle.decode(found.masks[0]).sum() == 6 * 8


@pytest.mark.parametrize(
    ("settings", "caption"),
    [
        ({}, "scratch. dent. nut."),
        ({"name_object": False}, "scratch. dent."),
        ({"separator": ","}, ". scratch, dent, nut."),
        ({"separator": ",", "name_object": False}, "scratch, dent."),
    ],
)
def test_captions_are_written_as_is_said(settings: dict[str, Any], caption: str) -> None:
    assert method({}, **settings).caption(["scratch", "dent"], "nut") == caption


def test_an_object_that_is_among_the_words_is_named_once() -> None:
    assert method({}).caption(["scratch", "nut", "dent"], "nut") == "scratch. nut. dent."


def test_the_object_is_the_best_of_the_tags_and_its_words_follow() -> None:
    said: Said = {"nut": [(OBJECT, 0.6)], "leather": [(OBJECT, 0.7)]}
    ours = method(said, tagger=StaticTagger(["{}", "leather"]))
    detections(ours)
    (used,) = ours.captions_used()["nut"]
    assert used == {"tag": "leather", "caption": "fold. leather.", "source": "table"}
    assert ours.backbone.asked == ["nut. leather.", "fold. leather.", "leather."]


@pytest.mark.parametrize(
    ("scores", "tag"),
    [
        ((0.1, 0.2, 0.3, 0.9, 0.2, 0.1), "leather"),
        ((0.9, 0.6, 0.6, 0.8, 0.5, 0.7), "leather"),
        ((0.9, 0.1, 0.2, 0.1, 0.8, 0.7), "metal nut"),
        ((0.9, 0.7, 0.1, 0.1, 0.8, 0.1), "metal plate"),
        ((0.9, 0.7, 0.0, 0.0, 0.0, 0.0), "metal plate"),
    ],
    ids=["half a tag", "several", "words of two tags", "its other word", "another word"],
)
def test_the_object_is_the_whole_tag_of_the_token_that_fits_best(
    scores: tuple[float, ...], tag: str
) -> None:
    tokens = ["[CLS]", "plate", "##her", "leat", "metal", "nut"]
    box, ids = torch.tensor([[0.5, 0.5, 0.1, 0.1]]), torch.arange(6)
    said = Grounding(
        box, torch.tensor([scores]), ids, lambda some: " ".join(tokens[one] for one in some)
    )
    assert method({}).object_tag([(said, ["leather", "metal nut", "metal plate"])], "x") == tag
    unread = Grounding(box, torch.tensor([scores]), ids, lambda _: ".")
    assert method({}).object_tag([(unread, ["leather", "metal nut"])], "x") == "leather"


@pytest.mark.parametrize("said", [{}, {"tiles": [(OBJECT, 0.09)]}])
def test_without_a_box_the_object_is_named_by_its_category(said: Said) -> None:
    """Without a box for any tag the object has the name of its category."""
    ours = method(said, tagger=StaticTagger(["tiles"]), names={"mtd": "magnetic tile"})
    detections(ours, category="metal_nut")
    detections(ours, category="mtd")
    assert [ours.captions_used()[name][0]["tag"] for name in ("metal_nut", "mtd")] == [
        "metal nut",
        "magnetic tile",
    ]


def test_references_decide_once_for_all_pictures_of_a_category() -> None:
    weak, strong = {"nut": [(OBJECT, 0.5)]}, {"leather": [(OBJECT, 0.8)]}
    ours = method({"nut": [(OBJECT, 0.9)]}, weak, strong, tagger=StaticTagger(["nut", "leather"]))
    ours.set_references("part", [picture(1), picture(2, (30, 30))])
    detections(ours, category="part")
    assert [used["tag"] for used in ours.captions_used()["part"]] == ["leather"]
    assert ours.backbone.asked[2:] == ["fold. leather.", "leather."]
    ours.clear_references()
    detections(ours, category="part")
    assert [used["tag"] for used in ours.captions_used()["part"]] == ["nut"]


def test_without_references_every_image_is_judged_by_itself() -> None:
    """Without references every picture is judged by itself whatever comes with it."""
    said: list[Said] = [
        {"nut": [(OBJECT, 0.9)], "dent": [(SMALL, 0.4)]},
        {"leather": [(OBJECT, 0.9)]},
    ]
    batch = torch.stack([picture(0), picture(1)])
    together = method(*said, tagger=StaticTagger(["nut", "leather"]))(batch, ["part", "part"])
    for number in (1, 0):
        alone = method(*said, tagger=StaticTagger(["nut", "leather"]))(
            batch[number : number + 1], ["part"]
        )
        assert torch.equal(alone.map[0], together.map[number])
        assert torch.equal(alone.score[0], together.score[number])


def test_a_caption_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    ours = method({})
    with caplog.at_level(logging.INFO, logger="zsad"):
        detections(ours)
        detections(ours)
    assert [record.getMessage() for record in caplog.records] == [
        "nut: object 'nut', caption 'scratch. dent. nut.'"
    ]


def test_an_image_is_encoded_once_for_all_captions() -> None:
    """Pictures are looked at once and all captions asked together."""
    ours = method({"dent": [(SMALL, 0.5)]})
    detections(ours)
    assert ours.backbone.looks == 1
    assert ours.backbone.asked == ["scratch. dent. nut.", normalize_caption("nut")]


@pytest.mark.parametrize(
    ("name", "value"), [("fusion", "median"), ("separator", ";"), ("normalization", "class")]
)
def test_an_unknown_choice_names_the_known_ones(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name}='{value}': expected one of"):
        method({}, **{name: value})


@pytest.mark.parametrize("name", ["box_threshold", "text_threshold", "nms_iou", "size_threshold"])
def test_a_number_out_of_range_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=-0.5: expected a number"):
        method({}, **{name: -0.5})


def composed(model: str, *overrides: str) -> Any:
    choices = [f"model={model}", "backbone=grounded_sam_random", "paths.output_dir=/nowhere"]
    return compose.compose_config("test", [*choices, *overrides])


@pytest.mark.parametrize(
    ("model", "shots", "phase"),
    [("dot", 0, "train"), ("dot_single_image", 1, "train"), ("dot_published", 10, "test")],
)
def test_normal_images_come_from_where_is_said(model: str, shots: int, phase: str) -> None:
    config = composed(model)
    assert (config.k_shot, config.dataset.shots, config.dataset.reference_phase) == (
        shots,
        shots,
        phase,
    )
    assert composed(model, "k_shot=3").dataset.shots == 3


@pytest.mark.parametrize("model", VARIANTS)
def test_every_variant_runs_on_tiny_models_of_the_real_classes(model: str) -> None:
    ours = instantiate.build(composed(model).model.method)
    image = torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))
    found = ours(image, ["metal_nut", "leather"])
    assert found.map.shape == (2, 50, 70)
    assert found.map.dtype == found.score.dtype == torch.float32
    assert 0 <= found.map.min() <= found.map.max() <= 1
    again = instantiate.build(composed(model).model.method)(image, ["metal_nut", "leather"])
    assert torch.equal(found.map, again.map)
    assert torch.equal(found.score, again.score)
    for one, anomaly_map in zip(found.detections, found.map, strict=True):
        assert len(one.boxes) == len(one.scores) == len(one.phrases) == len(one.masks)
        covered = torch.zeros(50, 70, dtype=torch.bool)
        for mask in one.masks:
            covered |= rle.decode(mask)
        assert not anomaly_map[~covered].any()


def test_captions_do_not_hang_on_the_hash_seed() -> None:
    program = (
        "from zsad.config import compose, instantiate; "
        "from zsad.prompts.defect_answers import read_words, published_words; "
        "c = compose.compose_config('test', ['model=dot', 'backbone=grounded_sam_random', "
        "'paths.output_dir=/nowhere']); "
        "l = instantiate.build(c.model.method.language); "
        "a = 'cut, hole, Fold, scratch, stain, poke, dent'; "
        "print(l.words('leather').words, l.words('gadget').words, "
        "read_words(a), published_words(a))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert "scratch" in said[0]
