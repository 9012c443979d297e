"""Detectors against transformers' processors, forward passes and post-processing.

On small random models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import (
    AutoConfig,
    AutoModelForZeroShotObjectDetection,
    BertTokenizer,
    GroundingDinoProcessor,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)

from zsad.backbones import hub
from zsad.backbones.eight_bit_images import to_pil
from zsad.backbones.grounded.grounding import Grounding
from zsad.backbones.grounded.grounding_dino import GroundingDINO, normalize_caption
from zsad.backbones.grounded.spelling_vocabulary import spelling_vocabulary
from zsad.config import compose
from zsad.functional.regions import to_corners

CAPTIONS = ["Defect on candle", "black hole. crack.", "flaw on metal_nut", "a scratch ."]
_RANDOM: Any = OmegaConf.to_container(
    OmegaConf.load(compose.CONF / "backbone/grounded_sam_random.yaml")
)
SETTINGS: dict[str, Any] = {
    key: value for key, value in _RANDOM["detector"].items() if key != "_target_"
}


@pytest.fixture(scope="module", params=["grounding-dino", "mm-grounding-dino"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**SETTINGS, "architecture": {**SETTINGS["architecture"], "model_type": request.param}}


@pytest.fixture(scope="module")
def detector(settings: dict[str, Any]) -> GroundingDINO:
    return GroundingDINO(**settings)


@pytest.fixture
def image() -> torch.Tensor:
    levels = np.random.default_rng(3).integers(0, 256, (3, 90, 120))
    return torch.from_numpy(levels).float() / 255


def same(found: Grounding, expected: Grounding, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found.boxes, expected.boxes, atol=atol, rtol=0)
    torch.testing.assert_close(found.token_scores, expected.token_scores, atol=atol, rtol=0)
    assert torch.equal(found.token_ids, expected.token_ids)


def test_boxes_scores_and_phrases_are_those_of_transformers(
    settings: dict[str, Any], detector: GroundingDINO, image: torch.Tensor
) -> None:
    config = AutoConfig.for_model(**settings["architecture"])
    model = hub.random_model(lambda: AutoModelForZeroShotObjectDetection.from_config(config))
    size = {"shortest_edge": 96, "longest_edge": 160}
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil(size=size),
        BertTokenizer(vocab=spelling_vocabulary(settings["words"])),
    )
    texts = [normalize_caption(caption) for caption in CAPTIONS]
    inputs = processor(
        images=[to_pil(image)] * len(texts), text=texts, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        outputs = model(**inputs)
    everything = detector.detect(image, CAPTIONS)
    threshold = float(torch.stack([found.token_scores.amax(dim=1) for found in everything]).mean())
    expected = processor.post_process_grounded_object_detection(
        outputs,
        threshold=threshold,
        text_threshold=threshold,
        target_sizes=[(90, 120)] * len(texts),
    )
    seen = 0
    for found, other in zip(everything, expected, strict=True):
        rows = found.token_scores.amax(dim=1) > threshold
        torch.testing.assert_close(
            found.token_scores.amax(dim=1)[rows], other["scores"], atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            to_corners(found.boxes[rows], 90, 120), other["boxes"], atol=1e-3, rtol=0
        )
        fits = (
            found.token_scores[rows, 1 : len(found.token_ids)] > threshold
        )  # theirs leave [CLS] out
        phrases = [found.decode(found.token_ids[1:][row].tolist()) for row in fits]
        assert phrases == other["text_labels"][: len(phrases)]  # of no box they say one empty label
        seen += int(rows.sum())
    assert seen > 20


def test_captions_together_say_what_each_says_alone(
    detector: GroundingDINO, image: torch.Tensor
) -> None:
    together = detector.detect(image, CAPTIONS)
    for caption, found in zip(CAPTIONS, together, strict=True):
        (alone,) = detector.detect(image, [caption])
        same(found, alone)
    assert not torch.allclose(together[0].token_scores, together[1].token_scores)


def test_the_chunk_changes_nothing(
    settings: dict[str, Any], detector: GroundingDINO, image: torch.Tensor
) -> None:
    for found, expected in zip(
        GroundingDINO(**settings, captions_at_once=3).detect(image, CAPTIONS),
        detector.detect(image, CAPTIONS),
        strict=True,
    ):
        same(found, expected)


def test_each_tower_runs_once(settings: dict[str, Any], image: torch.Tensor) -> None:
    """The image tower for an image, the text tower for each caption, ever."""
    detector = GroundingDINO(**settings)
    runs: list[str] = []
    towers = {
        "image": detector.model.model.backbone.tower,
        "text": detector.model.model.text_backbone.tower,
    }
    for name, tower in towers.items():
        tower.register_forward_hook(lambda *_, name=name: runs.append(name))
    seen = detector.encode_image(image)
    detector.detect_from_features(seen, CAPTIONS)
    assert (runs.count("image"), runs.count("text")) == (1, len(CAPTIONS))
    (again,) = detector.detect_from_features(seen, CAPTIONS[1:2])
    assert (runs.count("image"), runs.count("text")) == (1, len(CAPTIONS))
    same(again, detector.detect(image, CAPTIONS)[1])
    assert (runs.count("image"), runs.count("text")) == (2, len(CAPTIONS))


def test_columns_without_a_token_score_nothing(
    detector: GroundingDINO, image: torch.Tensor
) -> None:
    found = detector.detect(image, CAPTIONS)
    for grounding in found:
        length = len(grounding.token_ids)
        assert grounding.token_scores.shape == (20, 256)
        assert (grounding.token_scores[:, length:] == 0).all()
        assert (grounding.token_scores[:, :length] > 0).all()
    assert found[0].decode(found[0].token_ids.tolist()) == "[CLS] defect on candle. [SEP]"


def test_the_answer_hangs_on_the_image(detector: GroundingDINO, image: torch.Tensor) -> None:
    (first,), (second,) = (
        detector.detect(image, CAPTIONS[:1]),
        detector.detect(1 - image, CAPTIONS[:1]),
    )
    assert not torch.allclose(first.token_scores, second.token_scores)


def test_a_long_caption_is_refused_before_anything_runs(
    detector: GroundingDINO, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "encode_image", lambda image: pytest.fail("the image tower ran"))
    with pytest.raises(
        ValueError, match=r"has 303 tokens, and the detector takes at most 256.*'defect defect"
    ):
        detector.detect(image, ["crack", "defect " * 300])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precisions_answer_in_float32(dtype: str, image: torch.Tensor) -> None:
    (exact,), (rounded,) = (
        GroundingDINO(**SETTINGS, dtype=name).detect(image, CAPTIONS[:1])
        for name in ("float32", dtype)
    )
    assert (rounded.boxes.dtype, rounded.token_scores.dtype) == (torch.float32, torch.float32)
    assert not torch.equal(rounded.token_scores, exact.token_scores)
    assert (
        rounded.token_scores.sort(0).values - exact.token_scores.sort(0).values
    ).abs().mean() < 0.02


def test_a_trainer_in_lower_precision_changes_no_score(
    detector: GroundingDINO, image: torch.Tensor
) -> None:
    expected = detector.detect(image, CAPTIONS[:2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for found, other in zip(detector.detect(image, CAPTIONS[:2]), expected, strict=True):
            assert torch.equal(found.token_scores, other.token_scores)


def test_the_detector_stays_frozen(detector: GroundingDINO) -> None:
    detector.train()
    assert not any(module.training for module in detector.modules())
    assert not any(parameter.requires_grad for parameter in detector.parameters())


def test_weights_in_a_folder_make_the_same_detector(tmp_path: Any, image: torch.Tensor) -> None:
    config = AutoConfig.for_model(**SETTINGS["architecture"])
    hub.random_model(
        lambda: AutoModelForZeroShotObjectDetection.from_config(config)
    ).save_pretrained(tmp_path)
    BertTokenizer(vocab=spelling_vocabulary(SETTINGS["words"])).save_pretrained(tmp_path)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 160}).save_pretrained(
        tmp_path
    )
    loaded = GroundingDINO(str(tmp_path)).detect(image, CAPTIONS)
    for found, expected in zip(
        loaded, GroundingDINO(**SETTINGS).detect(image, CAPTIONS), strict=True
    ):
        same(found, expected)


def test_nothing_to_build_is_said() -> None:
    with pytest.raises(
        ValueError, match=r"neither detector\.pretrained nor detector\.architecture"
    ):
        GroundingDINO(None)


def test_captions_are_ended_with_one_full_stop() -> None:
    assert [normalize_caption(text) for text in (" Crack ", "hole.", "candle,")] == [
        "crack.",
        "hole.",
        "candle,.",
    ]


def test_the_spelling_vocabulary_spells_any_word() -> None:
    """And keeps BERT's places."""
    vocabulary = spelling_vocabulary(["defect"])
    tokenizer = BertTokenizer(vocab=vocabulary)
    assert tokenizer("[CLS] ? .", add_special_tokens=False)["input_ids"] == [101, 1029, 1012]
    ids = tokenizer("Defect zq7", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["defect", "z", "##q", "##7"]
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
