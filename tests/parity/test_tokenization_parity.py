"""Token ids are those of OpenAI's tokenizer, hard cases included."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zsad.backbones.clip.tokenizer import tokenize


@pytest.fixture
def tokenization(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"end": 49407, "pad": 0} | json.loads(request.param.read_text(encoding="utf-8"))


def test_token_ids_are_openais(tokenization: dict[str, Any]) -> None:
    length, end = tokenization["context_length"], tokenization["end"]
    for case in tokenization["cases"]:
        row = tokenize(
            [case["text"]], context_length=length, truncate=case.get("truncated", False)
        )[0].tolist()
        assert row == case["ids"] + [tokenization["pad"]] * (length - len(case["ids"])), case[
            "text"
        ]
        assert row[len(case["ids"]) - 1] == end


def test_a_text_too_long_raises_unless_truncation_is_on(tokenization: dict[str, Any]) -> None:
    """A text that does not fit raises unless truncation is asked for."""
    too_long = [case["text"] for case in tokenization["cases"] if case.get("truncated")]
    if not too_long:
        pytest.skip("the file holds no text that does not fit")
    for text in too_long:
        with pytest.raises(ValueError, match="tokens does not fit"):
            tokenize([text], context_length=tokenization["context_length"])
