"""OWLv2 against transformers' own forward pass and post-processing, on a small random model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from zsad.backbones.clip.tokenizer import tokenize
from zsad.backbones.eight_bit_images import to_pil
from zsad.backbones.grounded.owlv2 import OWLv2, split_phrases
from zsad.functional.regions import to_corners

ARCHITECTURE: dict[str, Any] = {
    "text_config": {
        "vocab_size": 49408,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
    },
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "initializer_range": 1.0,
    },
    "projection_dim": 32,
}


@pytest.fixture(scope="module")
def detector() -> OWLv2:
    return OWLv2(None, architecture=ARCHITECTURE)


@pytest.fixture
def image() -> torch.Tensor:
    return (
        torch.randint(0, 256, (3, 60, 100), generator=torch.Generator().manual_seed(1)).float()
        / 255
    )


def test_boxes_and_scores_are_those_of_transformers(detector: OWLv2, image: torch.Tensor) -> None:
    phrases = ["black hole", "crack", "scratch"]
    processor = Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
    pixels = processor(images=to_pil(image), return_tensors="pt")["pixel_values"].float()
    with torch.no_grad():
        outputs = detector.model(
            input_ids=tokenize(phrases, context_length=16), pixel_values=pixels
        )
    (expected,) = processor.post_process_object_detection(
        outputs, threshold=0.0, target_sizes=[(60, 100)]
    )
    (found,) = detector.detect(image, ["Black hole. crack, scratch."])
    torch.testing.assert_close(
        to_corners(found.boxes, 60, 100), expected["boxes"], atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        found.token_scores.amax(dim=1), expected["scores"], atol=1e-5, rtol=0
    )
    columns = torch.tensor([0, 0, 1, 2])  # "black hole" has two tokens, and both have its score
    every = outputs.logits[0].sigmoid()[:, columns]
    torch.testing.assert_close(found.token_scores, every, atol=1e-5, rtol=0)


def test_a_phrase_is_made_of_whole_phrases(detector: OWLv2, image: torch.Tensor) -> None:
    (found,) = detector.detect(image, ["black hole. crack."])
    assert found.decode(found.token_ids.tolist()).split() == ["black", "hole", "crack"]
    assert torch.equal(found.token_scores[:, 0], found.token_scores[:, 1])


def test_captions_together_say_what_each_says_alone(detector: OWLv2, image: torch.Tensor) -> None:
    captions = ["defect", "crack. hole", "defect on candle"]
    for caption, found in zip(captions, detector.detect(image, captions), strict=True):
        (alone,) = detector.detect(image, [caption])
        torch.testing.assert_close(found.token_scores, alone.token_scores, atol=1e-5, rtol=0)


def test_each_phrase_is_read_once(image: torch.Tensor) -> None:
    detector = OWLv2(None, architecture=ARCHITECTURE)
    runs: list[int] = []
    detector.model.owlv2.text_model.register_forward_hook(lambda *_: runs.append(1))
    detector.detect(image, ["crack. hole", "hole"])
    detector.detect(1 - image, ["hole. crack"])
    assert len(runs) == 2


def test_a_long_phrase_is_refused_before_anything_runs(
    detector: OWLv2, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "encode_image", lambda image: pytest.fail("the image tower ran"))
    with pytest.raises(
        ValueError, match=r"a phrase has 22 tokens, and the detector takes at most 16"
    ):
        detector.detect(image, ["crack. " + "hole " * 20])


def test_phrases_end_at_full_stops_and_commas() -> None:
    assert split_phrases("candle,.") == ["candle"]
    assert split_phrases("Black hole. crack") == ["black hole", "crack"]
