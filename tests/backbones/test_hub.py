"""What users are told when weights cannot be had; hub clients are made to fail as they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from torch import nn
from transformers import BertConfig, BertModel

from zsad.backbones import hub

NAME = "organisation/model"


class Failing:
    """A model class whose loading fails as transformers' does: an ``OSError`` made from a cause."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        self.asked: list[dict[str, Any]] = []

    def from_pretrained(self, name: str, **options: Any) -> nn.Module:
        self.asked.append(options)
        if options.get("local_files_only"):
            raise OSError(f"{name} is not there") from LocalEntryNotFoundError("not in the cache")
        raise OSError("something went wrong\nwith many lines") from self.cause


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://hub.invalid"))


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "can_resolve", lambda url: True)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "can_resolve", lambda url: False)


@pytest.mark.usefixtures("online")
def test_gated_weights_say_where_to_ask_and_how_to_log_in() -> None:
    model_class = Failing(GatedRepoError("401", response=response(401)))
    with pytest.raises(FileNotFoundError, match=r"gated.*organisation/model.*hf auth login"):
        hub.load_pretrained(model_class, NAME, what="the detector")


@pytest.mark.usefixtures("online")
def test_a_misspelt_name_is_told_from_a_lost_connection() -> None:
    missing = Failing(RepositoryNotFoundError("404", response=response(404)))
    with pytest.raises(
        FileNotFoundError, match=r"the detector organisation/model: no such model.*spelling"
    ):
        hub.load_pretrained(missing, NAME, what="the detector")
    lost = Failing(ConnectionError("reset"))
    with pytest.raises(
        FileNotFoundError, match=r"something went wrong\).*hf download organisation/model"
    ) as caught:
        hub.load_pretrained(lost, NAME, what="the detector")
    assert "many lines" not in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_without_a_network_nobody_waits_for_it() -> None:
    model_class = Failing(ConnectionError("unreachable"))
    with pytest.raises(
        FileNotFoundError, match=r"no network.*hf download organisation/model --local-dir"
    ):
        hub.load_pretrained(model_class, NAME)
    assert [asked["local_files_only"] for asked in model_class.asked] == [True]
    with pytest.raises(FileNotFoundError, match=r"no network.*hf download"):
        hub.load_hub_file(NAME, "model.safetensors", what="the saliency network")


@pytest.mark.usefixtures("online")
def test_one_file_of_a_gated_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> str:
        raise GatedRepoError("403", response=response(403))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refused)
    with pytest.raises(FileNotFoundError, match="gated"):
        hub.load_hub_file(NAME, "model.safetensors", what="the saliency network")


def test_a_missing_folder_is_not_asked_of_the_hub(tmp_path: Path) -> None:
    model_class = Failing(ConnectionError())
    with pytest.raises(FileNotFoundError, match=r"no folder .*weights/sam"):
        hub.load_pretrained(model_class, str(tmp_path / "weights" / "sam"))
    assert model_class.asked == []


def test_a_folder_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FileNotFoundError, match=r"It holds notes.txt.*hf download"):
        hub.load_pretrained(BertModel, str(tmp_path), what="the text tower")


def test_a_saved_model_comes_back_frozen_in_the_asked_precision(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    model = hub.random_model(lambda: BertModel(config))
    model.save_pretrained(tmp_path)
    loaded = hub.load_pretrained(BertModel, str(tmp_path), dtype="bfloat16")
    weight = loaded.embeddings.word_embeddings.weight
    assert (weight.dtype, weight.requires_grad, loaded.training) == (torch.bfloat16, False, False)
    assert torch.equal(weight, model.embeddings.word_embeddings.weight.bfloat16())


def test_random_weights_repeat_and_disturb_no_other_draw() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = hub.random_model(lambda: nn.Linear(4, 4))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.weight, hub.random_model(lambda: nn.Linear(4, 4)).weight)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="'half': expected one of float32, bfloat16, float16"):
        hub.as_dtype("half")
