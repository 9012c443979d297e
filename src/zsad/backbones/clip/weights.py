"""Weights of a frozen CLIP: a tag of open_clip, a repository of the hub, or a local file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zsad.backbones import downloads
from zsad.backbones.weight_files import read_weight_file

StateDict = dict[str, Tensor]

_HUB = "hf-hub:"
_FILE_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt", ".safetensors"}
_ASSETS = Path(__file__).parents[2] / "assets"  # weights that ship inside the package
# Numbers that OpenAI's TorchScript archives keep among the tensors.
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size"}


def locate(model_name: str | None, pretrained: str | None) -> Path | None:
    """Return the weight file that a choice stands for, downloading it on first use.

    Args:
        model_name: An open_clip architecture (``ViT-L-14-336``) or ``hf-hub:org/name``.
        pretrained: An open_clip tag (``openai``), a local file, the name of weights inside this
            package (``pocket``, where ``model_name`` is ``None``), or ``None`` for random weights.

    Raises:
        ValueError: If the tag is unknown for the architecture.
        FileNotFoundError: If a local file is missing, or the download is not possible.
    """
    if model_name is not None and model_name.startswith(_HUB):
        repository = model_name.removeprefix(_HUB)
        entry = {"hf_hub": f"{repository}/"}
        return downloads.download_open_clip_weights(repository, entry)
    if pretrained is None:
        return None
    if Path(pretrained).suffix in _FILE_SUFFIXES:
        return _local_file(pretrained)
    embedded = _ASSETS / f"{pretrained}.safetensors"
    if model_name is None and embedded.is_file():
        return embedded
    return _from_tag(model_name, pretrained)


def training_settings(model_name: str | None, pretrained: str | None) -> dict[str, Any]:
    """Return the published training settings of weights: some of ``quick_gelu``, ``mean``, ``std``.

    A tag's values are those of open_clip's catalogue, a hub model's those of its own configuration.
    Of a local file only the name of its architecture is known: it is taken for OpenAI's where
    OpenAI published that architecture.

    Args:
        model_name: As in ``locate``.
        pretrained: As in ``locate``.
    """
    import open_clip
    from open_clip import pretrained as catalogue

    if model_name is None:
        return {}
    if model_name.startswith(_HUB):
        return _training_settings_on_hub(model_name.removeprefix(_HUB))
    entry = catalogue.get_pretrained_cfg(model_name, pretrained or "")
    if entry:
        quick_gelu = entry.get("quick_gelu", False)
        return {"quick_gelu": quick_gelu, "mean": entry["mean"], "std": entry["std"]}
    description = open_clip.get_model_config(model_name) or {}
    named_so = description.get("quick_gelu", False)
    return {"quick_gelu": named_so or catalogue.is_pretrained_cfg(model_name, "openai")}


def read_state_dict(path: Path) -> StateDict:
    """Read the tensors of both towers from a file, without the numbers that are no weights.

    Raises:
        ValueError: If the file is unreadable (``read_weight_file``), holds no CLIP, or holds
            objects other than tensors.
    """
    content = read_weight_file(path)
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    named = _without_prefix(content) if isinstance(content, Mapping) else {}
    if "visual.conv1.weight" not in named:
        raise ValueError(
            f"{path} holds no CLIP image tower (no 'visual.conv1.weight'). Expected an OpenAI or "
            "open_clip file."
        )
    for name in _NOT_WEIGHTS:
        named.pop(name, None)
    others = [name for name, value in named.items() if not isinstance(value, Tensor)]
    if others:
        raise ValueError(
            f"{path} holds entries that are no tensors: {others[:3]}. Expected weights alone."
        )
    return named


def _without_prefix(content: Mapping[Any, Any]) -> dict[str, Any]:
    # Weights saved from a DataParallel model carry "module." before every name.
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _local_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"no weight file {path}. Put it there, pass backbone.pretrained=/path/to/file, or "
            "choose weights that need no download: backbone=pocket"
        )
    return path


def _from_tag(model_name: str | None, tag: str) -> Path:
    from open_clip import pretrained as catalogue

    entry = catalogue.get_pretrained_cfg(model_name or "", tag)
    if not entry:
        known = catalogue.list_pretrained_tags_by_model(model_name or "")
        suffixes = ", ".join(sorted(_FILE_SUFFIXES))
        raise ValueError(
            f"no weights {tag!r} for {model_name}: expected one of {known}, or a local file "
            f"({suffixes}) in backbone.pretrained"
        )
    return downloads.download_open_clip_weights(f"{model_name} ({tag})", entry)


def _training_settings_on_hub(repository: str) -> dict[str, Any]:
    from open_clip.pretrained import download_pretrained_from_hf

    file = Path(download_pretrained_from_hf(repository, filename="open_clip_config.json"))
    config = json.loads(file.read_text(encoding="utf-8"))
    pixels = config.get("preprocess_cfg", {})
    known = {name: pixels[name] for name in ("mean", "std") if name in pixels}
    quick_gelu = config.get("model_cfg", {}).get("quick_gelu", False)
    return {"quick_gelu": quick_gelu, **known}
