"""Weights: every form in which CLIP is distributed, and what is said when there are none."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import urllib.request
from pathlib import Path

import open_clip
import pytest
import tiny_clip as golden_weights
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zsad.backbones import weights
from zsad.backbones.clip import CLIP
from zsad.backbones.tokenizer import tokenize


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    arrays = golden_weights.tiny_clip_state_dict(
        3, image_size=28, vision_width=64, vision_layers=2, embed_dim=32, text_width=64, text_layers=2
    )
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class _Holder(nn.Module):
    """A module whose state dict has given names, as OpenAI's scripted model has."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            *parents, leaf = name.split(".")
            module: nn.Module = self
            for parent in parents:
                if parent not in dict(module.named_children()):
                    module.add_module(parent, nn.Module())
                module = getattr(module, parent)
            module.register_buffer(leaf, tensor)

    def forward(self, x: Tensor) -> Tensor:
        return x


def save_as(form: str, state: dict[str, Tensor], folder: Path) -> Path:
    path = folder / {"safetensors": "clip.safetensors", "torchscript": "clip.pt"}.get(form, "clip.bin")
    if form == "safetensors":
        save_file(state, path)
    elif form == "torchscript":
        numbers = {
            "input_resolution": torch.tensor(28),
            "context_length": torch.tensor(77),
            "vocab_size": torch.tensor(1),
        }
        torch.jit.script(_Holder(state | numbers)).save(path)
    elif form == "nested":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("form", ["safetensors", "plain", "nested", "torchscript"])
def test_every_form_gives_the_same_model(form: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    backbone = CLIP(pretrained=str(save_as(form, state, tmp_path)))
    own = backbone.model.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], state[name]) for name in state)
    assert (backbone.native_size, backbone.patch_size, backbone.depth, backbone.text_depth) == (28, 14, 2, 2)


def test_a_tower_read_from_a_file_can_change_its_device(state: dict[str, Tensor], tmp_path: Path) -> None:
    backbone = CLIP(pretrained=str(save_as("safetensors", state, tmp_path)))
    assert [name for name, tensor in [*backbone.named_parameters(), *backbone.named_buffers()] if tensor.is_meta] == []
    tokens = tokenize(["object"])  # open_clip's own text tower reads the mask that ours does without
    torch.testing.assert_close(backbone.encode_text(tokens), backbone.model.encode_text(tokens), atol=1e-5, rtol=1e-5)


def test_half_precision_files_become_float32(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({name: tensor.half() for name, tensor in state.items()}, path)
    assert {parameter.dtype for parameter in CLIP(pretrained=str(path)).model.parameters()} == {torch.float32}


def test_the_file_equals_open_clips_own_reading_of_it(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = save_as("plain", state, tmp_path)
    backbone = CLIP(pretrained=str(path))
    reference = open_clip.model.build_model_from_openai_state_dict(dict(state), cast_dtype=torch.float32).float()
    reference.load_state_dict(state)  # undoes the rounding to half precision
    x = torch.rand(2, 3, 28, 28)
    torch.testing.assert_close(backbone.encode_image(x).image, reference.encode_image(x), atol=1e-5, rtol=1e-5)


def test_weights_of_another_architecture_are_refused_with_the_difference(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = save_as("plain", state, tmp_path)
    with pytest.raises(ValueError, match=r"does not fit the architecture: missing \['.*backbone.model_name=null"):
        CLIP(model_name="ViT-B-32", pretrained=str(path))


def test_a_file_without_a_clip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="holds no CLIP"):
        weights.read_state_dict(path)


class _Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, victim = tmp_path / "evil.pt", tmp_path / "was_here"
    torch.save({"state_dict": _Malicious(victim)}, path)
    with pytest.raises(ValueError, match=r"was refused: .* could run code"):
        weights.read_state_dict(path)
    path.write_bytes(pickle.dumps(_Malicious(victim)))
    with pytest.raises(ValueError, match="was refused"):
        weights.read_state_dict(path)
    assert not victim.exists()


@pytest.mark.parametrize("name", ["cut.pt", "cut.safetensors"])
def test_a_truncated_file_is_refused(name: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    whole = save_as("safetensors" if name.endswith("safetensors") else "plain", state, tmp_path).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"refused|not a readable safetensors"):
        weights.read_state_dict(path)


def test_a_missing_file_says_where_to_put_it_and_the_way_without() -> None:
    with pytest.raises(FileNotFoundError, match=r"no weight file /nowhere/clip.pt.*backbone=pocket"):
        CLIP(pretrained="/nowhere/clip.pt")


def test_a_file_named_like_one_of_openais_must_be_it(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "ViT-L-14-336px.pt"
    torch.save(state, path)
    published = "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"
    with pytest.raises(ValueError, match=rf"is not OpenAI's ViT-L-14-336px.pt.*expected {published}"):
        CLIP(pretrained=str(path))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"open_clip knows no architecture 'ViT-Q'. Known: .*ViT-L-14-336"):
        CLIP(model_name="ViT-Q", pretrained=None)
    with pytest.raises(ValueError, match=r"no weights 'opnai' for ViT-B-32: expected one of \['openai'"):
        CLIP(model_name="ViT-B-32", pretrained="opnai")


def test_without_network_one_sentence_says_what_to_fetch_and_the_way_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(weights, "_is_cached", lambda _: False)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(weights.socket, "getaddrinfo", unreachable)
    with pytest.raises(FileNotFoundError, match=r"ViT-L-14-336 \(openai\) are not on this machine.*backbone=pocket"):
        CLIP(model_name="ViT-L-14-336", pretrained="openai")


def test_fingerprints_tell_weights_apart_but_not_files(state: dict[str, Tensor], tmp_path: Path) -> None:
    one = CLIP(pretrained=str(save_as("plain", state, tmp_path)))
    other = CLIP(pretrained=str(save_as("safetensors", state, tmp_path)))
    assert weights.fingerprint(one) == weights.fingerprint(other)
    other.model.visual.proj[0, 0] += 1
    assert weights.fingerprint(one) != weights.fingerprint(other)


def test_naming_a_choice_imports_nothing_heavy() -> None:
    code = "import sys, zsad.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
