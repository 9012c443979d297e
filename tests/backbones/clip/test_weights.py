"""Weights: every form in which CLIP is distributed, and what is said when there are none."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shlex
import struct
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import open_clip
import pytest
import tiny_clip as golden_weights
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from zsad.backbones import downloads, weight_files
from zsad.backbones.clip import weights
from zsad.backbones.clip.architecture import infer_architecture
from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.tokenizer import tokenize


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    arrays = golden_weights.tiny_clip_state_dict(
        3,
        image_size=28,
        vision_width=64,
        vision_layers=2,
        embed_dim=32,
        text_width=64,
        text_layers=2,
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
    path = folder / {"safetensors": "clip.safetensors", "torchscript": "clip.pt"}.get(
        form, "clip.bin"
    )
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
        torch.save(
            {
                "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
                "epoch": 3,
            },
            path,
        )
    else:
        torch.save(state, path)
    return path


def publish(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count a file among those whose SHA-256 OpenAI publishes."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(
        weight_files, "_published_digests", lambda: {"other.pt": "0" * 64, path.name: digest}
    )


@pytest.mark.parametrize("form", ["safetensors", "plain", "nested", "torchscript"])
def test_every_form_gives_the_same_model(
    form: str, state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_as(form, state, tmp_path)
    publish(path, monkeypatch)
    backbone = CLIP(pretrained=str(path))
    own = backbone.model.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], state[name]) for name in state)
    assert (backbone.native_size, backbone.patch_size, backbone.depth, backbone.text_depth) == (
        28,
        14,
        2,
        2,
    )


def test_a_tower_read_from_a_file_can_change_its_device(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    backbone = CLIP(pretrained=str(save_as("safetensors", state, tmp_path)))
    assert [
        name
        for name, tensor in [*backbone.named_parameters(), *backbone.named_buffers()]
        if tensor.is_meta
    ] == []
    tokens = tokenize(
        ["object"]
    )  # open_clip's own text tower reads the mask that ours does without
    torch.testing.assert_close(
        backbone.encode_text(tokens), backbone.model.encode_text(tokens), atol=1e-5, rtol=1e-5
    )


def test_half_precision_files_become_float32(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({name: tensor.half() for name, tensor in state.items()}, path)
    assert {parameter.dtype for parameter in CLIP(pretrained=str(path)).model.parameters()} == {
        torch.float32
    }


def test_the_file_equals_open_clips_own_reading_of_it(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = save_as("plain", state, tmp_path)
    backbone = CLIP(pretrained=str(path))
    reference = open_clip.model.build_model_from_openai_state_dict(
        dict(state), cast_dtype=torch.float32
    ).float()
    reference.load_state_dict(state)  # undoes the rounding to half precision
    x = torch.rand(2, 3, 28, 28)
    torch.testing.assert_close(
        backbone.encode_image(x).image, reference.encode_image(x), atol=1e-5, rtol=1e-5
    )


def test_weights_of_another_architecture_are_refused(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    """With the difference."""
    path = save_as("plain", state, tmp_path)
    with pytest.raises(
        ValueError, match=r"does not fit the architecture: missing \['.*backbone.model_name=null"
    ):
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


class _MaliciousScript(nn.Module):
    """TorchScript that writes a file when it is loaded."""

    def __init__(self, victim: str) -> None:
        super().__init__()
        self.victim = victim
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self):
        return (self.victim, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.victim = state[0]
        self.training = state[1]
        self.weight = torch.zeros(1)
        torch.save(self.weight, state[0])


def test_unknown_torchscript_is_refused_and_not_run(tmp_path: Path) -> None:
    path, victim = tmp_path / "evil.pt", tmp_path / "was_here"
    torch.jit.script(_MaliciousScript(str(victim))).save(path)
    for read in (weights.read_state_dict, weight_files.load_tensors):
        with pytest.raises(ValueError, match=r"(can|could) run code"):
            read(path)
        assert not victim.exists()
    torch.jit.load(path)
    assert victim.exists()  # so the file does what the test fears


@pytest.mark.parametrize("name", ["clip.pt", "ViT-L-14-336px.pt"])
def test_unknown_torchscript_is_refused_with_both_digests(
    name: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = save_as("torchscript", state, tmp_path).rename(tmp_path / name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    published = "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"
    one_of = "one of .*" if name == "clip.pt" else ""
    with pytest.raises(
        ValueError, match=rf"its SHA-256 is {digest}, expected {one_of}{published}.*Fetch it again"
    ):
        CLIP(pretrained=str(path))


def test_the_command_for_torchscript_gives_the_same_model(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = save_as("torchscript", state, tmp_path)
    with pytest.raises(ValueError, match="convert it: python -c") as caught:
        weights.read_state_dict(path)
    _, *arguments = shlex.split(str(caught.value).partition("convert it: ")[2])
    subprocess.run([sys.executable, *arguments], check=True)
    converted = weights.read_state_dict(tmp_path / "clip.safetensors")
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("content", "raised"),
    [
        (b"", EOFError),
        (b"\x80\x02.", IndexError),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", UnicodeDecodeError),
        (b"\x80\x02h\x07.", KeyError),
        (b"\x80\x02J\x01", struct.error),
        (b"\x80\x02ccollections\nOrderedDict\nN\x85R.", TypeError),
        (b"PK\x03\x04", RuntimeError),
        (b"no tensors here", pickle.UnpicklingError),
    ],
)
def test_whatever_torch_makes_of_a_damaged_file_it_is_refused(
    content: bytes, raised: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / "damaged.pt"
    path.write_bytes(content)
    with pytest.raises(raised):
        torch.load(path, map_location="cpu", weights_only=True)
    for read in (weights.read_state_dict, weight_files.load_tensors):
        with pytest.raises(ValueError, match=r"was refused: it is damaged"):
            read(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=8),
    old=st.booleans(),
)
def test_changed_bytes_give_tensors_or_a_refusal(
    changes: list[tuple[int, int]], old: bool, tmp_path: Path
) -> None:
    path = tmp_path / "changed.pt"
    torch.save(
        {"a": torch.zeros(3), "b": {"c": torch.ones(2)}},
        path,
        _use_new_zipfile_serialization=not old,
    )
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(content)
    with contextlib.suppress(ValueError):
        weight_files.load_tensors(path)


def test_a_damaged_table_of_contents_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = save_as("plain", state, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PK\x01\x02", b"PK\x01\x09"))
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(path)
    with pytest.raises(ValueError, match="was refused: it is damaged"):
        weights.read_state_dict(path)


def test_entries_that_are_no_tensors_are_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "mixed.pt"
    torch.save({**state, "epoch": 3, 7: "seven"}, path)
    with pytest.raises(ValueError, match=r"entries that are no tensors: \['epoch', '7'\]"):
        weights.read_state_dict(path)


@pytest.mark.parametrize("form", ["plain", "safetensors"])
def test_an_image_tower_without_its_text_tower_is_refused(
    form: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = save_as(
        form, {name: state[name] for name in state if name.startswith("visual.")}, tmp_path
    )
    with pytest.raises(ValueError, match=r"not the weights of a ViT CLIP .*'ln_final.weight'"):
        CLIP(pretrained=str(path))


@pytest.mark.parametrize(
    "name", ["ViT-B-16-plus-240", "ViT-L-14-336", "ViT-H-14", "ViT-g-14", "ViT-bigG-14"]
)
def test_the_architecture_is_read_from_shapes(name: str) -> None:
    described = open_clip.get_model_config(name)
    for tower in ("vision_cfg", "text_cfg"):
        described[tower]["layers"] = 1
    with torch.device("meta"):
        original = open_clip.CLIP(**described)
        again = open_clip.CLIP(**infer_architecture(original.state_dict()))
    shapes, of_again = (
        {k: v.shape for k, v in model.state_dict().items()} for model in (original, again)
    )
    assert shapes == of_again
    for tower in (lambda model: model.visual.transformer, lambda model: model.transformer):
        assert (
            tower(original).resblocks[0].attn.num_heads == tower(again).resblocks[0].attn.num_heads
        )


@pytest.mark.parametrize("name", ["cut.pt", "cut.safetensors"])
def test_a_truncated_file_is_refused(name: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    whole = save_as(
        "safetensors" if name.endswith("safetensors") else "plain", state, tmp_path
    ).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"refused|not a readable safetensors"):
        weights.read_state_dict(path)


def test_a_missing_file_says_where_to_put_it_and_the_way_without() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no weight file /nowhere/clip.pt.*backbone=pocket"
    ):
        CLIP(pretrained="/nowhere/clip.pt")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"open_clip knows no architecture 'ViT-Q'. Known: .*ViT-L-14-336"
    ):
        CLIP(model_name="ViT-Q", pretrained=None)
    with pytest.raises(
        ValueError, match=r"no weights 'opnai' for ViT-B-32: expected one of \['openai'"
    ):
        CLIP(model_name="ViT-B-32", pretrained="opnai")


def test_without_network_the_message_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the way without a download."""

    def unreachable(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(downloads, "_is_cached", lambda _: False)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(downloads.socket, "getaddrinfo", unreachable)
    with pytest.raises(
        FileNotFoundError, match=r"ViT-L-14-336 \(openai\) are not on this machine.*backbone=pocket"
    ):
        CLIP(model_name="ViT-L-14-336", pretrained="openai")


def test_fingerprints_tell_weights_apart_but_not_files(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    one = CLIP(pretrained=str(save_as("plain", state, tmp_path)))
    other = CLIP(pretrained=str(save_as("safetensors", state, tmp_path)))
    assert weight_files.fingerprint(one) == weight_files.fingerprint(other)
    other.model.visual.proj[0, 0] += 1
    assert weight_files.fingerprint(one) != weight_files.fingerprint(other)


def test_naming_a_choice_imports_nothing_heavy() -> None:
    code = "import sys, zsad.config.compose; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
