"""Learned tensors of a method with their provenance, read from files that are never executed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from zsad.backbones.weight_files import load_tensors
from zsad.model_files import published_weights

Tensors = dict[str, Tensor]  # by name
Provenance = dict[str, Any]  # plain values

KEY = "zsad"  # the provenance in a checkpoint, and in the metadata of exported prompts
PROMPTS = "prompts."
_METHOD = "method."


@dataclass(frozen=True)
class LearnedState:
    """The learned tensors of a method, by their names in it, and their provenance.

    Attributes:
        tensors: Name in the method → tensor.
        provenance: A plain dictionary: method, backbone, trained_on, settings, version. Empty for
            published files.
        published: The whole file, where it is one of the published codes, for the check of the
            backbone.
    """

    tensors: Tensors
    provenance: Provenance = field(default_factory=dict)
    published: Mapping[str, Any] | None = None


def read_learned_state(path: Path) -> LearnedState:
    """Read a checkpoint of ours, exported prompts (safetensors), or a published ``.pth``.

    Raises:
        ValueError: If it is none of them, is damaged, or holds anything but tensors and plain
            values.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = load_tensors(path)
    if not published_weights.is_published(content):
        return from_checkpoint(content, str(path))
    tensors = {}
    for name, tensor in published_weights.read_published(content).items():
        tensors[PROMPTS + name] = tensor
    return LearnedState(tensors, published=content)


def from_checkpoint(content: Any, source: str) -> LearnedState:
    """Take the learned tensors out of a loaded training checkpoint.

    Raises:
        ValueError: If it is none of ours.
    """
    if not isinstance(content, Mapping) or KEY not in content:
        raise ValueError(
            f"{source} is no checkpoint of zsad (no {KEY!r} in it), nor one of the published "
            "AnomalyCLIP and DHR-CLIP codes. Expected runs/train/NAME/checkpoints/last.ckpt, "
            "exported .safetensors, or a published epoch_N.pth"
        )
    state = content.get("state_dict")
    if not isinstance(state, Mapping) or not _are_tensors(state.values()):
        raise ValueError(f"{source} holds no learned tensors: its state_dict is {_kind(state)}")
    tensors = without_prefix(state, _METHOD)
    return LearnedState(tensors, _checked(content[KEY], source))


def learned_tensors(method: nn.Module) -> Tensors:
    """Return the tensors that training changes, by their names in the method."""
    tensors = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            tensors[name] = parameter.detach()
    return tensors


def without_prefix(tensors: Mapping[Any, Tensor], prefix: str) -> Tensors:
    """Return tensors by their names without a prefix, where they have it."""
    return {str(name).removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _read_safetensors(path: Path) -> LearnedState:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {}
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                tensors[name] = file.get_tensor(name)
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    try:
        provenance = json.loads(metadata.get(KEY, "{}"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: its provenance is not JSON: {error}") from error
    return LearnedState(tensors, _checked(provenance, str(path)))


def _are_tensors(values: Iterable[Any]) -> bool:
    return all(isinstance(value, Tensor) for value in values)


def _checked(provenance: Any, source: str) -> Provenance:
    """Return a provenance if it has the right form. Its statements are not checked."""
    parts = [provenance]
    if isinstance(provenance, dict):
        parts.append(provenance.get("trained_on", {}))
        parts.append(provenance.get("settings", {}))
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError(
            f"{source}: its provenance is malformed: expected mappings, got {_kind(parts)}"
        )
    return provenance


def _kind(value: Any) -> str:
    if isinstance(value, list):
        kinds = ", ".join(_kind(item) for item in value)
        return f"[{kinds}]"
    return type(value).__name__
