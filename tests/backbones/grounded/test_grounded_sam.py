"""Grounded images: every network reads an image once, and the cache changes no bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from zsad.backbones.grounded.grounded_sam import GroundedSAM
from zsad.config import compose, instantiate
from zsad.functional.regions import to_corners

CAPTIONS = ["candle,", "defect on candle", "black hole. crack."]
NETWORKS = ("detector", "segmenter", "saliency")


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    config: Any = OmegaConf.to_container(
        OmegaConf.load(compose.CONF / "backbone/grounded_sam_random.yaml")
    )
    return {name: instantiate.build(config[name]) for name in NETWORKS}


@pytest.fixture
def image() -> torch.Tensor:
    return (
        torch.randint(0, 256, (3, 60, 90), generator=torch.Generator().manual_seed(2)).float() / 255
    )


class Counted:
    """A backbone whose networks tell how often they ran."""

    def __init__(
        self, networks: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **options: Any
    ) -> None:
        self.backbone = GroundedSAM(**networks, **options)
        self.runs: list[str] = []
        self.asked: list[str] = []
        self._count(monkeypatch, networks, "detector", "encode_image")
        self._count(monkeypatch, networks, "segmenter", "encode_image")
        self._count(monkeypatch, networks, "saliency", "stages")
        detect = networks["detector"].detect_from_features
        monkeypatch.setattr(
            networks["detector"],
            "detect_from_features",
            lambda features, captions: (self.asked.extend(captions), detect(features, captions))[1],
        )

    def _count(
        self, monkeypatch: pytest.MonkeyPatch, networks: dict[str, Any], name: str, verb: str
    ) -> None:
        original = getattr(networks[name], verb)
        monkeypatch.setattr(
            networks[name], verb, lambda *args: (self.runs.append(name), original(*args))[1]
        )


def answers(backbone: GroundedSAM, image: torch.Tensor) -> list[torch.Tensor]:
    look = backbone.prepare_image(image)
    groundings = look.detect(CAPTIONS)
    boxes = torch.cat(
        [to_corners(one.boxes[one.token_scores.amax(1) > 0.1], *look.size) for one in groundings]
    )
    masks = torch.cat(list(look.masks(boxes)))
    kept = [one.token_scores[one.token_scores.amax(1) > 0.1] for one in groundings]
    return [boxes, masks, *kept, *(one.token_ids for one in groundings)]


def test_every_network_reads_the_image_once_when_asked(
    networks: dict[str, Any], image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(networks, monkeypatch)
    look = counted.backbone.prepare_image(image)
    assert (look.size, counted.runs) == ((60, 90), [])
    look.detect(CAPTIONS[:1])
    look.detect(CAPTIONS)
    assert counted.runs == ["detector"]
    assert counted.asked == CAPTIONS  # what was said once is not asked again
    boxes = torch.tensor([[5.0, 5.0, 40.0, 50.0], [1.0, 2.0, 30.0, 20.0]])
    assert list(look.masks(boxes[:0])) == []
    assert counted.runs == ["detector"]
    first = torch.cat(list(look.masks(boxes)))
    second = torch.cat(list(look.masks(boxes)))
    assert torch.equal(first, second)
    assert counted.runs == ["detector", "segmenter"]
    look.stages(64)
    assert counted.runs == ["detector", "segmenter", "saliency"]
    assert counted.backbone.input_size is None


def test_what_is_asked_twice_in_one_call_is_answered_twice(
    networks: dict[str, Any], image: torch.Tensor
) -> None:
    first, other, again = (
        GroundedSAM(**networks).prepare_image(image).detect([CAPTIONS[0], CAPTIONS[1], CAPTIONS[0]])
    )
    assert torch.equal(first.token_scores, again.token_scores)
    assert not torch.equal(first.token_scores, other.token_scores)


@pytest.mark.parametrize("min_score", [0.0, 0.1])
def test_the_cache_changes_no_bit_and_runs_nothing_again(
    min_score: float,
    networks: dict[str, Any],
    image: torch.Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = answers(GroundedSAM(**networks), image)
    counted = Counted(networks, monkeypatch, cache=str(tmp_path), cache_min_score=min_score)
    for expected_runs in (["detector", "segmenter"], ["detector", "segmenter"]):
        for found, expected in zip(answers(counted.backbone, image), plain, strict=True):
            assert torch.equal(found, expected)
        assert counted.runs == expected_runs
    (other,) = counted.backbone.prepare_image(image).detect(["another thing"])
    assert counted.runs == ["detector", "segmenter", "detector"]
    assert other.min_score == min_score


def test_other_thresholds_are_bit_equal_with_the_cache(
    networks: dict[str, Any], image: torch.Tensor, tmp_path: Path
) -> None:
    """And fewer masks, too."""
    cached = GroundedSAM(**networks, cache=str(tmp_path))
    answers(cached, image)
    for threshold, top in ((0.3, 4), (0.06, 50), (0.9, 1)):
        results = []
        for backbone in (cached, GroundedSAM(**networks)):
            look = backbone.prepare_image(image)
            found = look.detect(CAPTIONS)[1]
            scores = found.token_scores.amax(1)
            rows = (scores > threshold).nonzero()[:, 0]
            rows = rows[scores[rows].argsort(descending=True, stable=True)[:top]]
            masks = list(look.masks(to_corners(found.boxes[rows], *look.size)))
            results.append((scores[rows], found.boxes[rows], torch.cat(masks)))
        for first, second in zip(*results, strict=True):
            assert torch.equal(first, second)


def test_other_images_precisions_and_weights_share_nothing(
    networks: dict[str, Any], image: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(networks, monkeypatch, cache=str(tmp_path))
    backbone = counted.backbone
    backbone.prepare_image(image).detect(CAPTIONS[:1])
    altered = image.clone()
    altered[0, 0, 0] = 1 - altered[0, 0, 0].round()
    backbone.prepare_image(altered).detect(CAPTIONS[:1])
    backbone.prepare_image(image.reshape(3, 90, 60)).detect(
        CAPTIONS[:1]
    )  # the same levels in the same order
    assert counted.runs == ["detector"] * 3
    backbone.prepare_image(image).detect(CAPTIONS[:1])
    assert counted.runs == ["detector"] * 3
    monkeypatch.setattr(networks["detector"], "dtype", torch.bfloat16)
    GroundedSAM(**networks, cache=str(tmp_path)).prepare_image(image).detect(CAPTIONS[:1])
    assert counted.runs == ["detector"] * 4
    monkeypatch.undo()
    identities = GroundedSAM(**networks).identities
    weight = next(networks["detector"].parameters())
    before = weight.clone()
    weight.add_(1)
    changed = GroundedSAM(**networks).identities
    weight.copy_(before)
    assert [name for name in NETWORKS if changed[name] != identities[name]] == ["detector"]


def test_masks_are_kept_as_far_as_a_method_looked(
    networks: dict[str, Any], image: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = torch.rand(80, 4, generator=torch.Generator().manual_seed(1)).sort(dim=1).values * 60
    expected = torch.cat(list(GroundedSAM(**networks).prepare_image(image).masks(boxes)))
    backbone = GroundedSAM(**networks, cache=str(tmp_path))
    masks = backbone.prepare_image(image).masks(boxes)
    first = next(masks)
    masks.close()  # enough seen
    decoded: list[int] = []
    decode = networks["segmenter"]._decode
    monkeypatch.setattr(
        networks["segmenter"],
        "_decode",
        lambda features, part: (decoded.append(len(part)), decode(features, part))[1],
    )
    again = torch.cat(list(backbone.prepare_image(image).masks(boxes)))
    assert decoded == [32, 16]
    assert torch.equal(again, expected)
    assert torch.equal(first, expected[:32])


def test_damaged_files_are_written_anew(
    networks: dict[str, Any], image: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(networks, monkeypatch, cache=str(tmp_path))
    expected = answers(counted.backbone, image)
    for path in list(tmp_path.rglob("*.safetensors")):
        path.write_bytes(path.read_bytes()[:-9])
    for _ in range(2):
        for found, value in zip(answers(counted.backbone, image), expected, strict=True):
            assert torch.equal(found, value)
    assert counted.runs == ["detector", "segmenter"] * 2


def test_a_lower_floor_asks_again_and_a_higher_one_does_not(
    networks: dict[str, Any], image: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(networks, monkeypatch, cache=str(tmp_path), cache_min_score=0.5)
    (kept,) = counted.backbone.prepare_image(image).detect(CAPTIONS[:1])
    assert (kept.token_scores.amax(1) > 0.5).all()
    GroundedSAM(**networks, cache=str(tmp_path), cache_min_score=0.6).prepare_image(image).detect(
        CAPTIONS[:1]
    )
    assert counted.runs == ["detector"]
    (lower,) = (
        GroundedSAM(**networks, cache=str(tmp_path), cache_min_score=0.0)
        .prepare_image(image)
        .detect(CAPTIONS[:1])
    )
    assert counted.runs == ["detector"] * 2
    assert len(lower.boxes) == 20


def test_small_results_are_made_once_where_there_is_a_cache(
    networks: dict[str, Any], image: torch.Tensor, tmp_path: Path
) -> None:
    made: list[int] = []

    def make() -> torch.Tensor:
        made.append(1)
        return torch.arange(6.0).view(2, 3)

    for backbone, times in (
        (GroundedSAM(**networks), 2),
        (GroundedSAM(**networks, cache=str(tmp_path)), 3),
    ):
        for _ in range(2):
            assert torch.equal(
                backbone.prepare_image(image).cached_result("saliency 256", make),
                torch.arange(6.0).view(2, 3),
            )
        assert len(made) == times
    GroundedSAM(**networks, cache=str(tmp_path)).prepare_image(image).cached_result(
        "saliency 1024", make
    )
    assert len(made) == 4


def test_long_captions_are_refused_before_anything_runs(
    networks: dict[str, Any], image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(networks, monkeypatch)
    with pytest.raises(ValueError, match="at most 256"):
        counted.backbone.prepare_image(image).detect(["crack", "hole " * 300])
    assert counted.runs == []


def test_a_backbone_without_saliency_says_so(networks: dict[str, Any], image: torch.Tensor) -> None:
    look = GroundedSAM(networks["detector"], networks["segmenter"]).prepare_image(image)
    with pytest.raises(ValueError, match="no saliency network"):
        look.stages(64)


def test_detections_of_version_0_1_are_not_misread(
    networks: dict[str, Any], image: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(networks, monkeypatch, cache=str(tmp_path))
    backbone = counted.backbone
    looked = backbone.prepare_image(image)
    old_entry = {
        "boxes": torch.zeros(0, 4),
        "scores": torch.zeros(0, 1),
        "columns": torch.tensor(1),
        "token_ids": torch.zeros(1, dtype=torch.int64),
        "floor": torch.tensor(0.0, dtype=torch.float64),
    }
    old_key = (backbone.identities["detector"], looked._image_hash, CAPTIONS[0])
    assert backbone.cache is not None
    backbone.cache.put(*old_key, tensors=old_entry)
    (found,) = looked.detect(CAPTIONS[:1])
    assert counted.runs == ["detector"]
    assert len(found.boxes)
